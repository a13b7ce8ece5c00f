package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestParseFlags: flags may stand anywhere, until "--".
func TestParseFlags(t *testing.T) {
	t.Parallel()
	type result struct {
		C        string
		JSON     bool
		Operands []string
	}
	for _, tc := range []struct {
		name string
		args []string
		want result
	}{
		{"nothing", nil, result{}},
		{"flags first", []string{"-c", "f", "--json", "v"}, result{"f", true, []string{"v"}}},
		{"flags last", []string{"v", "--json", "-c=f"}, result{"f", true, []string{"v"}}},
		{"flags between", []string{"v", "-c", "f", "w", "--json", "x"}, result{"f", true, []string{"v", "w", "x"}}},
		{"standard input", []string{"-", "-c", "f"}, result{"f", false, []string{"-"}}},
		{"after --", []string{"-c", "f", "--", "-v", "--json"}, result{"f", false, []string{"-v", "--json"}}},
		{"after -- and an operand", []string{"v", "--", "--json"}, result{"", false, []string{"v", "--json"}}},
		{"nothing after --", []string{"v", "--"}, result{"", false, []string{"v"}}},
		{"an empty operand", []string{"", "--json"}, result{"", true, []string{""}}},
	} {
		fs := newFlagSet("test")
		var got result
		fs.StringVar(&got.C, "c", "", "")
		fs.BoolVar(&got.JSON, "json", false, "")
		var err error
		if got.Operands, err = parseFlags(fs, tc.args); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tc.name, diff)
		}
	}
	if _, err := parseFlags(newFlagSet("test"), []string{"v", "--nothing"}); err == nil {
		t.Error("an unknown flag after an operand is accepted")
	}
	if _, err := parseFlags(newFlagSet("test"), []string{"v", "--help"}); err != flag.ErrHelp { //nolint:errorlint // as package flag returns it
		t.Errorf("got %v; want help", err)
	}
}

// TestHelp: every command says how it is used.
func TestHelp(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range commands() {
		if c.short == "" || c.long == "" || len(c.examples) == 0 || seen[c.name] {
			t.Errorf("command %q: its help is not complete, or it is there twice", c.name)
		}
		seen[c.name] = true
		fs := newFlagSet(c.name)
		c.setup(fs)
		fs.VisitAll(func(f *flag.Flag) {
			if f.Usage == "" {
				t.Errorf("command %s: flag %s has no help", c.name, f.Name)
			}
		})
	}
}

func TestSystemHint(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, taken := net.Listen("tcp", ln.Addr().String())
	if got := systemHint(fmt.Errorf("opening listener web: %w", taken)); !strings.Contains(got, "another process has this address") {
		t.Errorf("%v: got the hint %q", taken, got)
	}
	if got := systemHint(errors.New("something else")); got != "" {
		t.Errorf("got the hint %q for what nobody knows", got)
	}
}
