package l4test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

// tcp returns the setup of a listener with protocol tcp and one pool of one
// server, a.
func tcp(t *testing.T) setup {
	return setup{pool: newPool(t, route.PoolConfig{}, "a")}
}

// testForward passes messages to and fro, and counts them.
func testForward(t *testing.T, f Factory) {
	r := start(t, f, tcp(t))
	a := r.serve("a")
	c, s := r.pair(a, []byte("hello"))
	for i := range 100 {
		ping, pong := fmt.Appendf(nil, "ping %d", i), fmt.Appendf(nil, "pong %d", i)
		mustWrite(t, c, ping)
		wantRead(t, s, ping)
		mustWrite(t, s, pong)
		wantRead(t, c, pong)
	}
	r.wantSample(`mintmark_connections_active{listener="front"}`, 1)
	r.wantSample(`mintmark_server_connections{pool="web",server="a"}`, 1)
	finish(t, c, s)
	r.wantSample(`mintmark_connections_ended_total{end="done",listener="front"}`, 1)
	r.wantSample(`mintmark_connections_total{listener="front"}`, 1)
	r.wantSample(`mintmark_bytes_total{direction="in",listener="front"}`, 5+10*6+90*7)
	r.wantSample(`mintmark_bytes_total{direction="out",listener="front"}`, 10*6+90*7)
	r.wantDecided("web", idspace.FieldNone, route.ByBalance, 1)
}

// testServerFirst holds that a tcp listener connects before the client has
// said anything: in many protocols the server speaks first.
func testServerFirst(t *testing.T, f Factory) {
	r := start(t, f, tcp(t))
	a := r.serve("a")
	greeting := []byte("220 ready\r\n")
	for range 200 { // it may come before connecting was seen to succeed
		c := r.dial()
		s := a.accept(t)
		mustWrite(t, s, greeting)
		wantRead(t, c, greeting)
		finish(t, c, s)
	}
}

// testUnixSockets listens on a unix socket and forwards to another.
func testUnixSockets(t *testing.T, f Factory) {
	su := tcp(t)
	su.ln = listen(t, "unix", socketPath(t))
	r := start(t, f, su)
	a := r.serveOn("a", listen(t, "unix", socketPath(t)))
	c, err := r.tryDial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mustWrite(t, c, []byte("ping"))
	s := a.accept(t)
	wantRead(t, s, []byte("ping"))
	bulk := bytes.Repeat([]byte("bulk"), 64<<10)
	go func() { _, _ = s.Write(bulk) }()
	wantRead(t, c, bulk)
	finish(t, c, s)
}

// testHalfClose ends one direction and goes on with the other, both ways round.
func testHalfClose(t *testing.T, f Factory) {
	t.Run("client", func(t *testing.T) {
		r := start(t, f, tcp(t))
		a := r.serve("a")
		c, s := r.pair(a, []byte("request"))
		closeWrite(t, c)
		wantEnd(t, s, nil)
		mustWrite(t, s, []byte("a late answer"))
		wantRead(t, c, []byte("a late answer"))
		closeWrite(t, s)
		wantEnd(t, c, nil)
		r.wantSample(`mintmark_connections_ended_total{end="done",listener="front"}`, 1)
	})
	t.Run("server", func(t *testing.T) {
		r := start(t, f, tcp(t))
		a := r.serve("a")
		c, s := r.pair(a, []byte("request"))
		closeWrite(t, s)
		wantEnd(t, c, nil)
		mustWrite(t, c, []byte("a late request"))
		wantRead(t, s, []byte("a late request"))
		closeWrite(t, c)
		wantEnd(t, s, nil)
		r.wantSample(`mintmark_connections_ended_total{end="done",listener="front"}`, 1)
	})
}

// testSlowReader lets a client read slowly: nothing is lost, and nothing is
// taken for idleness as long as some of it moves.
func testSlowReader(t *testing.T, f Factory) {
	const (
		size = 8 << 20
		idle = time.Second
	)
	su := tcp(t)
	su.settings.IdleTimeout = idle
	r := start(t, f, su)
	a := r.serve("a")
	c, s := r.pair(a, []byte("go"))
	if err := c.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	sent := make(chan []byte, 1)
	wg.Go(func() {
		sum, err := sendPattern(s, 1, size)
		if err != nil {
			t.Errorf("sending: %v", err)
		}
		_ = s.(*net.TCPConn).CloseWrite() // the reader finds out
		sent <- sum
	})
	h := sha256.New()
	began := time.Now()
	// Slowly for longer than the idle timeout, then as it comes.
	for pause := time.NewTicker(idle / 10); time.Since(began) < 2*idle; <-pause.C {
		if _, err := io.CopyN(h, c, 32<<10); err != nil {
			t.Fatalf("reading slowly: %v", err)
		}
	}
	if _, err := io.Copy(h, c); err != nil {
		t.Fatalf("reading the rest: %v", err)
	}
	wg.Wait()
	if !bytes.Equal(h.Sum(nil), <-sent) {
		t.Error("what arrived is not what was sent")
	}
	closeWrite(t, c)
}

// testIdleTimeout leaves a connection idle, and others not quite. On a machine
// so busy that the test itself is late, it is done again with more time.
func testIdleTimeout(t *testing.T, f Factory) {
	idle := 200 * time.Millisecond
	for !idleTimeout(t, f, idle) {
		if idle *= 2; idle > patience/4 {
			t.Fatalf("this machine is too busy to be on time within %v", idle)
		}
	}
}

// idleTimeout reports whether it was on time.
func idleTimeout(t *testing.T, f Factory, idle time.Duration) bool {
	t.Helper()
	su := tcp(t)
	su.settings.IdleTimeout = idle
	r := start(t, f, su)
	a := r.serve("a")
	silent, silentServer := r.pair(a, []byte("silent"))
	began := time.Now()
	upC, upS := r.pair(a, []byte("up"))
	downC, downS := r.pair(a, []byte("down"))

	// Activity in one direction is enough for both.
	for last := began; time.Since(began) < 3*idle; {
		for _, way := range [][2]net.Conn{{upC, upS}, {downS, downC}} {
			_, sent := way[0].Write([]byte("x"))
			_, received := io.ReadFull(way[1], make([]byte, 1))
			if time.Since(last) > idle/2 {
				reset(t, upC)
				reset(t, downC)
				return false
			}
			if err := errors.Join(sent, received); err != nil {
				t.Fatalf("on a connection that is not idle: %v", err)
			}
		}
		last = time.Now()
		time.Sleep(idle / 8)
	}
	// A cut is a reset: nobody may take it for the end of the stream.
	wantReset(t, silent)
	wantReset(t, silentServer)
	r.wantSample(`mintmark_connections_ended_total{end="idle_timeout",listener="front"}`, 1)
	finish(t, upC, upS)
	finish(t, downC, downS)
	r.wantSample(`mintmark_connections_ended_total{end="done",listener="front"}`, 2)
	return true
}
