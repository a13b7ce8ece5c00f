package reactor_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/reactor"
)

// connect has a loop connect to a listener, and accepts.
func connect(t *testing.T, l *reactor.Loop, ln net.Listener, speaks bool) (fd int, accepted *net.TCPConn) {
	t.Helper()
	type result struct {
		fd    int
		errno reactor.Errno
	}
	done := make(chan result, 1)
	l.Post(func() {
		fd, errno := l.Connect(addrPort(ln.Addr()), speaks)
		if speaks && fd >= 0 {
			if _, errno := reactor.Send(fd, []byte("hello"), false); errno != reactor.OK {
				t.Errorf("sending at once: %v", errno)
			}
		}
		done <- result{fd, errno}
	})
	r := <-done
	if r.errno != reactor.OK && r.errno != unix.EINPROGRESS {
		t.Fatal(r.errno)
	}
	t.Cleanup(func() { reactor.Close(r.fd) })
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return r.fd, c.(*net.TCPConn)
}

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// TestConnect connects to a listener, and to nobody.
func TestConnect(t *testing.T) {
	t.Parallel()
	g, _ := run(t, 1)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln := listen(t, address)
		fd, c := connect(t, g.Loops()[0], ln, false)
		if got, want := reactor.PeerAddr(fd), addrPort(ln.Addr()); got != want {
			t.Errorf("connected to %v; want %v", got, want)
		}
		if got, want := reactor.LocalAddr(fd), addrPort(c.RemoteAddr()); got != want {
			t.Errorf("connected from %v; want %v", got, want)
		}
	}
}

// TestFirstBytesCarryTheAcknowledgement counts the packets with which a server
// gets the first bytes: one, which also ends the handshake. On their own, they
// would come after another.
func TestFirstBytesCarryTheAcknowledgement(t *testing.T) {
	t.Parallel()
	g, _ := run(t, 1)
	ln := listen(t, "127.0.0.1:0")
	received := func(speaks bool) uint32 {
		fd, c := connect(t, g.Loops()[0], ln, speaks)
		if !speaks {
			if _, errno := reactor.Send(fd, []byte("hello"), false); errno != reactor.OK {
				t.Fatal(errno)
			}
		}
		if _, err := c.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		return tcpInfo(t, c).Segs_in
	}
	var apart, together uint32
	for range 5 { // the kernel waits 40 ms for the bytes, and a busy machine may be late
		if apart, together = received(false), received(true); together+1 == apart {
			return
		}
	}
	t.Errorf("the server got the first bytes with %d packets, and with %d when they were announced; want one less", apart, together)
}

func tcpInfo(t *testing.T, c *net.TCPConn) (info *unix.TCPInfo) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return info
}

// TestConnectionsWithinTheMachineAreNotPaced looks at the congestion control
// where the system has one that paces.
func TestConnectionsWithinTheMachineAreNotPaced(t *testing.T) {
	t.Parallel()
	g, _ := run(t, 1)
	fd, _ := connect(t, g.Loops()[0], listen(t, "127.0.0.1:0"), false)
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		t.Fatal(err)
	}
	name = strings.TrimRight(name, "\x00")
	if strings.HasPrefix(name, "bbr") || reactor.PacesByDefault() && name != reactor.Unpaced {
		t.Errorf("a connection to a loopback address has %q; the system paces: %v", name, reactor.PacesByDefault())
	}
}
