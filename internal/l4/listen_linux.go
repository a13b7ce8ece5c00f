package l4

import (
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/reactor"
)

// Keep-alive probes find peers that vanished without a word: after a minute
// of silence, then every 15 seconds, given up after four.
const (
	keepAliveIdle     = 60 // seconds
	keepAliveInterval = 15 // seconds
	keepAliveCount    = 4
)

// ListenConfig returns how to open the sockets that Serve accepts from.
//
// Keep-alives are set on the listening socket, from which Linux hands them on
// to each connection; the net package would set them on every connection, with
// four system calls each. (The event loops switch them on later: see listens.)
// Multipath TCP is off: its sockets are slower to accept and to splice, and
// clients that speak it are few.
//
// Connections to a loopback address are not paced: see reactor.Unpaced.
func ListenConfig() net.ListenConfig {
	lc := net.ListenConfig{
		KeepAlive: -1, // not by the net package
		Control: func(network, address string, raw syscall.RawConn) error {
			if network == "unix" {
				return nil
			}
			var err error
			if e := raw.Control(func(fd uintptr) { err = setOptions(int(fd), address) }); e != nil {
				return e
			}
			return err
		},
	}
	lc.SetMultipathTCP(false)
	return lc
}

func setOptions(fd int, address string) error {
	if ap, err := netip.ParseAddrPort(address); err == nil && ap.Addr().IsLoopback() && reactor.PacesByDefault() {
		// A sandbox may refuse it, and then bulk data costs more.
		_ = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, reactor.Unpaced)
	}
	return setKeepAlive(fd)
}

// keepAlive switches probes on or off, with the times that the socket has.
func keepAlive(fd int, on bool) {
	value := 0
	if on {
		value = 1
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, value) // every TCP socket has it
}

func setKeepAlive(fd int) error {
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveIdle},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveInterval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	return nil
}
