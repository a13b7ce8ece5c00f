// Package process runs programs for bench, and tells what they cost: processor
// time and memory of a program and all that it started, as the kernel counts
// them.
//
// It is Linux alone that tells these things; elsewhere the package builds, and
// asking is errors.ErrUnsupported. A program that was started ends with the
// context, with Stop, or with the program that started it.
package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	startLimit   = 30 * time.Second
	stopLimit    = 5 * time.Second
	pollInterval = 10 * time.Millisecond
	logTail      = 2 << 10 // how much of a program's output an error shows
)

// A Process is a program that runs.
type Process struct {
	cmd  *exec.Cmd
	dir  string
	log  string
	pids []int
	done chan struct{} // closed when the process has been reaped
}

// A Command says what to run.
type Command struct {
	// Name of the program, found with Find.
	Name string
	Args []string
	// Env is added to this program's.
	Env []string
	// Dir has the program's files, and is removed when it has ended.
	Dir string
	// Ready tells whether it does what it was started for.
	Ready func(ctx context.Context) bool
}

// Start runs a program until Stop or until ctx ends, and returns when it is
// ready.
func Start(ctx context.Context, c Command) (*Process, error) {
	p := &Process{dir: c.Dir, log: filepath.Join(c.Dir, "log"), done: make(chan struct{})}
	if err := p.run(ctx, &c); err != nil {
		os.RemoveAll(c.Dir)
		return nil, fmt.Errorf("starting %s: %w", c.Name, err)
	}
	if err := p.await(ctx, c.Ready); err != nil {
		said := p.said()
		p.Stop()
		return nil, fmt.Errorf("starting %s: %w; it said:\n%s", c.Name, err, said)
	}
	return p, nil
}

func (p *Process) run(ctx context.Context, c *Command) error {
	path, err := Find(c.Name)
	if err != nil {
		return err
	}
	out, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer out.Close()
	p.cmd = exec.CommandContext(ctx, path, c.Args...)
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = ownGroup()
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopLimit
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go p.reap()
	return nil
}

func (p *Process) reap() {
	_ = p.cmd.Wait() // how it ended is of no interest
	close(p.done)
}

// await waits until the program is ready and has all its processes.
func (p *Process) await(ctx context.Context, ready func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	// The processes of nginx appear one by one: two looks have to agree.
	for before := -1; ; {
		if ready(ctx) {
			pids, err := tree(p.cmd.Process.Pid)
			if err != nil {
				return err
			}
			if len(pids) == before {
				p.pids = pids
				return nil
			}
			before = len(pids)
		}
		select {
		case <-p.done:
			return errors.New("it ended")
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Stop ends the program and removes its files.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		killGroup(p.cmd.Process.Pid)
		<-p.done
	}
	os.RemoveAll(p.dir)
}

// CPU returns the processor time that the program has used so far.
func (p *Process) CPU() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range p.pids {
		t, err := processTime(pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// Memory returns what the program's processes occupy.
func (p *Process) Memory() (Memory, error) {
	var sum Memory
	for _, pid := range p.pids {
		m, err := memory(pid)
		if err != nil {
			return Memory{}, err
		}
		sum.Peak += m.Peak
		sum.Share += m.Share
	}
	return sum, nil
}

// said returns the last that the program wrote.
func (p *Process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-logTail):])
}

// Find returns the path of a program. Servers are in sbin, which is not on
// every user's path.
func Find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed; scripts/install-test-packages installs it", name)
}

// FreeAddr returns a loopback address that nothing listens on.
func FreeAddr(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// Accepts tells whether somebody accepts TCP connections at an address.
func Accepts(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
