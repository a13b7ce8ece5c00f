package main

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mintmark": main})
}

// TestScripts runs the command lines of testdata, each in a directory of its
// own, with the program as a process of its own. -update rewrites the golden
// files that they compare with.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"unhex": unhex,
		},
		Setup: func(e *testscript.Env) error {
			wd, err := os.Getwd()
			if err != nil {
				return err
			}
			e.Setenv("REPO", wd+"/../..")
			e.Setenv("MINTMARK_HOME", filepath.Join(e.WorkDir, "login"))
			return giveAddress(e)
		},
	})
}

// giveAddress gives a script that runs a control plane an address of its own,
// $API, in its environment and in its mintmark.yaml. It is bound later, so it is
// on a loopback address of whose ports nobody else is handed any meanwhile.
func giveAddress(e *testscript.Env) error {
	file := filepath.Join(e.WorkDir, "mintmark.yaml")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "$API") {
		return nil // a script without
	}
	ip := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return err
	}
	defer ln.Close()
	e.Setenv("API", ln.Addr().String())
	return os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "$API", ln.Addr().String())), 0o600)
}

// exits is the script command "exits STATUS PROGRAM ARGS...": exec that says
// which exit status is expected.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM [ARGS...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d; want %d", got, want)
	}
}

// unhex is the script command "unhex FROM TO": it writes the bytes that a file
// has in hexadecimal.
func unhex(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: unhex FROM TO")
	}
	b, err := hex.DecodeString(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o600))
}

var update = flag.Bool("update", false, "rewrite golden files")
