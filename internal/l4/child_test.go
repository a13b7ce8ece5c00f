package l4_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/reactor"
	"github.com/mintmark/mintmark/internal/route"
)

// What a process uses can only be told apart from what its clients and
// servers use when it is a process of its own: a child, which is this test
// binary again.

// Environment of a child.
const (
	childEnv     = "MINTMARK_L4_CHILD_SERVER" // address to forward to
	childTLSEnv  = "MINTMARK_L4_CHILD_TLS"    // not empty: protocol tls
	childFileEnv = "MINTMARK_L4_CHILD_FILES"  // limit of descriptors
	childLoopEnv = "MINTMARK_L4_CHILD_LOOPS"  // not empty: on event loops
)

// child is the child's main: it forwards connections until stdin ends, and
// answers each line with the processor time it has used.
func child() int {
	if n, err := strconv.ParseUint(os.Getenv(childFileEnv), 10, 64); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			fmt.Fprintln(os.Stderr, "limiting descriptors:", err)
			return 1
		}
	}
	lc := l4.ListenConfig()
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "listening:", err)
		return 1
	}
	pool, err := route.NewPool(route.PoolConfig{Name: "web", Servers: []route.ServerConfig{{Name: "a", Weight: 1}}}, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cfg := l4.Config{Dialer: toAddress(os.Getenv(childEnv))}
	if os.Getenv(childLoopEnv) != "" {
		loops, err := reactor.New(2)
		if err == nil {
			ln, err = reactor.Detach(ln)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go func() { _ = loops.Run(context.Background()) }() // as long as the process
		cfg.Loops = loops
	}
	p := l4.New(cfg, &l4.Settings{
		Listener: &route.Listener{Name: "front", Pool: pool},
		TLS:      os.Getenv(childTLSEnv) != "",
	})
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx, ln) }()
	fmt.Println(ln.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			fmt.Fprintln(os.Stderr, "asking for the processor time:", err)
			return 1
		}
		fmt.Println(time.Duration(u.Utime.Nano() + u.Stime.Nano()).Nanoseconds())
	}
	cancel()
	if err := <-done; err != nil {
		fmt.Fprintln(os.Stderr, "serving:", err)
		return 1
	}
	ended, cancelDrain := context.WithCancel(context.Background())
	cancelDrain()
	p.Drain(ended)
	return 0
}

// toAddress connects to one address, whatever the server.
type toAddress string

var _ l4.Connector = toAddress("")

func (a toAddress) Dial(ctx context.Context, _ *route.Server, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	return d.DialContext(ctx, "tcp", string(a))
}

// Target implements l4.Connector.
func (a toAddress) Target(*route.Server) (netip.AddrPort, bool) {
	to, err := netip.ParseAddrPort(string(a))
	return to, err == nil
}

// Connected implements l4.Connector.
func (toAddress) Connected(*route.Server, int, time.Duration, error) {}

// onBothEngines runs a test with a child on goroutines, and with one on event
// loops.
func onBothEngines(t *testing.T, test func(t *testing.T, env ...string)) {
	t.Parallel()
	for name, env := range map[string][]string{"portable": nil, "loops": {childLoopEnv + "=1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, env...)
		})
	}
}

// A proxyProcess is a child.
type proxyProcess struct {
	t    testing.TB
	addr string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// startChild starts a child that forwards to an address, and ends it with the
// test.
func startChild(t testing.TB, to net.Addr, env ...string) *proxyProcess {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), childEnv+"="+to.String()), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &proxyProcess{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		_ = in.Close() // tells the child to end
		if err := cmd.Wait(); err != nil {
			t.Errorf("the proxy process: %v", err)
		}
	})
	p.addr = p.line()
	return p
}

func (p *proxyProcess) line() string {
	p.t.Helper()
	s, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("reading from the proxy process: %v", err)
	}
	return strings.TrimSpace(s)
}

// cpu returns the processor time that the child has used.
func (p *proxyProcess) cpu() time.Duration {
	p.t.Helper()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		p.t.Fatal(err)
	}
	ns, err := strconv.ParseInt(p.line(), 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return time.Duration(ns)
}

// dial connects to the child.
func (p *proxyProcess) dial() net.Conn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // a new socket takes it
	return c
}

// serveEach starts a server that calls handle in a goroutine for each
// connection, and ends with the test.
func serveEach(t testing.TB, handle func(net.Conn)) net.Addr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return ln.Addr()
}

// echoAll sends back what it gets until the client goes. io.Copy would splice,
// with pipes that the net package keeps, in this process, whose descriptors
// are counted.
func echoAll(c net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}
