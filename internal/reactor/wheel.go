package reactor

import "math/bits"

// The wheel turns in ticks. Four wheels of 64 reach 18 hours ahead; what is
// later is looked at again then.
const (
	tick       = 4_000_000 // nanoseconds
	wheelBits  = 6
	wheelSize  = 1 << wheelBits
	wheels     = 4
	maxAhead   = (wheelSize - 1) << (wheelBits * (wheels - 1)) // never a whole turn of the last
	notInWheel = -1
)

// A wheel is a set of timers, of which the next can be found, and one be set
// or stopped, in the same short time however many there are. Timers are
// numbered; they live in one slice, linked by their numbers, so that a timer
// costs 24 bytes and nothing for the garbage collector to follow.
//
// Wheel k has a list for each of the next 64 spans of 64^k ticks. When the
// time comes to a list of a higher wheel, its timers move to the lower ones.
type wheel struct {
	now     int64 // ticks; all timers that were due have been taken
	timers  []wheelTimer
	heads   [wheels * wheelSize]uint32 // number + 1; 0: empty
	filled  [wheels]uint64             // which lists are not empty
	pending int
}

type wheelTimer struct {
	due        int64  // in ticks
	next, prev uint32 // number + 1
	list       int16  // notInWheel: not set
}

// grow makes room for timers up to number n.
func (w *wheel) grow(n uint32) {
	for len(w.timers) <= int(n) {
		w.timers = append(w.timers, wheelTimer{list: notInWheel})
	}
}

// set makes timer n due at a time in nanoseconds, and never before.
func (w *wheel) set(n uint32, at int64) {
	w.stop(n)
	w.timers[n].due = (at + tick - 1) / tick
	w.insert(n, w.now+1) // not now: a handler that sets it again and again must not keep the loop
}

// insert puts timer n, which is in no list, into the one for its time, at the
// earliest the one for the tick first.
func (w *wheel) insert(n uint32, first int64) {
	t := &w.timers[n]
	at := min(max(t.due, first), w.now+maxAhead)
	level := 0
	if d := uint64(at ^ w.now); d >= wheelSize {
		level = min((bits.Len64(d)-1)/wheelBits, wheels-1)
	}
	list := level*wheelSize + int(at>>(level*wheelBits))&(wheelSize-1)
	t.list = int16(list)
	t.prev, t.next = 0, w.heads[list]
	if t.next != 0 {
		w.timers[t.next-1].prev = n + 1
	}
	w.heads[list] = n + 1
	w.filled[level] |= 1 << (list % wheelSize)
	w.pending++
}

// stop makes timer n never due.
func (w *wheel) stop(n uint32) {
	t := &w.timers[n]
	if t.list == notInWheel {
		return
	}
	list := int(t.list)
	if t.prev != 0 {
		w.timers[t.prev-1].next = t.next
	} else {
		w.heads[list] = t.next
	}
	if t.next != 0 {
		w.timers[t.next-1].prev = t.prev
	}
	if w.heads[list] == 0 {
		w.filled[list/wheelSize] &^= 1 << (list % wheelSize)
	}
	t.list = notInWheel
	w.pending--
}

// next returns the time in nanoseconds at which expired has something to do,
// -1 if nothing is set. It may be earlier than the first timer, never later.
func (w *wheel) next() int64 {
	if w.pending == 0 {
		return -1
	}
	for level := range wheels {
		at := w.now >> (level * wheelBits)
		index := int(at) & (wheelSize - 1)
		// Lists behind the index belong to the round of the wheel above.
		if ahead := w.filled[level] >> index; ahead != 0 {
			return (at + int64(bits.TrailingZeros64(ahead))) << (level * wheelBits) * tick
		}
		if w.filled[level] != 0 {
			// Only the topmost wheel wraps: the others are emptied upwards.
			return (at | (wheelSize - 1) + 1) << (level * wheelBits) * tick
		}
	}
	return -1
}

// expired takes a timer that is due at a time in nanoseconds and stops it. It
// returns false when there is none.
func (w *wheel) expired(at int64) (n uint32, ok bool) {
	until := at / tick
	for {
		if head := w.heads[w.now&(wheelSize-1)]; head != 0 {
			n := head - 1
			w.stop(n)
			if w.timers[n].due <= w.now {
				return n, true
			}
			w.insert(n, w.now+1) // it was beyond what the wheels reach
			continue
		}
		if w.now >= until {
			return 0, false
		}
		w.advance(until)
	}
}

// advance turns the wheels to the next tick at which there is something to do,
// at most to until.
func (w *wheel) advance(until int64) {
	to := until
	if next := w.next(); next < 0 {
		w.now = until
		return
	} else if next/tick < until {
		to = max(next/tick, w.now+1)
	}
	before := w.now
	w.now = to
	for level := 1; level < wheels; level++ {
		shift := level * wheelBits
		if before>>shift == to>>shift {
			return
		}
		list := level*wheelSize + int(to>>shift)&(wheelSize-1)
		for w.heads[list] != 0 {
			n := w.heads[list] - 1
			w.stop(n)
			w.insert(n, to)
		}
	}
}
