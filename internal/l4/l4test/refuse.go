package l4test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// testRefusals sends what is no acceptable hello, or one for which there is no
// server. All of it is refused at once, with an alert where the client can
// understand one, and counted by cause.
func testRefusals(t *testing.T, f Factory) {
	random := make([]byte, 300)
	for i := range random {
		random[i] = byte(rand.Uint32()) | 0x80 // no record type, no letter
	}
	tooLarge := hellotest.TLS13(idOf("a"))
	tooLarge.PadTo = tlshello.MaxHello + 1
	broken := plainHello()
	broken[len(broken)-1] ^= 0xff // a length near the end
	truncated := hellotest.Build(hellotest.Options{SNI: "x", Extensions: []hellotest.Extension{{Type: 43, Data: []byte{9}}}})
	unknown := overTLS(t, "a")
	unknown.pool = newPool(t, route.PoolConfig{UnknownIDs: route.UnknownRefuse}, "a")
	down := overTLS(t, "a")
	down.pool.Servers[0].State.Up.Store(false)

	for _, c := range []struct {
		name  string
		setup setup
		bytes []byte
		cause route.Cause
		alert byte // 0: none
	}{
		{"http", overTLS(t, "a"), []byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), "not_tls", 0},
		{"random bytes", overTLS(t, "a"), random, "not_tls", 0},
		{"proxy header from a stranger", overTLS(t, "a"), []byte("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), "not_tls", 0},
		{"one byte too many", overTLS(t, "a"), hellotest.Build(tooLarge), "too_large", tlshello.AlertIllegalParameter},
		{"malformed", overTLS(t, "a"), truncated, "bad_hello", tlshello.AlertDecodeError},
		{"no id, refused by policy", unknown, plainHello(), route.CauseNoID, tlshello.AlertHandshakeFailure},
		{"unknown id, refused by policy", unknown, withPSK("z"), route.CauseUnknownID, tlshello.AlertHandshakeFailure},
		{"no server", down, plainHello(), route.CauseNoServer, tlshello.AlertInternalError},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, f, c.setup)
			a := r.serve("a")
			conn := r.dial()
			began := time.Now()
			mustWrite(t, conn, c.bytes)
			if c.alert != 0 {
				wantAlert(t, conn, c.alert)
			} else {
				wantEnd(t, conn, nil)
			}
			r.wantRefused(c.cause, 1)
			if took := time.Since(began); took > l4.DefaultHelloTimeout {
				t.Errorf("refused after %v; want within the hello timeout of %v", took, l4.DefaultHelloTimeout)
			}
			a.none(t)
			// The client has seen the end; now it ends its stream, and the
			// connection is forgotten.
			closeWrite(t, conn)
			r.wantSample(`mintmark_connections_active{listener="front"}`, 0)
		})
	}
}

// testHelloTimeout has clients that never finish.
func testHelloTimeout(t *testing.T, f Factory) {
	const timeout = time.Second // a busy client takes a while until it has written
	su := overTLS(t, "a")
	su.settings.HelloTimeout = timeout
	r := start(t, f, su)
	a := r.serve("a")
	hello := plainHello()
	for i, n := range []int{0, 1, 5, len(hello) - 1} {
		began := time.Now()
		c := r.dial()
		mustWrite(t, c, hello[:n])
		wantAlert(t, c, tlshello.AlertHandshakeFailure)
		if took := time.Since(began); took < timeout || took > timeout+patience/4 {
			t.Errorf("with %d bytes refused after %v; want %v", n, took, timeout)
		}
		r.wantRefused(l4.CauseHelloTimeout, i+1)
	}
	// One that gives up by itself is not made to wait.
	c := r.dial()
	mustWrite(t, c, hello[:10])
	closeWrite(t, c)
	wantEnd(t, c, nil)
	r.wantRefused(l4.CauseClientClosed, 1)
	a.none(t)
}

