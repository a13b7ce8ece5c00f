package reactor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Listener is a listening socket for loops to accept from. The Go runtime's
// poller does not know it: it would be woken for each connection, for nothing.
type Listener struct {
	addr   net.Addr
	fd     int
	closed chan struct{}
	users  sync.WaitGroup // who accept from it

	mu   sync.Mutex
	path string // of a unix socket, to be removed at the end; "" otherwise
	over bool   // closed is closed
}

// Detach makes a Listener of a TCP or unix socket. ln is closed when it
// succeeds; connections that wait in its queue stay.
func Detach(ln net.Listener) (*Listener, error) {
	if l, ok := ln.(*Listener); ok {
		return l, nil
	}
	s, ok := ln.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("taking over socket %v: %w", ln.Addr(), errors.ErrUnsupported)
	}
	f, err := s.File()
	if err != nil {
		return nil, fmt.Errorf("taking over socket %v: %w", ln.Addr(), err)
	}
	defer f.Close()
	fd, err := duplicate(f)
	if err != nil {
		return nil, fmt.Errorf("taking over socket %v: %w", ln.Addr(), err)
	}
	l := &Listener{addr: ln.Addr(), fd: fd, closed: make(chan struct{})}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
		if path := ln.Addr().String(); path != "" && path[0] != '@' {
			l.path = path
		}
	}
	_ = ln.Close() // fd keeps the socket open
	return l, nil
}

// duplicate returns a second descriptor for what c has open. It does not wait
// when used.
func duplicate(c interface {
	SyscallConn() (syscall.RawConn, error)
},
) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	if e := raw.Control(func(from uintptr) {
		if fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(fd, true)
		}
	}); e != nil {
		return -1, e
	}
	return fd, err
}

// Accept is for the interface alone: connections go to the loops.
func (l *Listener) Accept() (net.Conn, error) {
	return nil, fmt.Errorf("accepting on %v: %w", l.addr, errors.ErrUnsupported)
}

// Addr returns the socket's address.
func (l *Listener) Addr() net.Addr { return l.addr }

// SetUnlinkOnClose says whether Close removes the file of a unix socket.
func (l *Listener) SetUnlinkOnClose(unlink bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !unlink {
		l.path = ""
	}
}

// File returns a second handle to the socket, as that of a net.TCPListener
// does.
func (l *Listener) File() (*os.File, error) {
	fd, err := l.dup()
	if err != nil {
		return nil, fmt.Errorf("duplicating socket %v: %w", l.addr, err)
	}
	return os.NewFile(uintptr(fd), l.addr.String()), nil
}

func (l *Listener) dup() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return -1, net.ErrClosed
	}
	return unix.FcntlInt(uintptr(l.fd), unix.F_DUPFD_CLOEXEC, 0)
}

// use keeps the socket open until users.Done is called. It returns false when
// it is closed already.
func (l *Listener) use() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	l.users.Add(1)
	return true
}

// Close ends every Accept from the socket, waits for their end, and closes it.
// It must not be called on a loop.
func (l *Listener) Close() error {
	l.mu.Lock()
	over, path := l.over, l.path
	l.over = true
	l.mu.Unlock()
	if over {
		return net.ErrClosed
	}
	if path != "" {
		_ = os.Remove(path) // somebody else may have
	}
	close(l.closed)
	l.users.Wait()
	Close(l.fd)
	return nil
}

// Take takes the socket out of a TCP or unix connection, which is closed; the
// connection itself stays open.
func Take(c net.Conn) (fd int, err error) {
	s, ok := c.(interface {
		SyscallConn() (syscall.RawConn, error)
	})
	if !ok {
		return -1, fmt.Errorf("taking over a %T: %w", c, errors.ErrUnsupported)
	}
	if fd, err = duplicate(s); err != nil {
		return -1, fmt.Errorf("taking over a connection: %w", err)
	}
	_ = c.Close() // fd keeps the connection open
	return fd, nil
}
