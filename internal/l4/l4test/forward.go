package l4test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/l4"
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
	c := r.dial()
	s := a.accept(t)
	mustWrite(t, s, []byte("220 ready\r\n"))
	wantRead(t, c, []byte("220 ready\r\n"))
	finish(t, c, s)
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

// testReset resets from each side.
func testReset(t *testing.T, f Factory) {
	t.Run("client", func(t *testing.T) {
		r := start(t, f, tcp(t))
		a := r.serve("a")
		c, s := r.pair(a, []byte("request"))
		reset(t, c)
		wantReset(t, s)
		r.wantSample(`mintmark_connections_ended_total{end="client_reset",listener="front"}`, 1)
	})
	t.Run("server", func(t *testing.T) {
		r := start(t, f, tcp(t))
		a := r.serve("a")
		c, s := r.pair(a, []byte("request"))
		reset(t, s)
		wantReset(t, c)
		r.wantSample(`mintmark_connections_ended_total{end="server_reset",listener="front"}`, 1)
	})
}

// testResetAfterHalfClose resets from a side that has ended its stream before:
// nobody reads from it any more, and yet the reset must be noticed.
func testResetAfterHalfClose(t *testing.T, f Factory) {
	t.Run("client", func(t *testing.T) {
		r := start(t, f, tcp(t))
		a := r.serve("a")
		c, s := r.pair(a, []byte("request"))
		closeWrite(t, c)
		wantEnd(t, s, nil)
		reset(t, c)
		// The end of the stream was read already: only writing shows it.
		eventually(t, func() error { return wantBroken(s) })
	})
	t.Run("server", func(t *testing.T) {
		r := start(t, f, tcp(t))
		a := r.serve("a")
		c, s := r.pair(a, []byte("request"))
		closeWrite(t, s)
		wantEnd(t, c, nil)
		reset(t, s)
		r.wantSample(`mintmark_connections_ended_total{end="server_reset",listener="front"}`, 1)
		eventually(t, func() error { return wantBroken(c) })
	})
}

// wantBroken returns nil once writing fails.
func wantBroken(c net.Conn) error {
	if _, err := c.Write([]byte("x")); err == nil {
		return fmt.Errorf("writing still works")
	}
	return nil
}

// testAnswerBeforeReset lets the server answer and reset while the client
// still sends, as servers do that refuse a request early. What the server sent
// arrives, and then the reset.
func testAnswerBeforeReset(t *testing.T, f Factory) {
	r := start(t, f, tcp(t))
	a := r.serve("a")
	c, s := r.pair(a, []byte("request"))
	answer := bytes.Repeat([]byte("no"), 8<<10)
	mustWrite(t, s, answer)
	// Bytes that the server never reads make its close a reset.
	mustWrite(t, c, []byte("more of the request"))
	peeked := make([]byte, 1)
	wantReadSome(t, s, peeked)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantRead(t, c, answer)
	wantReset(t, c)
}

func wantReadSome(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
}

// testSlowReader lets a client read slowly: nothing is lost, and nothing is
// taken for idleness as long as some of it moves.
func testSlowReader(t *testing.T, f Factory) {
	const (
		size = 8 << 20
		idle = 400 * time.Millisecond
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

// testIdleTimeout leaves a connection idle, and others not quite.
func testIdleTimeout(t *testing.T, f Factory) {
	const idle = 200 * time.Millisecond
	su := tcp(t)
	su.settings.IdleTimeout = idle
	r := start(t, f, su)
	a := r.serve("a")
	silent, silentServer := r.pair(a, []byte("silent"))
	began := time.Now()
	upC, upS := r.pair(a, []byte("up"))
	downC, downS := r.pair(a, []byte("down"))

	// Activity in one direction is enough for both.
	for time.Since(began) < 3*idle {
		mustWrite(t, upC, []byte("x"))
		wantRead(t, upS, []byte("x"))
		mustWrite(t, downS, []byte("x"))
		wantRead(t, downC, []byte("x"))
		time.Sleep(idle / 8)
	}
	// A cut is a reset: nobody may take it for the end of the stream.
	wantReset(t, silent)
	wantReset(t, silentServer)
	r.wantSample(`mintmark_connections_ended_total{end="idle_timeout",listener="front"}`, 1)
	finish(t, upC, upS)
	finish(t, downC, downS)
	r.wantSample(`mintmark_connections_ended_total{end="done",listener="front"}`, 2)
}

// testBulk moves a lot both ways at once, through a tls listener, where the
// beginning is watched and the rest is not.
func testBulk(t *testing.T, f Factory) {
	bulk(t, f, 64<<20)
}

// testGibibyte is testBulk with a gibibyte in each direction.
func testGibibyte(t *testing.T, f Factory) {
	bulk(t, f, 1<<30)
}

func bulk(t *testing.T, f Factory, size int64) {
	r := start(t, f, setup{settings: l4.Settings{TLS: true}, pool: newPool(t, route.PoolConfig{}, "a")})
	a := r.serve("a")
	c, s := r.pair(a, plainHello())
	// A gibibyte through a busy machine may take its time.
	for _, nc := range []net.Conn{c, s} {
		if err := nc.SetDeadline(time.Now().Add(10 * patience)); err != nil {
			t.Fatal(err)
		}
	}
	type sums struct{ sent, received []byte }
	var up, down sums
	var wg sync.WaitGroup
	transfer := func(from, to net.Conn, seed uint64, out *sums) {
		wg.Go(func() {
			sum, err := sendPattern(from, seed, size)
			if err != nil {
				t.Errorf("sending: %v", err)
			}
			out.sent = sum
			// The other direction is still running: this is a half-close.
			if err := from.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			h := sha256.New()
			n, err := io.Copy(h, to)
			if err != nil || n != size {
				t.Errorf("received %d bytes, then %v; want %d", n, err, size)
			}
			out.received = h.Sum(nil)
		})
	}
	transfer(c, s, 1, &up)
	transfer(s, c, 2, &down)
	wg.Wait()
	if !bytes.Equal(up.sent, up.received) {
		t.Error("what the server received is not what the client sent")
	}
	if !bytes.Equal(down.sent, down.received) {
		t.Error("what the client received is not what the server sent")
	}
	r.wantSample(`mintmark_connections_ended_total{end="done",listener="front"}`, 1)
	r.wantSample(`mintmark_bytes_total{direction="in",listener="front"}`, float64(size)+float64(len(plainHello())))
	r.wantSample(`mintmark_bytes_total{direction="out",listener="front"}`, float64(size))
}

// sendPattern writes size bytes that depend on the seed and on their place,
// and returns their SHA-256.
func sendPattern(w io.Writer, seed uint64, size int64) ([]byte, error) {
	h := sha256.New()
	b := make([]byte, 256<<10)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	for at := int64(0); at < size; {
		n := min(int64(len(b)), size-at)
		stamp(b, seed, at)
		if err := writeHashed(w, h, b[:n]); err != nil {
			return nil, fmt.Errorf("after %d bytes: %w", at, err)
		}
		at += n
	}
	return h.Sum(nil), nil
}

// stamp makes each page of b tell where it belongs.
func stamp(b []byte, seed uint64, at int64) {
	const page = 4 << 10
	for i := 0; i+16 <= len(b); i += page {
		binary.BigEndian.PutUint64(b[i:], seed)
		binary.BigEndian.PutUint64(b[i+8:], uint64(at)+uint64(i))
	}
}

func writeHashed(w io.Writer, h hash.Hash, b []byte) error {
	h.Write(b)
	_, err := w.Write(b)
	return err
}
