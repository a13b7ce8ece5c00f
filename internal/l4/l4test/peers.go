package l4test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// A server is a backend: it hands each connection to the test.
type server struct {
	name  route.ServerName
	addr  net.Addr
	conns chan net.Conn
}

// backlog is how many connections a server takes that the test has not asked
// for yet.
const backlog = 1024

// serve starts a server that the rig's engine can reach. Connections are
// closed with the test.
func (r *rig) serve(name route.ServerName) *server {
	r.t.Helper()
	return r.serveOn(name, listen(r.t, "tcp", "127.0.0.1:0"))
}

func (r *rig) serveOn(name route.ServerName, ln net.Listener) *server {
	s := &server{name: name, addr: ln.Addr(), conns: make(chan net.Conn, backlog)}
	r.dialer.to(name, ln.Addr())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.conns <- c
		}
	}()
	r.t.Cleanup(func() {
		_ = ln.Close()
		<-done
		close(s.conns)
		for c := range s.conns {
			_ = c.Close()
		}
	})
	return s
}

// accept returns the next connection to the server.
func (s *server) accept(t *testing.T) net.Conn {
	t.Helper()
	select {
	case c := <-s.conns:
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return c
	case <-time.After(patience):
		t.Fatalf("no connection reached server %s", s.name)
		return nil
	}
}

// none checks that no connection waits at the server.
func (s *server) none(t *testing.T) {
	t.Helper()
	select {
	case <-s.conns:
		t.Errorf("a connection reached server %s", s.name)
	default:
	}
}

// pair connects a client through the rig to the server, sending first, which
// the server must get.
func (r *rig) pair(s *server, first []byte) (client, srv net.Conn) {
	r.t.Helper()
	c := r.dial()
	mustWrite(r.t, c, first)
	b := s.accept(r.t)
	wantRead(r.t, b, first)
	return c, b
}

func mustWrite(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatalf("writing %d bytes: %v", len(b), err)
	}
}

// wantRead reads exactly want.
func wantRead(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	if err != nil {
		t.Fatalf("reading %d bytes: got %d: %v", len(want), n, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes that are not those that were sent; first difference at %d", len(got), difference(got, want))
	}
}

// wantEnd reads what is left, which must be want and then the end of the stream.
func wantEnd(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("reading to the end: got %d bytes, then %v", len(got), err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("read %q to the end of the stream; want %q", clip(got), clip(want))
	}
}

// wantReset reads until the connection fails, which must be by a reset.
func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	if err := untilReset(c); err != nil {
		t.Fatal(err)
	}
}

func untilReset(c net.Conn) error {
	n, err := io.Copy(io.Discard, c)
	if errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("the connection ended orderly after %d bytes; want a reset", n)
	}
	return fmt.Errorf("the connection ended with %w after %d bytes; want a reset", err, n)
}

func closeWrite(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// reset closes c with a reset.
func reset(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// finish ends both sides orderly.
func finish(t *testing.T, client, srv net.Conn) {
	t.Helper()
	closeWrite(t, client)
	wantEnd(t, srv, nil)
	closeWrite(t, srv)
	wantEnd(t, client, nil)
}

func difference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func clip(b []byte) []byte { return b[:min(len(b), 200)] }
