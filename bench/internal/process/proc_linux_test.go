package process

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// ticks returns utime and stime of a process, to a hundredth of a second.
func ticks(pid int) (time.Duration, error) {
	const user, system, tick = 11, 12, 10 * time.Millisecond
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, f := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the processor time of process %d: %w", pid, err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// What is measured is what /proc and everybody's tools show.
func TestProcessTimeIsUserAndSystemTime(t *testing.T) {
	t.Parallel()
	pid := os.Getpid()
	for began := time.Now(); time.Since(began) < 50*time.Millisecond; {
		_ = strconv.Itoa(pid)
	}
	before, err := ticks(pid)
	if err != nil {
		t.Fatal(err)
	}
	got, err := processTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	after, err := ticks(pid)
	if err != nil {
		t.Fatal(err)
	}
	// Both are rounded down to a hundredth of a second, and each of their two
	// parts is.
	const rounding = 20 * time.Millisecond
	if got < before-rounding || got > after+rounding {
		t.Errorf("got %v; want between %v and %v, as in /proc/%d/stat", got, before, after, pid)
	}
}

func TestTreeHasDescendants(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "sleep 60 & echo started; wait")
	cmd.SysProcAttr = ownGroup()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		killGroup(cmd.Process.Pid)
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	pids, err := tree(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if len(pids) != 2 || pids[0] != cmd.Process.Pid {
		t.Errorf("got %v; want %d and its child", pids, cmd.Process.Pid)
	}
}

func TestMemoryOfThisProcess(t *testing.T) {
	t.Parallel()
	m, err := memory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if m.Share <= 0 || m.Peak < m.Share {
		t.Errorf("got %+v; want a peak that is no less than the share", m)
	}
}
