package l4test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// unacknowledged returns how much of what was written to c its peer has not
// acknowledged.
func unacknowledged(t *testing.T, c net.Conn) int {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if e := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return n
}
