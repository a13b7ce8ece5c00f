package l4test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/route"
)

func readToEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
}

// testUpdate changes the settings under a running connection.
func testUpdate(t *testing.T, f Factory) {
	su := tcp(t)
	r := start(t, f, su)
	a := r.serve("a")
	c1, s1 := r.pair(a, []byte("before"))

	pool := newPool(t, route.PoolConfig{Name: "next"}, "b")
	r.pools = append(r.pools, pool)
	b := r.serve("b")
	r.engine.Update(&l4.Settings{Listener: &route.Listener{Name: listenerName, Pool: pool}, TLS: true, AccessLog: r.log})

	r.expect(plainHello(), b)
	mustWrite(t, s1, []byte("still there"))
	wantRead(t, c1, []byte("still there"))
	finish(t, c1, s1)
}

// testDrain stops accepting and waits for the connections there are.
func testDrain(t *testing.T, f Factory) {
	r := start(t, f, tcp(t))
	a := r.serve("a")
	c, s := r.pair(a, []byte("before"))
	done := make(chan int, 1)
	go func() { done <- r.engine.Drain(context.Background()) }()
	<-r.served // Drain has stopped Serve
	select {
	case <-done:
		t.Fatal("Drain did not wait for the connection")
	default:
	}
	mustWrite(t, s, []byte("still there"))
	wantRead(t, c, []byte("still there"))
	finish(t, c, s)
	if cut := <-done; cut != 0 {
		t.Errorf("Drain cut %d connections; want 0", cut)
	}
}

// testDrainCuts ends a drain before the connections have: one that is
// forwarded, one whose hello is not complete, one that is being connected.
func testDrainCuts(t *testing.T, f Factory) {
	su := overTLS(t, "a", "b")
	su.settings.HelloTimeout = time.Hour
	su.settings.ConnectTimeout = time.Hour
	r := start(t, f, su)
	a := r.serve("a")
	connecting := make(chan struct{})
	r.dialer.with("b", func(ctx context.Context) (net.Conn, error) {
		close(connecting)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	c1, s1 := r.pair(a, withPSK("a"))
	c2 := r.dial()
	mustWrite(t, c2, withPSK("a")[:10])
	c3 := r.dial()
	mustWrite(t, c3, withPSK("b"))
	<-connecting
	r.wantSample(`mintmark_connections_active{listener="front"}`, 3)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() { done <- r.engine.Drain(ctx) }()
	<-r.served
	cancel()
	if cut := <-done; cut != 3 {
		t.Errorf("Drain cut %d connections; want 3", cut)
	}
	for _, c := range []net.Conn{c1, s1, c2, c3} {
		wantReset(t, c)
	}
	r.wantSample(`mintmark_connections_ended_total{end="shutdown",listener="front"}`, 1)
	r.wantRefused(l4.CauseShutdown, 2)
}
