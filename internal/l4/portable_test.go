package l4_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/l4/l4test"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/reactor"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// dialFunc is a Dialer.
type dialFunc func(ctx context.Context) (net.Conn, error)

func (f dialFunc) Dial(ctx context.Context, _ *route.Server, _ time.Duration) (net.Conn, error) {
	return f(ctx)
}

// start serves a socket until the test ends. It returns its address.
func start(t testing.TB, cfg l4.Config, s *l4.Settings) (*l4.Proxy, string) {
	t.Helper()
	if s.Listener == nil {
		s.Listener = onePool(t)
	}
	lc := l4.ListenConfig()
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := l4.New(cfg, s)
	serve(t, p, ln)
	return p, ln.Addr().String()
}

// serve serves ln until the test ends.
func serve(t testing.TB, p l4test.Engine, ln net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = ln.Close()
		drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if cut := p.Drain(drain); cut != 0 {
			t.Errorf("%d connections did not end", cut)
		}
	})
}

func connect(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // a new socket takes it
	return c.(*net.TCPConn)
}

// TestOtherConnections forwards to a connection that is no kernel socket, as a
// program can bring one: without splicing, but with everything else.
func TestOtherConnections(t *testing.T) {
	t.Parallel()
	hello := hellotest.Build(hellotest.TLS13([]byte("a session of theirs")))
	block := bytes.Repeat([]byte("block"), 100<<10)
	ours, theirs := net.Pipe()
	_, addr := start(t, l4.Config{Dialer: dialFunc(func(context.Context) (net.Conn, error) { return ours, nil }), PropagatePanics: true},
		&l4.Settings{TLS: true, IdleTimeout: time.Minute})
	c := connect(t, addr)
	if _, err := c.Write(hello); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(hello))
	if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, hello) {
		t.Fatalf("the server read %d bytes, %v", len(got), err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = theirs.Write(block)
		_ = theirs.Close()
	})
	back, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(back, block) {
		t.Errorf("the client read %d bytes, %v; want %d", len(back), err, len(block))
	}
	wg.Wait()
}

// brokenConn panics when it is read.
type brokenConn struct{ net.Conn }

func (brokenConn) Read([]byte) (int, error) { panic("a fault, made by the test") }

// TestPanicWhileForwarding fails in the second goroutine of a connection. The
// connection ends, is counted and logged with its stack, and others go on.
func TestPanicWhileForwarding(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	m := metrics.New("")
	pool := onePool(t)
	broken := true
	to := serveEach(t, echoAll)
	_, addr := start(t, l4.Config{
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
		Metrics: m,
		Dialer: dialFunc(func(context.Context) (net.Conn, error) {
			c, err := net.Dial("tcp", to.String())
			if err == nil && broken {
				broken = false
				return brokenConn{c}, nil
			}
			return c, err
		}),
	}, &l4.Settings{Listener: pool})
	first, err := net.Dial("tcp", addr)
	if err == nil { // it may be reset before it is connected
		_, err = io.ReadAll(first)
		_ = first.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client read %v; want a reset", err)
	}
	c := connect(t, addr)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("the next connection: %v", err)
	}
	// The log and the slot are written before the reset is seen... by the same
	// goroutine that closes the socket, but the slot after it.
	for deadline := time.Now().Add(10 * time.Second); pool.Pool.Servers[0].State.Conns.Load() != 1; {
		if time.Now().After(deadline) {
			t.Fatal("the slot was not given back")
		}
		runtime.Gosched()
	}
	if s := log.String(); !strings.Contains(s, "a fault, made by the test") || !strings.Contains(s, "brokenConn") {
		t.Errorf("log %q; want the fault and its stack", s)
	}
}

// An echo is a pair of connections through a proxy, and a message that goes
// there and back.
type echo struct {
	client net.Conn
	out    []byte
	back   []byte
}

func newEcho(t testing.TB, size int, loops *reactor.Group) *echo {
	to := serveEach(t, func(c net.Conn) {
		b := make([]byte, size)
		for {
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	})
	_, addr := start(t, l4.Config{Dialer: toAddress(to.String()), Loops: loops}, &l4.Settings{})
	c := connect(t, addr)
	_ = c.SetDeadline(time.Time{}) // a benchmark takes as long as it takes
	return &echo{client: c, out: make([]byte, size), back: make([]byte, size)}
}

func (e *echo) roundTrip(t testing.TB) {
	if _, err := e.client.Write(e.out); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(e.client, e.back); err != nil {
		t.Fatal(err)
	}
}

// TestForwardAllocations holds that forwarding allocates nothing, for small
// messages and for bulk.
func TestForwardAllocations(t *testing.T) { forwardAllocations(t, nil) }

func forwardAllocations(t *testing.T, loops *reactor.Group) {
	for _, size := range []int{100, 1 << 20} {
		e := newEcho(t, size, loops)
		e.roundTrip(t) // buffers and pipes are made
		limit := 0.0
		if raceEnabled {
			limit = 8 // reads of a round trip
		}
		if n := testing.AllocsPerRun(200, func() { e.roundTrip(t) }); n > limit {
			t.Errorf("a round trip of %d bytes allocates %v times; want at most %v", size, n, limit)
		}
		_ = e.client.Close()
	}
}
