package l4

import (
	"errors"
	"io"
	"net"
)

// An intake gathers the first bytes of a connection until it is known where
// they go. It holds no memory before the first byte, little for a client that
// sends little, and everything that it holds is charged to the listener's
// budget.
type intake struct {
	buffers *buffers
	budget  *budget

	buf   *buffer // nil: nothing has arrived
	extra int     // charged for what others hold
	start int     // what stands before is used up
	end   int     // what stands behind is free

	// of the callback
	n    int
	err  error
	step func(fd uintptr) bool
}

// Errors of intake.more, besides those of the socket.
var (
	errHelloBudget = errors.New("unfinished hellos hold too much memory")
	errIntakeFull  = errors.New("more than anything that is waited for")
)

// bytes returns what has arrived and is not used up. It is valid until the
// next call of a method.
func (in *intake) bytes() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.b[in.start:in.end]
}

// use marks n bytes at the beginning as used up.
func (in *intake) use(n int) { in.start += n }

// more waits for at least one more byte from src. io.EOF says that the client has ended
// its stream.
func (in *intake) more(src *endpoint) error {
	if src.raw == nil {
		return in.moreThroughConn(src.conn)
	}
	if in.buf != nil {
		if err := in.fit(); err != nil {
			return err
		}
	}
	if in.step == nil {
		in.step = in.try // alloc: one a connection
	}
	if err := src.raw.Read(in.step); err != nil {
		return err
	}
	return in.result()
}

// try is the callback: it reads once, into a buffer that it takes only for as
// long as there is something to read.
func (in *intake) try(fd uintptr) bool {
	fresh := in.buf == nil
	if fresh && !in.take(firstBuffer) {
		in.n, in.err = 0, errHelloBudget
		return true
	}
	var again bool
	in.n, again, in.err = sysRead(fd, in.buf.b[in.end:])
	if again && fresh {
		in.release()
	}
	return !again
}

func (in *intake) moreThroughConn(c net.Conn) error {
	if in.buf == nil && !in.take(firstBuffer) {
		return errHelloBudget
	}
	if err := in.fit(); err != nil {
		return err
	}
	in.n, in.err = c.Read(in.buf.b[in.end:])
	return in.result()
}

func (in *intake) result() error {
	in.end += in.n
	if ended(in.n, in.err) {
		return io.EOF
	}
	if in.n > 0 {
		return nil
	}
	return in.err
}

// fit chooses the buffer to wait with: large enough for more, and small while
// there is little.
func (in *intake) fit() error {
	held := in.end - in.start
	size := in.buf.size
	switch {
	case held < smallBuffer.bytes()/2:
		size = smallBuffer
	case in.end < len(in.buf.b):
		return nil
	case in.start > 0:
		// There is room in front.
	case size == fullBuffer:
		return errIntakeFull
	default:
		size++
	}
	if size == in.buf.size {
		in.end = copy(in.buf.b, in.bytes())
		in.start = 0
		return nil
	}
	old, from, to := in.buf, in.start, in.end
	if !in.take(size) {
		return errHelloBudget
	}
	in.start, in.end = 0, copy(in.buf.b, old.b[from:to])
	in.give(old)
	return nil
}

// take makes in.buf a buffer of the size, and leaves the old one to the caller.
func (in *intake) take(size bufferSize) bool {
	if !in.budget.take(size.bytes()) {
		return false
	}
	in.buf, in.start, in.end = in.buffers.get(size), 0, 0
	return true
}

func (in *intake) give(b *buffer) {
	in.budget.give(b.size.bytes())
	in.buffers.put(b)
}

// charge charges n bytes that are held elsewhere until release.
func (in *intake) charge(n int) bool {
	if !in.budget.take(n) {
		return false
	}
	in.extra += n
	return true
}

// release gives back all memory.
func (in *intake) release() {
	if in.extra > 0 {
		in.budget.give(in.extra)
		in.extra = 0
	}
	if in.buf != nil {
		in.give(in.buf)
		in.buf, in.start, in.end = nil, 0, 0
	}
}
