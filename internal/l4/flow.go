package l4

// Hot file: every forwarded byte passes here. Budget: no allocation per
// message; two system calls for a message of up to 16 KiB, two for each chunk
// of bulk data, which is not copied.

import (
	"sync/atomic"
	"syscall"

	"github.com/mintmark/mintmark/internal/metrics"
)

// A flow is one direction of a connection: it copies from src to dst until
// src ends its stream.
//
// It reads small and splices when reads fill the buffer: a message that fits
// is read and written, which is cheaper than moving it through a pipe; once
// as much as the buffer holds was there at once, the kernel moves the bytes
// (splice(2)) until they come in small pieces again. A buffer or pipe is held
// only from the moment that src has bytes to the moment that dst has taken
// them: an idle flow holds none.
type flow struct {
	src, dst *endpoint
	buffers  *buffers
	pipes    *pipePool
	total    *metrics.Counter
	stripe   metrics.Stripe

	// watch, while not nil, is shown every byte that dst was sent, until it
	// returns true. Watched bytes are not spliced.
	watch func(b []byte) (done bool)

	moved atomic.Int64 // bytes that dst has taken; others may read it
	ended atomic.Bool  // src has ended its stream and dst was told

	counted int64 // how much of moved is in total
	bulk    bool  // splice rather than copy

	// Of the callbacks, which run in the flow's goroutine.
	readStep, writeStep func(fd uintptr) bool
	buf                 *buffer
	pipe                *pipe
	from, to            int // what is in buf, or (to-from) in pipe
	err                 error
}

// countEvery is how many bytes a flow moves before it adds them to the metric,
// so that processors do not fight for one counter.
const countEvery = 1 << 20

// A flowError says which side of a flow failed.
type flowError struct {
	dst bool // writing; otherwise reading
	err error
}

// run copies until src ends its stream (nil) or one side fails.
func (f *flow) run() *flowError {
	defer f.count()
	for {
		n, err := f.read()
		if n == 0 {
			f.drop()
			if ended(n, err) {
				return nil
			}
			return &flowError{err: err}
		}
		err = f.write()
		f.drop()
		if err != nil {
			return &flowError{dst: true, err: err}
		}
		if f.moved.Load()-f.counted >= countEvery {
			f.count()
		}
		// Where splicing is impossible (f.pipes nil) bulk never becomes true.
		f.bulk = n >= copyBuffer.bytes() && f.watch == nil && f.pipes != nil
	}
}

// send writes b, which has been read elsewhere, before anything else.
func (f *flow) send(b []byte) *flowError {
	for len(b) > 0 {
		n, err := f.dst.conn.Write(b)
		f.moved.Add(int64(n))
		if err != nil {
			return &flowError{dst: true, err: err}
		}
		b = b[n:]
	}
	return nil
}

// count adds what moved since the last time to the metric.
func (f *flow) count() {
	moved := f.moved.Load()
	f.total.Add(f.stripe, uint64(moved-f.counted))
	f.counted = moved
}

// read waits until src has something and takes it, into f.pipe if the flow is
// bulk, else into f.buf. The result is as of io.Reader, but for the end of the
// stream, which may also be 0, nil.
func (f *flow) read() (int, error) {
	f.from, f.to, f.err = 0, 0, nil
	if f.src.raw == nil {
		f.buf = f.buffers.get(copyBuffer)
		f.to, f.err = f.src.conn.Read(f.buf.b)
		return f.to, f.err
	}
	if f.readStep == nil {
		f.readStep = f.tryRead // alloc: one a flow
	}
	if err := f.src.raw.Read(f.readStep); err != nil {
		return 0, err
	}
	return f.to, f.err
}

// tryRead is the callback of read.
func (f *flow) tryRead(fd uintptr) bool {
	var again bool
	if f.bulk {
		if f.pipe = f.pipes.get(); f.pipe != nil {
			f.to, again, f.err = f.pipe.fill(fd)
			if f.err != syscall.EINVAL { //nolint:errorlint // straight from the system call
				if again {
					f.drop()
				}
				return !again
			}
			// This kind of socket cannot be spliced; nothing was taken.
			f.drop()
			f.pipes = nil
		}
		// No descriptors left for a pipe: copying needs none.
	}
	f.buf = f.buffers.get(copyBuffer)
	f.to, again, f.err = sysRead(fd, f.buf.b)
	if again {
		f.drop()
	}
	return !again
}

// write waits until dst has taken everything that read took from src.
func (f *flow) write() error {
	if f.dst.raw == nil {
		return f.writeThroughConn()
	}
	if f.writeStep == nil {
		f.writeStep = f.tryWrite // alloc: one a flow
	}
	if err := f.dst.raw.Write(f.writeStep); err != nil {
		return err
	}
	return f.err
}

// tryWrite is the callback of write.
func (f *flow) tryWrite(fd uintptr) bool {
	for f.from < f.to {
		var n int
		var again bool
		if f.pipe != nil {
			n, again, f.err = f.pipe.drain(fd, f.to-f.from)
		} else {
			n, again, f.err = sysWrite(fd, f.buf.b[f.from:f.to])
			f.show(n)
		}
		f.from += n
		f.moved.Add(int64(n))
		if again {
			return false
		}
		if f.err != nil {
			return true
		}
	}
	return true
}

func (f *flow) writeThroughConn() error {
	if f.pipe != nil {
		return syscall.EINVAL // never: bulk needs two kernel sockets
	}
	n, err := f.dst.conn.Write(f.buf.b[f.from:f.to])
	f.show(n)
	f.from += n
	f.moved.Add(int64(n))
	return err
}

// show lets the watcher see n bytes that were just written.
func (f *flow) show(n int) {
	if f.watch != nil && n > 0 && f.watch(f.buf.b[f.from:f.from+n]) {
		f.watch = nil
	}
}

// drop gives back what read took to hold the bytes.
func (f *flow) drop() {
	if f.buf != nil {
		f.buffers.put(f.buf)
		f.buf = nil
	}
	if f.pipe != nil {
		f.pipes.put(f.pipe, f.to-f.from)
		f.pipe = nil
	}
}
