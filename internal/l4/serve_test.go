package l4_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// A scriptedListener returns the errors of a script, then waits for its end.
type scriptedListener struct {
	errs    []error
	accepts int
	times   []time.Time
	closed  chan struct{}
}

func newScripted(errs ...error) *scriptedListener {
	return &scriptedListener{errs: errs, closed: make(chan struct{})}
}

func (l *scriptedListener) Accept() (net.Conn, error) {
	l.times = append(l.times, time.Now())
	if l.accepts < len(l.errs) {
		l.accepts++
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: l.errs[l.accepts-1]}
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *scriptedListener) Close() error {
	close(l.closed)
	return nil
}

func (l *scriptedListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func onePool(t testing.TB) *route.Listener {
	t.Helper()
	p, err := route.NewPool(route.PoolConfig{Name: "web", Servers: []route.ServerConfig{{Name: "a", Weight: 1}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &route.Listener{Name: "front", Pool: p}
}

// TestServeWaitsOutErrors holds how errors of accept that will pass are dealt
// with: waiting longer each time, up to a limit, and never giving up.
func TestServeWaitsOutErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var errs []error
		for range 12 {
			errs = append(errs, os.NewSyscallError("accept4", syscall.EMFILE))
		}
		errs = append(errs, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED)
		ln := newScripted(errs...)
		m := metrics.New("")
		p := l4.New(l4.Config{Metrics: m}, &l4.Settings{Listener: onePool(t)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Serve(ctx, ln) }()
		time.Sleep(time.Minute) // of the bubble
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if ln.accepts != len(errs) {
			t.Fatalf("Serve gave up after %d errors of %d", ln.accepts, len(errs))
		}
		want := l4.MinAcceptWait
		for i := 1; i < len(ln.times); i++ {
			if got := ln.times[i].Sub(ln.times[i-1]); got != want {
				t.Errorf("waited %v after error %d; want %v", got, i, want)
			}
			want = min(2*want, l4.MaxAcceptWait)
		}
		p.Drain(t.Context())
	})
}

// TestServeReturnsErrors holds that an error that will not pass ends Serve.
func TestServeReturnsErrors(t *testing.T) {
	t.Parallel()
	p := l4.New(l4.Config{}, &l4.Settings{Listener: onePool(t)})
	err := p.Serve(t.Context(), newScripted(syscall.EMFILE, syscall.EBADF))
	if !errors.Is(err, syscall.EBADF) || !strings.Contains(err.Error(), "accepting on 127.0.0.1:1") {
		t.Errorf("Serve returned %v; want EBADF with the address", err)
	}
}

// TestServeEndsWhileWaiting ends Serve between two tries.
func TestServeEndsWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := l4.New(l4.Config{}, &l4.Settings{Listener: onePool(t)})
		ln := newScripted(syscall.EMFILE, syscall.EMFILE)
		ctx, cancel := context.WithTimeout(t.Context(), l4.MinAcceptWait+1)
		defer cancel()
		began := time.Now()
		if err := p.Serve(ctx, ln); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if took := time.Since(began); took != l4.MinAcceptWait+1 {
			t.Errorf("Serve ended after %v; want when its context did", took)
		}
	})
}

// TestMaxConnectionsHelloThere refuses a client whose hello has arrived before
// it is accepted, as it is when the accept loop is busy. The alert must not be
// overtaken by a reset.
func TestMaxConnectionsHelloThere(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	first, second := connect(t, ln.Addr().String()), connect(t, ln.Addr().String())
	if _, err := second.Write(normalHello()); err != nil {
		t.Fatal(err)
	}
	m := metrics.New("")
	p := l4.New(l4.Config{Metrics: m}, &l4.Settings{Listener: onePool(t), TLS: true, MaxConnections: 1})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx, ln) }()
	got, err := io.ReadAll(second)
	if want := tlshello.AppendAlert(nil, tlshello.AlertInternalError); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the client read %x, then %v; want the alert %x and the end", got, err, want)
	}
	active := m.Listener("front").Active
	for deadline := time.Now().Add(10 * time.Second); active.Load() != 1; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are active; want the first", active.Load())
		}
	}
	// The socket is closed now. Had that been with a reset, this would fail.
	if _, err := second.Write([]byte("x")); err != nil {
		t.Errorf("writing after the end: %v", err)
	}
	_ = first.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.Drain(t.Context())
}

// TestServeLeavesSocketOpen holds that Serve gives back a socket that can go
// on being used, by its successor.
func TestServeLeavesSocketOpen(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range 2 {
		p := l4.New(l4.Config{}, &l4.Settings{Listener: onePool(t)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Serve(ctx, ln) }()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatalf("after Serve has ended: %v", err)
	}
	_ = c.Close()
	_ = ln.(*net.TCPListener).SetDeadline(time.Time{})
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}
