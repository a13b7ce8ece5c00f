package engine

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// busyRate is from how many messages a second on a worker is busy, and window how
	// long they are counted for.
	busyRate = 2000
	window   = 5 * time.Millisecond
	// busyWait is how long a busy worker waits at most without giving its processor
	// back to the Go scheduler.
	busyWait = 10 * time.Millisecond
	// yieldEvery is how often it lets other goroutines run.
	yieldEvery = time.Millisecond

	// gatherRate is from how many messages a second on a worker that gets them one by
	// one waits for more, and gatherBatch how many at once are enough.
	gatherRate  = 10_000
	gatherBatch = 6
	// gatherTime is how long it waits. The kernel adds 50 microseconds of its own, and
	// a virtual machine as much again.
	gatherTime = 100 * time.Microsecond
	// tryEvery is after how many windows it finds out whether that is still needed.
	tryEvery = 16
)

// A pace is how a worker waits.
//
// To wake up costs more than to forward a datagram, and more than half of that is the
// Go scheduler's: it takes the processor away from a goroutine that blocks in a system
// call and has to find it another one. A busy worker therefore waits in calls that the
// scheduler does not know of, a hundredth of a second at a time.
//
// What wakes up a worker is often a burst. Where it is not, and datagrams come one by
// one, each a few microseconds after the other, waiting a moment makes batches of
// them, as network cards do with interrupts. It costs each datagram a quarter of a
// millisecond at most, and happens only where tens of thousands come a second.
type pace struct {
	busy    bool
	gathers bool

	received, rounds int       // messages and rounds with messages, in this window
	began            time.Time // when it began
	windows          int       // how many there were
	trying           bool      // this one goes without gathering
	yielded          time.Time
}

// gather waits until more has come.
func (p *pace) gather() {
	if !p.gathers || p.trying {
		return
	}
	t := unix.NsecToTimespec(int64(gatherTime))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0) // it may be cut short
}

// after takes note of a round that received so many messages.
func (p *pace) after(received int, now time.Time) {
	if received > 0 {
		p.received += received
		p.rounds++
	}
	if passed := now.Sub(p.began); passed >= window {
		p.next(passed)
		p.began = now
	}
	if p.busy && now.Sub(p.yielded) >= yieldEvery {
		p.yielded = now
		runtime.Gosched()
	}
}

// next begins a window.
func (p *pace) next(passed time.Duration) {
	rate := float64(p.received) / passed.Seconds()
	p.busy = rate >= busyRate
	if !p.gathers || p.trying || rate < gatherRate {
		p.gathers = rate >= gatherRate && p.received < gatherBatch*p.rounds
	}
	p.windows++
	p.trying = p.gathers && p.windows%tryEvery == 0
	p.received, p.rounds = 0, 0
}
