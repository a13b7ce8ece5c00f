package l4_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// TestKernelCopies proves that bulk data does not pass through the process's
// memory. The kernel keeps the books: /proc/PID/io counts what a process has
// moved with read(2) and write(2) and their kin, and not what it has spliced.
func TestKernelCopies(t *testing.T) { onBothEngines(t, kernelCopies) }

func kernelCopies(t *testing.T, env ...string) {
	const size = 128 << 20
	block := bytes.Repeat([]byte("mintmark"), 32<<10)
	send := func(c net.Conn) error {
		for range size / len(block) {
			if _, err := c.Write(block); err != nil {
				return err
			}
		}
		return c.(*net.TCPConn).CloseWrite()
	}
	hello := hellotest.Build(hellotest.TLS13([]byte("a session of theirs")))
	served := make(chan error, 1)
	to := serveEach(t, func(c net.Conn) {
		sent := make(chan error, 1)
		go func() { sent <- send(c) }()
		n, err := io.Copy(io.Discard, c)
		if err == nil && n != int64(size+len(hello)) {
			err = fmt.Errorf("the server received %d bytes", n)
		}
		served <- errors.Join(err, <-sent)
	})
	// With a hello that offers a session, so that the answer is watched first.
	p := startChild(t, to, append(env, childTLSEnv+"=1")...)
	before := ioBytes(t, p.cmd.Process.Pid)
	c := p.dial()
	defer c.Close()
	if _, err := c.Write(hello); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- send(c) }()
	n, err := io.Copy(io.Discard, c)
	if err != nil || n != size {
		t.Fatalf("the client received %d bytes, then %v", n, err)
	}
	if err := errors.Join(<-sent, <-served); err != nil {
		t.Fatal(err)
	}
	copied := ioBytes(t, p.cmd.Process.Pid) - before
	// Copying everything would be two directions, read and written: 4 x size.
	// What remains is a first read of each burst.
	t.Logf("of %d bytes in each direction, %.1f %% were copied", size, 100*float64(copied)/(4*size))
	if copied > 4*size/50 {
		t.Errorf("forwarding %d bytes in each direction, the process read and wrote %d itself; want at most one in 50", size, copied)
	}
}

// ioBytes returns how many bytes a process has read and written.
func ioBytes(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if name == "rchar" || name == "wchar" {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	if sum == 0 {
		t.Fatal("the kernel keeps no books: no rchar and wchar in /proc/PID/io")
	}
	return sum
}

// TestIdleHoldsNothing counts the descriptors of a proxy with connections
// that are idle after bulk data: two sockets each, no pipes. Each pipe that a
// connection held would be two more.
func TestIdleHoldsNothing(t *testing.T) { onBothEngines(t, idleHoldsNothing) }

func idleHoldsNothing(t *testing.T, env ...string) {
	const conns = 100
	block := bytes.Repeat([]byte("x"), 1<<20)
	to := serveEach(t, echoAll)
	p := startChild(t, to, env...)
	for range conns {
		c := p.dial()
		defer c.Close()
		go func() { _, _ = c.Write(block) }()
		if _, err := io.ReadFull(c, make([]byte, len(block))); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	const others = 64 // standard files, the poller, the listener, a few free pipes
	if n := len(entries); n > 2*conns+others {
		t.Errorf("%d idle connections hold %d descriptors; want 2 each", conns, n)
	}
}

// TestOutOfDescriptors opens more connections than the process can have. It
// survives, and serves new ones when the others have gone.
func TestOutOfDescriptors(t *testing.T) { onBothEngines(t, outOfDescriptors) }

func outOfDescriptors(t *testing.T, env ...string) {
	const limit = 64
	to := serveEach(t, echoAll)
	p := startChild(t, to, append(env, fmt.Sprintf("%s=%d", childFileEnv, limit))...)
	// try opens a connection and returns whether an octet came back on it. One
	// whose server cannot be reached is reset, perhaps before connect returned.
	try := func(timeout time.Duration) (net.Conn, bool) {
		c, err := net.DialTimeout("tcp", p.addr, timeout)
		if err != nil {
			return nil, false
		}
		_ = c.SetDeadline(time.Now().Add(timeout)) // a closed one fails below
		if _, err := c.Write([]byte("x")); err != nil {
			return c, false
		}
		_, err = io.ReadFull(c, make([]byte, 1))
		return c, err == nil
	}
	// All stay open until each had its try: where one ends, its descriptors
	// serve the next that waits.
	open := make([]net.Conn, limit)
	var served atomic.Int32
	var tries sync.WaitGroup
	for i := range open {
		tries.Go(func() {
			var ok bool
			if open[i], ok = try(time.Second); ok {
				served.Add(1)
			}
		})
	}
	tries.Wait()
	if n := served.Load(); n == 0 || n > limit/2 {
		t.Errorf("%d of %d connections were served with a limit of %d descriptors; want some, at two each", n, limit, limit)
	}
	closeAll := func(conns ...net.Conn) {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}
	closeAll(open...)
	// Those that wait to be accepted, though they are gone, come first, and
	// take descriptors for a moment.
	for deadline := time.Now().Add(time.Minute); ; {
		c, ok := try(time.Minute)
		closeAll(c)
		if ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no connection is served after the descriptors came back")
		}
	}
}

// TestListenConfig holds that accepted connections inherit keep-alives, and
// are not paced within the machine.
func TestListenConfig(t *testing.T) {
	t.Parallel()
	lc := l4.ListenConfig()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := lc.Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []struct{ level, name, want int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
		} {
			var got int
			if e := raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), o.level, o.name) }); e != nil || err != nil {
				t.Fatal(e, err)
			}
			if got != o.want {
				t.Errorf("%s: option %d of an accepted connection is %d; want %d", address, o.name, got, o.want)
			}
		}
		var congestion string
		if e := raw.Control(func(fd uintptr) {
			congestion, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		}); e != nil || err != nil {
			t.Fatal(e, err)
		}
		if strings.HasPrefix(congestion, "bbr") {
			t.Errorf("%s: an accepted connection within the machine is paced: %q", address, congestion)
		}
	}
	unixSocket, err := lc.Listen(t.Context(), "unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	_ = unixSocket.Close()
}
