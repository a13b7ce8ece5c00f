package l4_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mintmark/mintmark/internal/l4"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustLog(t *testing.T, l *l4.AccessLog, line string) {
	t.Helper()
	if _, err := io.WriteString(l, line); err != nil {
		t.Fatal(err)
	}
}

// TestAccessLogRotation moves the file away, as logrotate does, and reopens.
func TestAccessLogRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := l4.OpenAccessLog(path, "")
	if err != nil {
		t.Fatal(err)
	}
	mustLog(t, l, "one\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	mustLog(t, l, "two\n")
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	mustLog(t, l, "three\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// "three" may be taken together with the lines before it.
	old, current := readFile(t, path+".1"), readFile(t, path)
	if !strings.HasPrefix(old, "before\none\ntwo\n") || old+current != "before\none\ntwo\nthree\n" {
		t.Errorf("the old file has %q, the new one %q", old, current)
	}
	if _, err := io.WriteString(l, "late\n"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("writing after Close: %v; want os.ErrClosed", err)
	}
	if err := l.Reopen(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("reopening after Close: %v; want os.ErrClosed", err)
	}
	if err := l.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closing again: %v; want os.ErrClosed", err)
	}
}

// TestAccessLogReopenFails keeps the open file.
func TestAccessLogReopenFails(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := l4.OpenAccessLog(filepath.Join(dir, "access.log"), "json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+"2"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reopening in a directory that is gone: %v", err)
	}
	mustLog(t, l, "still\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, filepath.Join(dir+"2", "access.log")); got != "still\n" {
		t.Errorf("the file has %q", got)
	}
}

// TestAccessLogIs tells one log from another.
func TestAccessLogIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := l4.OpenAccessLog(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nothing was written
	if !l.Is(path, "") || !l.Is(path, "text") || l.Is(path, "json") || l.Is(path+"x", "text") || l.JSON() {
		t.Error("a text log is taken for something else")
	}
	if _, err := l4.OpenAccessLog(path, "xml"); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("opening with format xml: %v", err)
	}
	if _, err := l4.OpenAccessLog(filepath.Join(path, "x"), "json"); err == nil {
		t.Error("a log in a file that is no directory could be opened")
	}
}

// TestAccessLogStuckDisk writes to a disk that takes nothing: Write returns at
// once all the same, and says so when it has to drop lines. When the disk goes
// on, what was taken arrives, whole and in order.
func TestAccessLogStuckDisk(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l := l4.NewAccessLog(w)
	line := strings.Repeat("x", 1000)
	var taken int
	for i := 0; ; i++ {
		if _, err = fmt.Fprintf(l, "%08d %s\n", i, line); err != nil {
			break
		}
		if taken++; taken*len(line) > 3*l4.MaxPendingLog {
			t.Fatal("lines are taken without end")
		}
	}
	if !errors.Is(err, l4.ErrLogFull) {
		t.Fatalf("with %d lines waiting: %v; want ErrLogFull", taken, err)
	}
	arrived := make(chan int)
	go func() {
		n := 0
		for in := bufio.NewScanner(r); in.Scan(); n++ {
			if want := fmt.Sprintf("%08d %s", n, line); in.Text() != want {
				t.Errorf("line %d is %.20q...", n, in.Text())
			}
		}
		arrived <- n
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if n := <-arrived; n != taken {
		t.Errorf("%d lines arrived of %d that were taken", n, taken)
	}
}

// TestAccessLogBrokenDisk holds that lines that were taken and could not be
// written are not lost in silence.
func TestAccessLogBrokenDisk(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close() // writing fails from now on
	l := l4.NewAccessLog(w)
	for err = nil; err == nil; {
		_, err = io.WriteString(l, "x\n")
	}
	if errors.Is(err, l4.ErrLogFull) {
		t.Errorf("Write returned %v; want why the disk failed", err)
	}
	_ = l.Close() // it may have another error to report
}

// TestAccessLogConcurrent writes from many goroutines while the file is
// reopened: lines stay whole and none is lost.
func TestAccessLogConcurrent(t *testing.T) {
	t.Parallel()
	const writers, lines = 8, 500
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := l4.OpenAccessLog(path, "text")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range lines {
				mustLog(t, l, fmt.Sprintf("writer %d line %d\n", w, i))
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if err := l.Reopen(); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range bytes.Lines([]byte(readFile(t, path))) {
		seen[string(line)] = true
	}
	for w := range writers {
		for i := range lines {
			if s := fmt.Sprintf("writer %d line %d\n", w, i); !seen[s] {
				t.Fatalf("%q is missing", s)
			}
		}
	}
}

func BenchmarkAccessLog(b *testing.B) {
	l, err := l4.OpenAccessLog(filepath.Join(b.TempDir(), "access.log"), "")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }() // the lines do not matter
	line := l4.AppendEntry(nil, false, "www.example.com", "web", "a")
	b.ReportAllocs()
	dropped := 0
	for b.Loop() {
		if _, err := l.Write(line); err != nil {
			dropped++
		}
	}
	b.ReportMetric(float64(dropped)/float64(b.N), "dropped/op")
}
