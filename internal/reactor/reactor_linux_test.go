package reactor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/reactor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run starts a group and ends it with the test.
func run(t *testing.T, n int) (g *reactor.Group, stop func()) {
	t.Helper()
	g, err := reactor.New(n)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		g.Close()
	})
	t.Cleanup(stop)
	return g, stop
}

// An echo sends back what it gets.
type echo struct {
	loop  *reactor.Loop
	slot  reactor.Slot
	fd    int
	turns int
}

func (e *echo) Ready(_ int, ev reactor.Events) {
	b := e.loop.Scratch()
	for {
		n, errno := reactor.Recv(e.fd, b)
		if errno == unix.EAGAIN {
			return
		}
		if errno != reactor.OK || n == 0 {
			e.loop.Forget(e.slot)
			reactor.Close(e.fd)
			return
		}
		if m, errno := reactor.Send(e.fd, b[:n], false); m != n || errno != reactor.OK {
			panic("the echo does not fit: " + errno.Error())
		}
		e.loop.Again(e.slot)
	}
}

func (e *echo) Turn()    { e.turns++ }
func (e *echo) Expired() {}

// serveEcho accepts from ln until it is closed.
func serveEcho(t *testing.T, g *reactor.Group, ln *reactor.Listener, peers *sync.Map) {
	t.Helper()
	served := make(chan error, 1)
	go func() {
		served <- g.Accept(context.Background(), ln, reactor.Intake{
			Opened: func(int, bool) {},
			Accepted: func(loop, fd int, peer netip.AddrPort) {
				peers.Store(peer, loop)
				l := g.Loops()[loop]
				e := &echo{loop: l, fd: fd}
				e.slot = l.Register(e)
				if errno := l.Watch(e.slot, 0, fd, reactor.Readable|reactor.PeerDone); errno != reactor.OK {
					t.Errorf("watching: %v", errno)
				}
			},
			Failed: func(err error, _ int) (time.Duration, bool) { t.Errorf("accepting: %v", err); return 0, false },
		})
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		if err := <-served; err != nil {
			t.Errorf("Accept: %v", err)
		}
	})
}

func detached(t *testing.T, network, address string) *reactor.Listener {
	t.Helper()
	plain, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := reactor.Detach(plain)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// TestEcho passes messages through loops, over TCP with both families and over
// a unix socket.
func TestEcho(t *testing.T) {
	t.Parallel()
	for _, a := range [][2]string{{"tcp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"unix", filepath.Join(t.TempDir(), "s")}} {
		g, _ := run(t, 2)
		ln := detached(t, a[0], a[1])
		var peers sync.Map
		serveEcho(t, g, ln, &peers)
		for range 50 {
			c, err := net.Dial(a[0], ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			want := []byte("a message")
			if _, err := c.Write(want); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("read %q, %v", got, err)
			}
			local := netip.AddrPort{}
			if tcp, ok := c.LocalAddr().(*net.TCPAddr); ok {
				local = tcp.AddrPort()
			}
			if _, ok := peers.Load(local); !ok {
				t.Errorf("over %s, no connection was accepted from %v", a[0], local)
			}
			_ = c.Close()
		}
	}
}

// TestPost holds that what is posted is called while the loops run, all of it
// before they end, and nothing after.
func TestPost(t *testing.T) {
	t.Parallel()
	g, stop := run(t, 1)
	l := g.Loops()[0]
	var posted, called atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for l.Post(func() { called.Add(1) }) {
				posted.Add(1)
			}
		})
	}
	for called.Load() < 10_000 {
		time.Sleep(time.Millisecond)
	}
	stop()
	wg.Wait()
	if p, c := posted.Load(), called.Load(); p != c {
		t.Errorf("%d functions were posted and %d called", p, c)
	}
}

// A waiter notes when its timer expires, by the clock of its loop, which timers
// are set by: that one stands still while the loop waits for a processor.
type waiter struct {
	loop    *reactor.Loop
	expired chan time.Duration
}

func (w *waiter) Ready(int, reactor.Events) {}
func (w *waiter) Turn()                     {}
func (w *waiter) Expired()                  { w.expired <- w.loop.Now() }

// TestTimers holds that a timer expires, not early, and not when it was
// stopped or forgotten.
// TestTime holds that what a handler takes for the time lies between when it was
// called for and now, on a loop that has just slept and on one that is busy.
func TestTime(t *testing.T) {
	t.Parallel()
	g, _ := run(t, 1)
	l := g.Loops()[0]
	got := make(chan time.Time)
	for n := range 100 {
		before := time.Now()
		l.Post(func() { got <- l.Time() })
		if at := <-got; at.Before(before) || at.After(time.Now()) {
			t.Fatalf("a call after %v took %v for the time, at %v", before, at, time.Now())
		}
		time.Sleep(time.Duration(n%3*n) * 100 * time.Microsecond)
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	const d = 30 * time.Millisecond
	g, _ := run(t, 1)
	l := g.Loops()[0]
	newWaiter := func() *waiter { return &waiter{l, make(chan time.Duration, 1)} }
	w, stopped, forgotten := newWaiter(), newWaiter(), newWaiter()
	var began time.Duration
	l.Post(func() {
		began = l.Now()
		s := l.Register(stopped)
		l.SetTimer(s, d/2)
		f := l.Register(forgotten)
		l.SetTimer(f, d/2)
		l.SetTimer(l.Register(w), time.Hour)
		l.SetTimer(l.Register(w), d)
		l.StopTimer(s)
		l.Forget(f)
	})
	if took := <-w.expired - began; took < d {
		t.Errorf("expired after %v; want %v", took, d)
	}
	if len(stopped.expired)+len(forgotten.expired) > 0 {
		t.Error("a timer expired that was stopped or forgotten")
	}
}

// TestListenerClose holds that a closed socket accepts no more, at once, and
// that a duplicate of it goes on.
func TestListenerClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	for _, a := range [][2]string{{"tcp", "127.0.0.1:0"}, {"unix", path}} {
		g, _ := run(t, 2)
		ln := detached(t, a[0], a[1])
		address := ln.Addr().String()
		var peers sync.Map
		serveEcho(t, g, ln, &peers)
		f, err := ln.File()
		if err != nil {
			t.Fatal(err)
		}
		dup, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		ln.SetUnlinkOnClose(false)
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closing again: %v", err)
		}
		c, err := net.Dial(a[0], address)
		if err != nil {
			t.Fatal(err)
		}
		s, err := dup.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		_ = c.Close()
		_ = dup.Close()
		if _, err := net.Dial(a[0], address); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after closing both handles: %v; want it refused", err)
		}
	}
}
