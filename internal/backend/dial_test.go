package backend

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

func TestDialTriesAddressesInTurn(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.name("web.example", "10.0.0.1", "10.0.0.2", "10.0.0.3")
		f.net.set(accept, "10.0.0.3:1")
		h := health()
		h.Type = route.HealthNone
		s := snapshotOf(t, nil, h, "a="+named)
		server := serverOf(s, "a")
		f.Update(s)
		synctest.Wait()
		order := func() (got []string) {
			f.net.mu.Lock()
			defer f.net.mu.Unlock()
			for _, d := range f.net.dials {
				got = append(got, strings.TrimSuffix(d.address, ":1"))
			}
			f.net.dials = nil
			return got
		}
		if err := f.dial(t, server); err != nil {
			t.Fatal(err)
		}
		if got, want := order(), []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}; !slices.Equal(got, want) {
			t.Errorf("got connects to %v; want %v", got, want)
		}
		if err := f.dial(t, server); err != nil {
			t.Fatal(err)
		}
		if got, want := order(), []string{"10.0.0.3"}; !slices.Equal(got, want) {
			t.Errorf("the second time: got connects to %v; want what worked, %v", got, want)
		}
		f.net.set(accept, "10.0.0.1:1")
		f.net.set(refuse, "10.0.0.3:1")
		if err := f.dial(t, server); err != nil {
			t.Fatal(err)
		}
		if got, want := order(), []string{"10.0.0.3", "10.0.0.1"}; !slices.Equal(got, want) {
			t.Errorf("when that fails: got connects to %v; want %v", got, want)
		}
		if st, _ := f.Status(server); st.FailedConnects != 0 {
			t.Errorf("got %d failed connects; want 0: one address of each was good", st.FailedConnects)
		}
		f.net.set(refuse, "10.0.0.1:1")
		err := f.dial(t, server)
		if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "server a") {
			t.Errorf("when all fail: got %v; want it to name the server and be ECONNREFUSED", err)
		}
		if got := order(); len(got) != 3 {
			t.Errorf("when all fail: got connects to %v; want all three", got)
		}
	})
}

// An address that hangs gets its part of the time and no more.
func TestDialSharesTimeAmongAddresses(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.name("web.example", "10.0.0.1", "10.0.0.2", "10.0.0.3")
		f.net.set(hang, "10.0.0.1:1", "10.0.0.2:1")
		f.net.set(accept, "10.0.0.3:1")
		h := health()
		h.Type = route.HealthNone
		s := snapshotOf(t, nil, h, "a="+named)
		f.Update(s)
		synctest.Wait()
		began := time.Now()
		conn, err := f.Dial(t.Context(), serverOf(s, "a"), 6*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("two of three addresses hang: got a connection after %v; want 4s of 6s", took)
		}
		f.net.set(hang, "10.0.0.3:1")
		began = time.Now()
		if _, err := f.Dial(t.Context(), serverOf(s, "a"), 6*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("all hang: got %v; want %v", err, context.DeadlineExceeded)
		}
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("all hang: gave up after %v; want 6s", took)
		}
	})
}

// A check that passes at one address makes Dial begin there.
func TestCheckFindsTheGoodAddress(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.name("web.example", "10.0.0.1", "10.0.0.2")
		f.net.set(accept, b)
		s := snapshotOf(t, nil, health(), "a="+named)
		f.Update(s)
		if err := f.WaitFirstRound(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !isUp(serverOf(s, "a")) {
			t.Fatal("one of two addresses accepts, and the server is down")
		}
		f.net.took(a, time.Now())
		if err := f.dial(t, serverOf(s, "a")); err != nil {
			t.Fatal(err)
		}
		if n := len(f.net.took(a, time.Now())); n != 0 {
			t.Errorf("Dial began at the address that does not work")
		}
	})
}

func TestIsLocal(t *testing.T) {
	t.Parallel()
	op := func(err error) error { return &net.OpError{Op: "dial", Err: err} }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{op(syscall.EMFILE), true},
		{op(syscall.EADDRNOTAVAIL), true},
		{op(syscall.ECONNREFUSED), false},
		{context.DeadlineExceeded, false},
		{errors.Join(op(syscall.EMFILE)), true},
		{errors.Join(op(syscall.EMFILE), op(syscall.ENFILE)), true},
		// IPv6 is off here, and the server is dead at its IPv4 address.
		{errors.Join(op(syscall.EADDRNOTAVAIL), op(syscall.ECONNREFUSED)), false},
	} {
		if got := isLocal(c.err); got != c.want {
			t.Errorf("isLocal(%v) = %v; want %v", c.err, got, c.want)
		}
	}
}

// The kernel splices between the connections of these two types only, so they
// must arrive unwrapped.
func TestDialReturnsWhatSplices(t *testing.T) {
	t.Parallel()
	m := NewMonitor(Config{})
	socket := filepath.Join(t.TempDir(), "s")
	for network, address := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0", "unix": socket} {
		var lc net.ListenConfig
		ln, err := lc.Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		target := ln.Addr().String()
		if network == "unix" {
			target = "unix:" + target
		}
		s := snapshotOf(t, nil, health(), "a="+target)
		m.Update(s)
		conn, err := m.Dial(t.Context(), serverOf(s, "a"), 5*time.Second)
		if err != nil {
			t.Errorf("%s: %v", network, err)
			continue
		}
		switch conn.(type) {
		case *net.TCPConn, *net.UnixConn:
		default:
			t.Errorf("%s: got a %T", network, conn)
		}
		_ = conn.Close()
	}
}

// A real name, by the machine's resolver.
func TestDialOfRealName(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	m := NewMonitor(Config{})
	s := snapshotOf(t, nil, health(), "a=localhost:"+port)
	conn, err := m.Dial(t.Context(), serverOf(s, "a"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
