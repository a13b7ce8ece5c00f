package reactor

import (
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Unpaced is the congestion control for connections within the machine where
// PacesByDefault. Every kernel has it, and everybody may use it.
const Unpaced = "reno"

// PacesByDefault returns whether the system's congestion control spreads what
// is sent over time ("bbr"). It needs a timer for each packet. Within the
// machine, where nothing is congested, that is most of what bulk data costs.
func PacesByDefault() bool {
	name, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	return err == nil && strings.HasPrefix(string(name), "bbr")
}

// Connect opens a non-blocking TCP socket and starts to connect it.
// unix.EINPROGRESS is returned with the socket, every other error without.
//
// speaks says that bytes follow at once. The kernel then has them carry the
// acknowledgement that ends the handshake: a packet less, and a server that is
// woken once, when there is something to read.
func (l *Loop) Connect(to netip.AddrPort, speaks bool) (int, Errno) {
	family := unix.AF_INET6
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, errno := call(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0, 0, 0)
	if errno != OK {
		return -1, errno
	}
	if speaks {
		delayAck(fd)
	}
	if l.paces && to.Addr().IsLoopback() {
		setCongestion(fd, Unpaced)
	}
	var sa sockaddr
	n := sa.set(to)
	if errno = connect(fd, &sa, n); errno != OK && errno != unix.EINPROGRESS {
		Close(fd)
		return -1, errno
	}
	return fd, errno
}
