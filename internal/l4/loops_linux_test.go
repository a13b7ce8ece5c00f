package l4_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/l4/l4test"
	"github.com/mintmark/mintmark/internal/reactor"
)

// startLoops runs event loops until the test and its parallel parts have
// ended.
func startLoops(t testing.TB) *reactor.Group {
	t.Helper()
	g, err := reactor.New(2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("running the loops: %v", err)
		}
		g.Close()
	})
	return g
}

// onLoops is a Proxy that accepts on its loops.
type onLoops struct{ *l4.Proxy }

func (e onLoops) Serve(ctx context.Context, ln net.Listener) error {
	l, err := reactor.Detach(ln)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // whatever it says
	return e.Proxy.Serve(ctx, l)
}

// TestLoopSuite runs the behaviour that every engine must show on event loops,
// which accept and connect by themselves.
func TestLoopSuite(t *testing.T) {
	t.Parallel()
	g := startLoops(t)
	l4test.Suite(t, func(cfg l4.Config, s *l4.Settings) l4test.Engine {
		cfg.Loops = g
		return onLoops{l4.New(cfg, s)}
	})
}

// onlyDials is a Dialer and nothing more.
type onlyDials struct{ l4.Dialer }

// TestLoopHandedOver runs it with connections that are accepted elsewhere, and
// with servers that only a goroutine can connect to.
func TestLoopHandedOver(t *testing.T) {
	t.Parallel()
	g := startLoops(t)
	l4test.Suite(t, func(cfg l4.Config, s *l4.Settings) l4test.Engine {
		cfg.Loops = g
		cfg.Dialer = onlyDials{cfg.Dialer}
		return l4.New(cfg, s)
	})
}

// TestLoopAllocations holds that forwarding on event loops allocates nothing.
func TestLoopAllocations(t *testing.T) { forwardAllocations(t, startLoops(t)) }

// TestLoopConnSize bounds what an idle connection costs: there is one of these
// for each, and a slot and a timer of its loop.
func TestLoopConnSize(t *testing.T) {
	t.Parallel()
	if l4.LoopConnSize > 512 {
		t.Errorf("a connection takes %d bytes; want at most 512", l4.LoopConnSize)
	}
}

// TestLongConnectionsGetKeepAlives asks the kernel which timers the sockets of
// a connection have that goes on: with a client or a server that vanishes
// without a word, nothing else would ever end it.
func TestLongConnectionsGetKeepAlives(t *testing.T) {
	t.Parallel()
	const idle = 8 * time.Second // a quarter of it until the first look
	lc := l4.ListenConfig()
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	servers := make(chan net.Addr, 1)
	to := serveEach(t, func(c net.Conn) {
		servers <- c.RemoteAddr()
		echoAll(c)
	})
	cfg := l4.Config{Dialer: toAddress(to.String()), Loops: startLoops(t)}
	p := onLoops{l4.New(cfg, &l4.Settings{Listener: onePool(t), IdleTimeout: idle})}
	serve(t, p, ln)
	for accepting := false; !accepting; time.Sleep(time.Millisecond) {
		// What connects before Serve does has what the socket had then.
		early := connect(t, ln.Addr().String())
		_, _ = early.Write([]byte("x"))
		_, err := early.Read(make([]byte, 1))
		_ = early.Close()
		<-servers
		accepting = err == nil
	}
	began := time.Now()
	c := connect(t, ln.Addr().String())
	_ = c.SetDeadline(time.Time{}) // the loop below has an end
	say := func() {                // something, so that the connection is not idle
		t.Helper()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	say()
	sides := map[string]net.Addr{"the client's": ln.Addr(), "the server's": <-servers}
	for side, has := range keepAlives(t, sides) {
		if has && time.Since(began) < idle/4 {
			t.Errorf("%s socket has keep-alives at once", side)
		}
	}
	var kept map[string]bool
	for n := range 6000 {
		if kept = keepAlives(t, sides); kept["the client's"] && kept["the server's"] {
			return
		}
		if time.Sleep(5 * time.Millisecond); n%50 == 0 {
			say() // and then be silent: while it is not acknowledged, another timer is shown
		}
	}
	t.Errorf("keep-alives after many looks: %v; want them on both", kept)
}

// keepAlives reads off /proc/net/tcp (proc_net_tcp.rst) which of the established
// sockets with these local addresses have a keep-alive timer: kind 02, and
// unlike those for acknowledgements far ahead.
func keepAlives(t *testing.T, local map[string]net.Addr) map[string]bool {
	t.Helper()
	const established, farAhead = "01", 10 * 100 // hundredths of a second
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	has := make(map[string]bool)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		for side, a := range local {
			if f[3] != established || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", a.(*net.TCPAddr).Port)) {
				continue
			}
			when, _ := strconv.ParseUint(f[5][3:], 16, 64)
			has[side] = f[5][:2] == "02" && when > farAhead
		}
	}
	return has
}
