package store_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/store"
	"github.com/mintmark/mintmark/internal/store/storetest"
)

func openBolt(t *testing.T, path string) store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBolt(t *testing.T) {
	t.Parallel()
	storetest.Suite(t, func(t *testing.T) store.Store {
		s := openBolt(t, filepath.Join(t.TempDir(), "mintmark.db"))
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}

func TestBoltReopens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mintmark.db")
	s := openBolt(t, path)
	r, err := s.Commit(t.Context(), store.Txn{Put: []store.Put{{Key: "k", Value: []byte("open sesame"), Secret: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, path + ".key"} {
		st, err := os.Stat(file)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v; want 0600", file, st.Mode(), err)
		}
	}
	if raw, err := os.ReadFile(path); err != nil || bytes.Contains(raw, []byte("sesame")) {
		t.Errorf("the secret is in the file as it is (%v)", err)
	}
	s = openBolt(t, path)
	if e, err := s.Get(t.Context(), "k"); err != nil || string(e.Value) != "open sesame" || e.Revision != r {
		t.Errorf("after opening again: %+v, %v", e, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantRefused := func(why string) {
		t.Helper()
		s, err := store.Open(t.Context(), path, store.Options{})
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("Open: %v; want an error that says %q", err, why)
		}
	}
	if err := os.Chmod(path+".key", 0o640); err != nil {
		t.Fatal(err)
	}
	wantRefused("chmod 600")
	if err := os.Rename(path+".key", path+".lost"); err != nil {
		t.Fatal(err)
	}
	wantRefused("is missing")
}

// childStore tells a copy of this test program to write to that store for ever.
const childStore = "MINTMARK_TEST_STORE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childStore); path != "" {
		writeForEver(path)
	}
	os.Exit(m.Run())
}

// writeForEver commits numbers and says each when it is committed.
func writeForEver(path string) {
	s, err := store.OpenBolt(path, store.Options{})
	for i := 1; err == nil; i++ {
		_, err = s.Commit(nil, store.Txn{Put: []store.Put{ //nolint:staticcheck // bbolt takes no context
			{Key: "a", Value: []byte(strconv.Itoa(i))}, {Key: "b", Value: []byte(strconv.Itoa(i)), Secret: true},
		}})
		fmt.Println(i)
	}
	fmt.Println(err)
	os.Exit(1)
}

// What was committed is there after kill -9, and the two keys of a
// transaction are of one moment.
func TestBoltSurvivesKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mintmark.db")
	for round := range 10 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childStore+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(out)
		last := 0
		for i := 0; i <= round && said.Scan(); i++ {
			if last, err = strconv.Atoi(said.Text()); err != nil {
				t.Fatalf("the writer: %s", said.Text())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for said.Scan() { // what was said before it died
			if n, err := strconv.Atoi(said.Text()); err == nil {
				last = n
			}
		}
		_ = cmd.Wait() // killed
		s := openBolt(t, path)
		a, errA := s.Get(t.Context(), "a")
		b, errB := s.Get(t.Context(), "b")
		if errA != nil || errB != nil || !bytes.Equal(a.Value, b.Value) {
			t.Fatalf("after kill %d: a is %s (%v), b is %s (%v); want the same", round, a.Value, errA, b.Value, errB)
		}
		if n, _ := strconv.Atoi(string(a.Value)); n < last {
			t.Fatalf("after kill %d: %d is there; %d had been committed", round, n, last)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
