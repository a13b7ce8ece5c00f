package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// startLimit bounds how long a process may take until it does what it was
	// started for. It is generous: the machine runs other tests as well.
	startLimit = 30 * time.Second
	// stopLimit bounds how long a process may take to end after SIGTERM. It is
	// generous, but less than the grace period of a balancer, so that one that
	// waits for nothing but the end of that is found.
	stopLimit = 20 * time.Second
	// pollInterval is the pause between two looks at something that has no
	// event to wait for.
	pollInterval = 10 * time.Millisecond
	// logTail is how much of a process's output a failed test shows.
	logTail = 4 << 10
)

// A Process is a program that the lab runs.
type Process struct {
	tb   testing.TB
	name string
	cmd  *exec.Cmd
	log  string        // path of the file with its stdout and stderr
	done chan struct{} // closed when the process has ended and been reaped
}

// start runs cmd until the test ends. name is for messages to people.
func start(tb testing.TB, name string, cmd *exec.Cmd) *Process {
	tb.Helper()
	// A file and not a pipe: children that outlive the process would keep a
	// pipe open and Wait waiting.
	out, err := os.CreateTemp(tb.TempDir(), name+"-*.log")
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that the last resort reaches workers too
	endWithParent(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		tb.Fatalf("lab: starting %s: %v", name, err)
	}
	p := &Process{tb: tb, name: name, cmd: cmd, log: out.Name(), done: make(chan struct{})}
	go p.reap()
	tb.Cleanup(func() {
		p.Stop()
		if tb.Failed() {
			tb.Logf("the last that %s said:\n%s", name, tail(p.Log()))
		}
	})
	return p
}

func (p *Process) reap() {
	_ = p.cmd.Wait() // the status is in cmd.ProcessState
	close(p.done)
}

// Stop ends the process with SIGTERM and waits for it; a process that has
// ended is left alone.
func (p *Process) Stop() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may end by itself just now
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		p.tb.Errorf("lab: %s did not end within %v of SIGTERM", p.name, stopLimit)
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// Kill ends the process with SIGKILL, as a crash would, and waits for it.
func (p *Process) Kill() {
	p.tb.Helper()
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// KillAll is Kill for a server with workers, which would outlive its first
// process.
func (p *Process) KillAll() {
	p.tb.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		p.tb.Fatalf("lab: killing %s and its workers: %v", p.name, err)
	}
	<-p.done
}

// Signal sends s to the process.
func (p *Process) Signal(s syscall.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.tb.Fatalf("lab: sending %v to %s: %v", s, p.name, err)
	}
}

// takes reports whether the process has a handler for a signal and does not
// block it.
func (p *Process) takes(s syscall.Signal) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return false
	}
	mask := func(name string) bool {
		_, rest, _ := strings.Cut(string(text), name+":\t")
		line, _, _ := strings.Cut(rest, "\n")
		bits, err := strconv.ParseUint(line, 16, 64)
		return err == nil && bits&(1<<(s-1)) != 0
	}
	return mask("SigCgt") && !mask("SigBlk")
}

// Wait waits until the process has ended by itself and returns its exit
// status.
func (p *Process) Wait(limit time.Duration) int {
	p.tb.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.tb.Fatalf("lab: %s did not end within %v", p.name, limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// PID returns the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns what the process has written so far.
func (p *Process) Log() string {
	p.tb.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		p.tb.Fatalf("lab: reading what %s said: %v", p.name, err)
	}
	return string(b)
}

// waitListening returns when the process accepts connections on addr.
func (p *Process) waitListening(addr string) {
	p.tb.Helper()
	Eventually(p.tb, startLimit, p.name+" accepts connections on "+addr, func() bool {
		if !p.Running() {
			p.tb.Fatalf("lab: %s ended instead of listening on %s:\n%s", p.name, addr, tail(p.Log()))
		}
		return accepts("tcp", addr)
	})
}

func accepts(network, addr string) bool {
	c, err := net.DialTimeout(network, addr, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// Eventually polls until ok is true, and ends the test when limit is over.
// what completes the sentence "waiting until ...".
func Eventually(tb testing.TB, limit time.Duration, what string, ok func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			tb.Fatalf("lab: waited %v in vain until %s", limit, what)
		case <-tick.C:
		}
	}
}

func tail(s string) string {
	if len(s) <= logTail {
		return s
	}
	return "…" + s[len(s)-logTail:]
}

// program returns the path of a program that a test needs.
func program(tb testing.TB, name string) string {
	tb.Helper()
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	// Servers are in sbin, which is not on every user's path.
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		p := filepath.Join(dir, name)
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	tb.Fatalf("lab: %s is not installed; scripts/install-test-packages installs it", name)
	return ""
}

// run runs a program to its end and returns its stdout. A status other than 0
// is an error that carries its stderr.
func run(tb testing.TB, stdin, name string, args ...string) (string, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(tb, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		err = errors.New(e.String() + ": " + tail(string(e.Stderr)))
	}
	return string(out), err
}
