package l4

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// An endpoint is one of the two sockets of a connection.
//
// Kernel sockets are read and written through their syscall.RawConn, whose
// callbacks run when the socket is ready: a buffer is taken then, and not held
// while nothing happens.
type endpoint struct {
	conn net.Conn
	raw  syscall.RawConn // nil: not a kernel socket, or not on Linux
	tcp  *net.TCPConn    // nil: not TCP
}

func newEndpoint(c net.Conn) endpoint {
	e := endpoint{conn: c, raw: rawConn(c)}
	e.tcp, _ = c.(*net.TCPConn)
	return e
}

// closeWrite sends the end of the stream, and leaves the other direction open
// where the transport knows half-closed connections.
func (e *endpoint) closeWrite() {
	if c, ok := e.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite() // the peer may be gone, which the other direction finds out
	}
}

// reset closes the socket so that the peer sees a reset, not an end of stream.
func (e *endpoint) reset() {
	if e.tcp != nil {
		_ = e.tcp.SetLinger(0) // fails on a socket that is closed, as Close does
	}
	_ = e.conn.Close() // there is nothing left to lose
}

// errReset is what endpoint.awaitReset returns when the peer has reset.
var errReset = errors.New("connection reset")

// awaitReset waits, after the peer has ended its stream, until it also resets
// the connection (errReset) or the socket is closed from this side.
func (e *endpoint) awaitReset(expected func() bool) error {
	if e.raw == nil || e.tcp == nil {
		return nil // on a unix socket an orderly close looks the same
	}
	var err error
	_ = e.raw.Read(func(fd uintptr) bool { // its own error: closed from this side
		if expected() {
			return true
		}
		if dead(fd) {
			err = errReset
		}
		return err != nil
	})
	return err
}

// flush waits until the kernel has sent what was written to e: a reset throws
// away what still waits. It gives up when the peer has taken nothing for
// patience, and returns at once when the socket is closed.
func (e *endpoint) flush(patience time.Duration) {
	if e.raw == nil || e.tcp == nil {
		return
	}
	const first, longest = 5 * time.Millisecond, 100 * time.Millisecond
	pause, left, since := first, unsent(e.raw), time.Now()
	for left > 0 && time.Since(since) < patience {
		time.Sleep(pause) // only on the way out of a broken connection
		pause = min(2*pause, longest)
		if n := unsent(e.raw); n != left {
			left, since = n, time.Now()
		}
	}
}

// queued returns how many bytes the kernel holds that the peer has not
// acknowledged, 0 if that cannot be known.
func (e *endpoint) queued() int {
	if e.raw == nil {
		return 0
	}
	return unacknowledged(e.raw)
}

// addrs returns the addresses of both ends; zero where they have no IP.
func (e *endpoint) addrs() (remote, local netip.AddrPort) {
	return addrPort(e.conn.RemoteAddr()), addrPort(e.conn.LocalAddr())
}

// addrPort returns a as a value, IPv4 as IPv4 whatever the socket's family.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// ended reports whether err is the orderly end of a stream.
func ended(n int, err error) bool { return (n == 0 && err == nil) || errors.Is(err, io.EOF) }
