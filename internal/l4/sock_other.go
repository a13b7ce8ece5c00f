//go:build !linux

package l4

import (
	"errors"
	"net"
	"syscall"
)

// Elsewhere than on Linux every connection is copied through net.Conn, and
// none of the functions below is called.

func rawConn(net.Conn) syscall.RawConn { return nil }

func sysRead(uintptr, []byte) (int, bool, error)  { return 0, false, errors.ErrUnsupported }
func sysWrite(uintptr, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }

func dead(uintptr) bool                  { return false }
func unsent(syscall.RawConn) int         { return 0 }
func unacknowledged(syscall.RawConn) int { return 0 }
