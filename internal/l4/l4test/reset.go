package l4test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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

// testBytesBeforeReset has one side send until nobody takes more, and then
// reset, as servers do that refuse a request early. All that had arrived here
// before the reset arrives there, although it is read late, and then the reset
// does.
func testBytesBeforeReset(t *testing.T, f Factory) {
	t.Run("server", func(t *testing.T) {
		r := start(t, f, tcp(t))
		a := r.serve("a")
		c := r.dialNarrow()
		s := a.accept(t)
		mustWrite(t, c, []byte("request"))
		wantRead(t, s, []byte("req")) // what is left unread makes the close a reset
		delivered := sendUntilFull(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		// Sending to a server that is gone fails, and must not end what still
		// comes from it.
		mustWrite(t, c, []byte("more of the request"))
		readLate(t, c, delivered)
		r.wantSample(`mintmark_connections_ended_total{end="server_reset",listener="front"}`, 1)
	})
	t.Run("client", func(t *testing.T) {
		r := start(t, f, tcp(t))
		a := r.serveOn("a", narrow(t))
		c := r.dial()
		s := a.accept(t)
		delivered := sendUntilFull(t, c)
		reset(t, c)
		readLate(t, s, delivered)
		r.wantSample(`mintmark_connections_ended_total{end="client_reset",listener="front"}`, 1)
	})
}

// sendUntilFull sends a pattern until nobody takes more, and returns how much
// of it the engine's socket has acknowledged.
func sendUntilFull(t *testing.T, c net.Conn) (delivered int64) {
	t.Helper()
	const full = time.Second // without a byte taken
	w := &stallWriter{c: c, patience: full}
	if _, err := sendPattern(w, 3, 1<<40); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return w.n - int64(unacknowledged(t, c))
}

// A stallWriter fails when nothing is taken for a time, and counts.
type stallWriter struct {
	c        net.Conn
	patience time.Duration
	n        int64
}

func (w *stallWriter) Write(b []byte) (int, error) {
	if err := w.c.SetWriteDeadline(time.Now().Add(w.patience)); err != nil {
		return 0, err
	}
	n, err := w.c.Write(b)
	w.n += int64(n)
	return n, err
}

// readLate reads after longer than an engine may wait for a peer that takes
// nothing, and wants the first n bytes of the pattern and then a reset.
func readLate(t *testing.T, c net.Conn, n int64) {
	t.Helper()
	time.Sleep(1500 * time.Millisecond)
	got := sha256.New()
	m, err := io.Copy(got, c)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v; want a reset", err)
	}
	want, _ := sendPattern(io.Discard, 3, n) // writing to nobody does not fail
	if m != n || !bytes.Equal(got.Sum(nil), want) {
		t.Errorf("%d bytes arrived before the reset; want the %d that were sent", m, n)
	}
}

// narrowControl makes a socket take only a few kilobytes at once.
func narrowControl(_, _ string, raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10)
	}); e != nil {
		return e
	}
	return err
}

// narrow opens a socket whose connections take only a few kilobytes at once.
func narrow(t *testing.T) net.Listener {
	t.Helper()
	lc := net.ListenConfig{Control: narrowControl}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// dialNarrow is dial with a socket that takes only a few kilobytes at once.
func (r *rig) dialNarrow() net.Conn {
	r.t.Helper()
	d := net.Dialer{Control: narrowControl}
	c, err := d.DialContext(r.t.Context(), "tcp", r.addr.String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	return c
}

func wantReadSome(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
}
