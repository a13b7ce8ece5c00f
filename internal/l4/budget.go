package l4

import (
	"sync"
	"sync/atomic"

	"github.com/mintmark/mintmark/internal/tlshello"
)

// A budget bounds the memory that holds what clients have sent and nobody has
// been found yet to receive it.
type budget struct {
	limit int64
	used  *atomic.Int64 // bytes of memory, shown as a metric
}

// take reserves n bytes and reports whether there was room.
func (b *budget) take(n int) bool {
	for {
		used := b.used.Load()
		if used+int64(n) > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+int64(n)) {
			return true
		}
	}
}

func (b *budget) give(n int) { b.used.Add(-int64(n)) }

// maxProxyHeader is the longest PROXY protocol header that is read, fixed part
// included. The specification allows 64 KiB; a few addresses, names and a
// client certificate need less than this.
const maxProxyHeader = 16 + 4096

// A bufferSize names one of the few sizes that buffers have.
type bufferSize uint8

const (
	// smallBuffer is for clients that have sent a few bytes and make us
	// wait: 131,072 of them fit into the default budget.
	smallBuffer bufferSize = iota
	// firstBuffer is for the first read of a connection; nearly every hello
	// fits.
	firstBuffer
	// copyBuffer is what a flow copies with, and the next step of a hello. A
	// read that fills it is the beginning of bulk data.
	copyBuffer
	// fullBuffer holds everything that a client may make us wait for.
	fullBuffer

	numBufferSizes = iota
)

func (s bufferSize) bytes() int {
	return [numBufferSizes]int{512, 4 << 10, 16 << 10, maxProxyHeader + tlshello.MaxHello}[s]
}

// A buffer is memory with the size that it was made with.
type buffer struct {
	b    []byte
	size bufferSize
	free bool // in the pool; using it would be a fault
}

// buffers keeps buffers for the next who needs one. Its zero value is ready.
type buffers struct{ pools [numBufferSizes]sync.Pool }

func (p *buffers) get(size bufferSize) *buffer {
	b, ok := p.pools[size].Get().(*buffer)
	if !ok {
		b = &buffer{b: make([]byte, size.bytes()), size: size} // alloc: kept for the next
	}
	b.free = false
	return b
}

func (p *buffers) put(b *buffer) {
	if b.free {
		panic("l4: internal error: buffer returned twice")
	}
	b.free = true
	p.pools[b.size].Put(b)
}
