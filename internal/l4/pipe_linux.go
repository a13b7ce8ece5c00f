package l4

import (
	"sync"

	"golang.org/x/sys/unix"
)

// pipeSize is how much a pipe is asked to hold, and so how much one splice can
// move. The kernel grants less to a user who has many pipes.
const pipeSize = 256 << 10

// maxFreePipes is how many pipes a Proxy keeps for later: more than are in use
// at one moment on a busy machine, because a pipe is held only while bytes are
// on their way.
const maxFreePipes = 64

// A pipe carries bytes from one socket to another inside the kernel.
type pipe struct{ r, w int }

// fill moves what the socket has into the pipe, which is empty. again says
// that the socket has nothing now.
func (p *pipe) fill(socket uintptr) (n int, again bool, err error) {
	return splice(int(socket), p.w, pipeSize)
}

// drain moves up to n bytes from the pipe into the socket. again says that the
// socket takes nothing now.
func (p *pipe) drain(socket uintptr, n int) (int, bool, error) {
	return splice(p.r, int(socket), n)
}

func splice(from, to, n int) (int, bool, error) {
	for {
		m, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if err != unix.EINTR {
			return max(int(m), 0), err == unix.EAGAIN, err
		}
	}
}

// A pipePool keeps empty pipes for the next flow that needs one. Making a pipe
// costs three system calls.
type pipePool struct {
	mu     sync.Mutex
	free   []*pipe // the last put first: its memory is in the cache
	closed bool    // keep none
}

// get returns an empty pipe, nil if there are no descriptors for one.
func (pp *pipePool) get() *pipe {
	pp.mu.Lock()
	if n := len(pp.free); n > 0 {
		p := pp.free[n-1]
		pp.free = pp.free[:n-1]
		pp.mu.Unlock()
		return p
	}
	pp.mu.Unlock()
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize) // a smaller one works too
	return &pipe{r: fds[0], w: fds[1]}
}

// put takes back a pipe that holds left bytes. One that is not empty cannot
// be used for another connection.
func (pp *pipePool) put(p *pipe, left int) {
	if left == 0 {
		pp.mu.Lock()
		if !pp.closed && len(pp.free) < maxFreePipes {
			pp.free = append(pp.free, p)
			pp.mu.Unlock()
			return
		}
		pp.mu.Unlock()
	}
	p.close()
}

func (p *pipe) close() {
	_ = unix.Close(p.r) // both are ours and open
	_ = unix.Close(p.w)
}

// close closes the pipes that are free, and from now on those that are put.
func (pp *pipePool) close() {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	for _, p := range pp.free {
		p.close()
	}
	pp.free, pp.closed = nil, true
}
