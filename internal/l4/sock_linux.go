package l4

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawConn returns the raw socket of c, nil if c is not one that reads, writes
// and splices like a TCP or unix stream socket.
func rawConn(c net.Conn) syscall.RawConn {
	var (
		raw syscall.RawConn
		err error
	)
	switch c := c.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	default:
		return nil
	}
	if err != nil {
		return nil // closed already: the first read will say so
	}
	return raw
}

// sysRead reads once. again says that there is nothing to read now.
func sysRead(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err = unix.Read(int(fd), b)
		if err != unix.EINTR {
			break
		}
	}
	return max(n, 0), err == unix.EAGAIN, err
}

// sysWrite writes once. again says that nothing can be written now.
func sysWrite(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err = unix.Write(int(fd), b)
		if err != unix.EINTR {
			break
		}
	}
	return max(n, 0), err == unix.EAGAIN, err
}

// dead reports whether the connection of a TCP socket is over: a reset was
// received, or both sides have ended it.
func dead(fd uintptr) bool {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == unix.BPF_TCP_CLOSE
}

// unsent returns how many bytes wait in the kernel to be sent for the first
// time, 0 if that cannot be known.
func unsent(raw syscall.RawConn) int { return queueLength(raw, unix.SIOCOUTQNSD) }

// unacknowledged returns how many bytes of what was written the peer has not
// acknowledged (TCP) or read (unix).
func unacknowledged(raw syscall.RawConn) int { return queueLength(raw, unix.SIOCOUTQ) }

func queueLength(raw syscall.RawConn, request uint) int {
	n := 0
	_ = raw.Control(func(fd uintptr) { // fails on a closed socket: nothing waits
		n, _ = unix.IoctlGetInt(int(fd), request)
	})
	return n
}