// testHelloTimeoutEnds holds that the deadline of the hello, and of a PROXY
// header, is over with them.
func testHelloTimeoutEnds(t *testing.T, f Factory) {
	const timeout = time.Second // a busy machine reads what is there after a while
	for _, overTCP := range []bool{false, true} {
		su := overTLS(t, "a")
		su.settings.TLS = !overTCP
		su.settings.HelloTimeout = timeout
		su.settings.AcceptFrom = loopback()
		r := start(t, f, su)
		a := r.serve("a")
		c := r.dial()
		mustWrite(t, c, append(local(), plainHello()...))
		s := a.accept(t)
		wantRead(t, s, plainHello())
		time.Sleep(2 * timeout)
		mustWrite(t, c, []byte("ping"))
		wantRead(t, s, []byte("ping"))
		mustWrite(t, s, []byte("pong"))
		wantRead(t, c, []byte("pong"))
		finish(t, c, s)
	}
}

// testTrickledHello sends a byte from time to time: the deadline is for the
// whole hello.
func testTrickledHello(t *testing.T, f Factory) {
	const timeout = 300 * time.Millisecond
	su := overTLS(t, "a")
	su.settings.HelloTimeout = timeout
	r := start(t, f, su)
	r.serve("a")
	c := r.dial()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(timeout / 20)
		defer tick.Stop()
		for _, b := range plainHello() {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
	})
	began := time.Now()
	// The alert may be lost to the reset that a late byte provokes.
	_, err := io.Copy(io.Discard, c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	if took := time.Since(began); took > timeout+patience/4 {
		t.Errorf("refused after %v; want %v", took, timeout)
	}
	r.wantRefused(l4.CauseHelloTimeout, 1)
}

// testHelloBudget has more clients with unfinished hellos than a listener has
// memory for: some are refused, the others are served, and the memory is never
// exceeded.
func testHelloBudget(t *testing.T, f Factory) {
	const (
		budget  = 64 << 10
		clients = 400 // even if the least memory that anybody holds were 256 bytes
	)
	su := overTLS(t, "a")
	su.config.HelloBudget = budget
	su.settings.HelloTimeout = patience
	r := start(t, f, su)
	a := r.serve("a")
	hello := plainHello()
	m := r.metrics.Listener(listenerName)
	conns := make([]*net.TCPConn, clients)
	for i := range conns {
		conns[i] = r.dial()
		mustWrite(t, conns[i], hello[:1])
		if n := m.HelloBuffered.Load(); n > budget {
			t.Fatalf("%d bytes are buffered; the budget is %d", n, budget)
		}
	}
	refused := func() int {
		return int(r.samples()[`mintmark_refused_total{cause="hello_budget",listener="front"}`])
	}
	eventually(t, func() error {
		if refused() == 0 {
			return fmt.Errorf("%d clients hold %d bytes and none was refused", m.Active.Load(), m.HelloBuffered.Load())
		}
		return nil
	})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { a.answerAll(stop, len(hello), "ok") })
	answers := map[string]int{}
	for _, c := range conns {
		_, _ = c.Write(hello[1:]) // those that were refused may have gone
		answer, _ := io.ReadAll(c)
		answers[string(answer)]++
		_ = c.Close()
	}
	close(stop)
	wg.Wait()
	alert := tlshello.AppendAlert(nil, tlshello.AlertInternalError)
	if alerts := answers[string(alert)]; answers["ok"] < 8 || alerts != refused() || answers["ok"]+alerts != clients {
		t.Errorf("clients read %v; %d were counted as refused", answers, refused())
	}
}

// testHelloBudgetOfRecords holds that a hello in many records counts twice: as
// it arrived, and as one message.
func testHelloBudgetOfRecords(t *testing.T, f Factory) {
	const (
		junk   = 12 << 10
		budget = 24 << 10 // enough for the bytes that arrive
	)
	su := overTLS(t, "a")
	su.config.HelloBudget = budget
	r := start(t, f, su)
	a := r.serve("a")
	o := hellotest.TLS13(idOf("a"))
	o.Junk = junk
	r.expect(hellotest.Build(o), a)
	o.RecordSize = 1 << 10
	c := r.dial()
	mustWrite(t, c, hellotest.Build(o))
	wantAlert(t, c, tlshello.AlertInternalError)
	r.wantRefused(l4.CauseHelloBudget, 1)
	closeWrite(t, c)
	a.none(t)
}

// answerAll reads n bytes from each connection, answers and closes it.
func (s *server) answerAll(stop <-chan struct{}, n int, answer string) {
	for {
		select {
		case <-stop:
			return
		case c := <-s.conns:
			_, _ = io.CopyN(io.Discard, c, int64(n)) // the client reads what came of it
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}
	}
}

