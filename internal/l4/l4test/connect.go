package l4test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// testRetry connects to another server when connect() has failed.
func testRetry(t *testing.T, f Factory) {
	r := start(t, f, overTLS(t, "a", "b"))
	b := r.serve("b")
	r.dialer.with("a", func(context.Context) (net.Conn, error) { return nil, errDown })
	r.expect(withPSK("a"), b)
	r.wantDecided("web", idspace.FieldPSK, route.ByBalance, 1)
	if n := r.dialer.count("a"); n != 1 {
		t.Errorf("server a was dialed %d times; want 1", n)
	}
	// A server that was connected to and then says no is not a failed
	// connect: it may have acted on what it got. The server reads first: a
	// reset that comes before connect() was seen to succeed makes it fail.
	c, srv := r.pair(r.serve("a"), withPSK("a"))
	reset(t, srv)
	wantReset(t, c)
	r.wantSample(`mintmark_connections_ended_total{end="server_reset",listener="front"}`, 1)
	b.none(t)
}

// testRetryEarlyData holds that early data goes to nobody who could accept it
// without being its owner: when the owner cannot be connected to, its partner
// is passed over.
func testRetryEarlyData(t *testing.T, f Factory) {
	su := overTLS(t, "a")
	groups := []route.GroupConfig{{Name: "pair"}}
	members := []route.ServerConfig{{Name: "a", Weight: 1, Group: "pair"}, {Name: "b", Weight: 1, Group: "pair"}}
	o := hellotest.TLS13(idOf("a"))
	withoutEarly := hellotest.Build(o)
	o.EarlyData = true
	early := hellotest.Build(o)

	t.Run("elsewhere", func(t *testing.T) {
		su.pool = newPool(t, route.PoolConfig{Groups: groups, Servers: members}, "a", "b", "c")
		r := start(t, f, su)
		b, c := r.serve("b"), r.serve("c")
		r.expect(withoutEarly, b)
		r.expect(early, c)
		r.wantDecided("web", idspace.FieldPSK, route.ByGroup, 1)
		r.wantDecided("web", idspace.FieldPSK, route.ByBalance, 1)
	})
	t.Run("refused", func(t *testing.T) {
		su.pool = newPool(t, route.PoolConfig{Groups: groups, Servers: members}, "a", "b")
		r := start(t, f, su)
		b := r.serve("b")
		c := r.dial()
		mustWrite(t, c, early)
		wantAlert(t, c, tlshello.AlertInternalError)
		r.wantRefused(l4.CauseConnectFailed, 1)
		closeWrite(t, c)
		b.none(t)
	})
}

// testConnectFails has no server that can be connected to: a few are tried,
// not all.
func testConnectFails(t *testing.T, f Factory) {
	names := []route.ServerName{"a", "b", "c", "d", "e"}
	r := start(t, f, overTLS(t, names...))
	c := r.dial()
	mustWrite(t, c, withPSK("a"))
	wantAlert(t, c, tlshello.AlertInternalError)
	r.wantRefused(l4.CauseConnectFailed, 1)
	r.wantDecided("web", idspace.FieldPSK, route.ByRefused, 1)
	closeWrite(t, c)
	dials := 0
	for _, n := range names {
		dials += r.dialer.count(n)
	}
	if dials != l4.MaxAttempts {
		t.Errorf("%d servers were tried; want %d", dials, l4.MaxAttempts)
	}
	// Over tcp there is no alert to send: a reset.
	r = start(t, f, tcp(t))
	r.wantResetAtOnce()
	r.wantRefused(l4.CauseConnectFailed, 1)
}

// wantResetAtOnce connects and is reset, which may come before connect()
// returns.
func (r *rig) wantResetAtOnce() {
	r.t.Helper()
	c, err := r.tryDial()
	if err != nil {
		if !errors.Is(err, syscall.ECONNRESET) {
			r.t.Fatal(err)
		}
		return
	}
	defer c.Close()
	wantReset(r.t, c)
}

// testPanic lets a part of the program fail: that ends one connection, and
// leaves nothing behind.
func testPanic(t *testing.T, f Factory) {
	su := overTLS(t, "a", "b")
	su.recover = true
	r := start(t, f, su)
	a := r.serve("a")
	r.dialer.with("b", func(context.Context) (net.Conn, error) { panic(errors.New("a fault, made by the test")) })
	c := r.dial()
	mustWrite(t, c, withPSK("b"))
	wantReset(t, c)
	r.wantSample(`mintmark_panics_total{listener="front"}`, 1)
	r.wantRefused(l4.CausePanic, 1)
	r.expect(withPSK("a"), a)
}
