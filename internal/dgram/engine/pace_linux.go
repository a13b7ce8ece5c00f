package engine

import (
	"runtime"
	"time"
)

const (
	// busyRate is from how many messages a second on a worker is busy, and window how
	// long they are counted for.
	busyRate = 2000
	// crowdedRate is from how many on it lets other threads run before it waits.
	crowdedRate = 10_000
	window      = 5 * time.Millisecond
	// busyWait is how long a busy worker waits at most without giving its processor
	// back to the Go scheduler.
	busyWait = 10 * time.Millisecond
	// yieldEvery is how often it lets other goroutines run. The scheduler interrupts
	// whoever does not within 10 ms, which costs more.
	yieldEvery = 8 * time.Millisecond
)

// A pace is how a worker waits.
//
// To wake up costs more than to forward a datagram, and more than half of that is the
// Go scheduler's: it takes the processor away from a goroutine that blocks in a system
// call and has to find it another one. A busy worker therefore waits in calls that the
// scheduler does not know of, a hundredth of a second at a time. (Waiting a moment
// longer for more to come makes larger batches, and was tried: on a virtual machine
// the timer costs more than it saves, and datagrams come late.) With many datagrams a
// second, other threads that wait for this processor send or read some of them:
// letting them run first makes the next batch larger. Where none waits it costs one
// call.
type pace struct {
	busy     bool
	crowded  bool
	received int       // messages in this window
	began    time.Time // when it began
	yielded  time.Time
}

// after takes note of a round that received so many messages.
func (p *pace) after(received int, now time.Time) {
	p.received += received
	if passed := now.Sub(p.began); passed >= window {
		rate := float64(p.received) / passed.Seconds()
		p.busy, p.crowded = rate >= busyRate, rate >= crowdedRate
		p.began, p.received = now, 0
	}
	if p.busy && now.Sub(p.yielded) >= yieldEvery {
		p.yielded = now
		runtime.Gosched()
	}
}