// testSlowHellos holds 5,000 connections that have sent half a hello: they
// stay within the cap, and each costs little.
func testSlowHellos(t *testing.T, f Factory) {
	const clients = 5000
	raiseFileLimit(t, 4*clients)
	su := overTLS(t, "a")
	su.settings.HelloTimeout = patience // long enough to hold all of them at once
	r := start(t, f, su)
	a := r.serve("a")
	hello := withPSK("a")
	half := hello[:len(hello)/2]
	conns := make([]net.Conn, clients)
	for i := range conns {
		c, err := r.tryDial()
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		defer c.Close()
		conns[i] = c
		mustWrite(t, c, half)
	}
	m := r.metrics.Listener(listenerName)
	eventually(t, func() error {
		if n := m.Active.Load(); n != clients {
			return fmt.Errorf("%d connections are open; want %d", n, clients)
		}
		if n := m.HelloBuffered.Load(); n < int64(clients*len(half)) {
			return fmt.Errorf("%d bytes are buffered; want the %d that were sent", n, clients*len(half))
		}
		return nil
	})
	const perClient = 1 << 10
	eventually(t, func() error { // buffers that were just changed for smaller ones count twice
		if n := m.HelloBuffered.Load(); n > clients*perClient {
			return fmt.Errorf("%d clients hold %d bytes of buffers, %d each; want at most %d each", clients, n, n/clients, perClient)
		}
		return nil
	})
	// Meanwhile others are served.
	for range 10 {
		r.expect(hello, a)
	}
	// Half of them finish, half give up.
	for i, c := range conns {
		if i%2 == 0 {
			mustWrite(t, c, hello[len(half):])
		} else if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r.wantRefused(l4.CauseClientClosed, clients/2)
	r.wantDecided("web", idspace.FieldPSK, route.ByMint, clients/2+10)
	for i := 0; i < clients; i += 2 {
		_ = conns[i].Close()
	}
	for range clients / 2 {
		_ = a.accept(t).Close()
	}
}

// raiseFileLimit lets the process have n descriptors at least. A server that
// is run by systemd usually has half a million.
func raiseFileLimit(t *testing.T, n uint64) {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if l.Cur >= n {
		return
	}
	l.Cur, l.Max = n, max(n, l.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatalf("raising the limit of descriptors to %d: %v", n, err)
	}
}

// testMaxConnections fills a listener.
func testMaxConnections(t *testing.T, f Factory) {
	su := overTLS(t, "a")
	su.settings.MaxConnections = 2
	r := start(t, f, su)
	a := r.serve("a")
	c1, s1 := r.pair(a, plainHello())
	c2 := r.dial() // has said nothing, and counts
	r.wantSample(`mintmark_connections_active{listener="front"}`, 2)
	refused := r.dial()
	wantAlert(t, refused, tlshello.AlertInternalError)
	r.wantRefused(l4.CauseMaxConnections, 1)
	finish(t, c1, s1)
	r.wantSample(`mintmark_connections_active{listener="front"}`, 1)
	c3, s3 := r.pair(a, plainHello())
	finish(t, c3, s3)
	closeWrite(t, c2)
}

// testServerLimit fills a server: IDs of its own are refused and not spilled,
// others go elsewhere.
func testServerLimit(t *testing.T, f Factory) {
	su := overTLS(t, "a")
	su.pool = newPool(t, route.PoolConfig{Servers: []route.ServerConfig{{Name: "a", Weight: 1, MaxConnections: 1}}}, "a", "b")
	r := start(t, f, su)
	a, b := r.serve("a"), r.serve("b")
	c1, s1 := r.pair(a, withPSK("a"))
	c2 := r.dial()
	mustWrite(t, c2, withPSK("a"))
	wantAlert(t, c2, tlshello.AlertInternalError)
	r.wantRefused(route.CauseLimit, 1)
	closeWrite(t, c2)
	r.expect(plainHello(), b)
	r.expect(plainHello(), b)
	finish(t, c1, s1)
	r.wantSample(`mintmark_server_connections{pool="web",server="a"}`, 0)
	r.expect(withPSK("a"), a)
}
