package l4

import (
	"cmp"
	"sync"

	"golang.org/x/sys/unix"
)

// How much a pipe is asked to hold, and so how much one splice can move. The
// more it is, the less a byte costs: in interleaved runs, what goes through
// pipes of 1 MiB costs about two thirds. But what a pipe holds for a client
// that does not take it is memory, and the kernel grants a user 64 MiB of
// pipes in all (pipe(7), pipe-user-pages-soft). So there are a few large pipes
// for those who take much.
const (
	pipeSize      = 256 << 10
	largePipeSize = 1 << 20
	maxLargePipes = 16
)

// minPipeSize is what splicing is worth the trouble with. A user who has too
// many pipes gets new ones of 8 KiB.
const minPipeSize = 64 << 10

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
	size  int // of the pipes; 0: pipeSize
	limit int // how many there may be; 0: as many as the kernel allows

	mu     sync.Mutex
	free   []*pipe // the last put first: its memory is in the cache
	made   int     // and not closed
	closed bool    // keep none
}

// get returns an empty pipe, nil if there is none to be had.
func (pp *pipePool) get() *pipe {
	pp.mu.Lock()
	if n := len(pp.free); n > 0 {
		p := pp.free[n-1]
		pp.free = pp.free[:n-1]
		pp.mu.Unlock()
		return p
	}
	ok := pp.limit == 0 || pp.made < pp.limit
	if ok {
		pp.made++
	}
	pp.mu.Unlock()
	if !ok {
		return nil
	}
	p := newPipe(cmp.Or(pp.size, pipeSize))
	if p == nil {
		pp.lost()
	}
	return p
}

func newPipe(size int) *pipe {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	p := &pipe{r: fds[0], w: fds[1]}
	if _, err := unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, size); err != nil {
		if n, err := unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0); err != nil || n < minPipeSize {
			p.close()
			return nil
		}
	}
	return p
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
	pp.lost()
}

func (pp *pipePool) lost() {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	pp.made--
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
		pp.made--
	}
	pp.free, pp.closed = nil, true
}
