package reactor

// The only file with package unsafe. Calls that cannot wait, because the
// descriptor is non-blocking, are made raw: the Go scheduler is not told, which
// saves it the work of taking the processor away and giving it back. They last
// microseconds.

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Errno is the error of a system call; 0 is none. It is not an error value,
// so that comparing and returning one costs nothing; Err makes it one.
type Errno = unix.Errno

// OK is no error.
const OK Errno = 0

// Err returns e as an error, nil for none.
func Err(e Errno) error {
	if e == OK {
		return nil
	}
	return e
}

// call makes a raw system call without pointers, again when a signal
// interrupted it.
func call(trap, a, b, c, d, e, f uintptr) (int, Errno) {
	for {
		if n, _, errno := syscall.RawSyscall6(trap, a, b, c, d, e, f); errno != unix.EINTR {
			return result(n, errno)
		}
	}
}

// callWith is call with memory of n bytes (or entries). A pointer becomes a
// number only in the argument list of the system call itself: until then the
// memory could move.
func callWith(trap uintptr, fd int, p unsafe.Pointer, n int, flags uintptr) (int, Errno) {
	for {
		if n, _, errno := syscall.RawSyscall6(trap, uintptr(fd), uintptr(p), uintptr(n), flags, 0, 0); errno != unix.EINTR {
			return result(n, errno)
		}
	}
}

// callForAddress is call with an address that the kernel fills in.
func callForAddress(trap uintptr, fd int, sa *sockaddr, flags uintptr) (int, Errno) {
	size := uint32(len(sa))
	for {
		n, _, errno := syscall.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(sa)), uintptr(unsafe.Pointer(&size)), flags, 0, 0)
		if errno != unix.EINTR {
			return result(n, errno)
		}
	}
}

func result(n uintptr, errno Errno) (int, Errno) {
	if errno != OK {
		return 0, errno
	}
	return int(n), OK
}

// Recv reads from a non-blocking socket. 0 without an error is the end of the
// stream.
func Recv(fd int, b []byte) (int, Errno) {
	return callWith(unix.SYS_RECVFROM, fd, unsafe.Pointer(unsafe.SliceData(b)), len(b), 0)
}

// Send writes to a non-blocking socket. more says that something follows at
// once, so that the kernel may wait with a packet that is not full.
func Send(fd int, b []byte, more bool) (int, Errno) {
	flags := uintptr(unix.MSG_NOSIGNAL)
	if more {
		flags |= unix.MSG_MORE
	}
	return callWith(unix.SYS_SENDTO, fd, unsafe.Pointer(unsafe.SliceData(b)), len(b), flags)
}

// Splice moves up to n bytes between a socket and a pipe.
func Splice(from, to, n int) (int, Errno) {
	return call(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
}

// Shutdown ends the stream to the peer.
func Shutdown(fd int) Errno {
	_, errno := call(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0, 0, 0, 0)
	return errno
}

// Close closes a descriptor. It is not tried again: after EINTR too it is
// closed (close(2)).
func Close(fd int) { _, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// Accept takes a connection from a listening socket. The address is zero
// unless the peer has an IP address.
func Accept(fd int) (int, netip.AddrPort, Errno) {
	var sa sockaddr
	n, errno := callForAddress(unix.SYS_ACCEPT4, fd, &sa, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if errno != OK {
		return -1, netip.AddrPort{}, errno
	}
	return n, sa.addrPort(), OK
}

// setOption sets an option of a socket, if the socket has it.
func setOption(fd, level, option int, value unsafe.Pointer, size uintptr) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(value), size, 0)
}

// delayAck has the acknowledgement that ends the handshake of a connect() wait
// for the first bytes (TCP_QUICKACK off). Afterwards the socket acknowledges as
// all do.
func delayAck(fd int) {
	var off int32
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, unsafe.Pointer(&off), unsafe.Sizeof(off))
}

// setCongestion chooses the congestion control of a socket.
func setCongestion(fd int, name string) {
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, unsafe.Pointer(unsafe.StringData(name)), uintptr(len(name)))
}

func connect(fd int, sa *sockaddr, n int) Errno {
	_, errno := callWith(unix.SYS_CONNECT, fd, unsafe.Pointer(sa), n, 0)
	return errno
}

// LocalAddr returns the address of this end of a socket, zero unless it has an
// IP address.
func LocalAddr(fd int) netip.AddrPort { return address(unix.SYS_GETSOCKNAME, fd) }

// PeerAddr returns the address of the other end.
func PeerAddr(fd int) netip.AddrPort { return address(unix.SYS_GETPEERNAME, fd) }

func address(trap uintptr, fd int) netip.AddrPort {
	var sa sockaddr
	if _, errno := callForAddress(trap, fd, &sa, 0); errno != OK {
		return netip.AddrPort{}
	}
	return sa.addrPort()
}

// pollNow asks for events without waiting.
func pollNow(epfd int, events []unix.EpollEvent) (int, Errno) {
	return callWith(unix.SYS_EPOLL_PWAIT, epfd, unsafe.Pointer(unsafe.SliceData(events)), len(events), 0)
}

// giveUpProcessor lets other threads run, if any wait for this processor.
func giveUpProcessor() { _, _, _ = syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

func epollControl(epfd, op, fd int, ev *unix.EpollEvent) Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epfd), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(ev)), 0, 0)
	return errno
}

// A sockaddr is an address as the kernel writes it (ip(7), ipv6(7)): the family
// in the machine's byte order, then port and address in the network's.
type sockaddr [unix.SizeofSockaddrAny]byte

func (sa *sockaddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(sa[2:])
	switch binary.NativeEndian.Uint16(sa[:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(sa[4:])), port)
	case unix.AF_INET6:
		// IPv4 as IPv4, whatever the socket's family.
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(sa[8:])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// set writes ap, which has no zone, and returns the length.
func (sa *sockaddr) set(ap netip.AddrPort) int {
	binary.BigEndian.PutUint16(sa[2:], ap.Port())
	if ap.Addr().Is4() {
		binary.NativeEndian.PutUint16(sa[:], unix.AF_INET)
		a := ap.Addr().As4()
		copy(sa[4:], a[:])
		return unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(sa[:], unix.AF_INET6)
	a := ap.Addr().As16()
	copy(sa[8:], a[:])
	return unix.SizeofSockaddrInet6
}
