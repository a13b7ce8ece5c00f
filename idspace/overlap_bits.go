package idspace

import "slices"

// bitsWithBits compares the values of two shapes: two values overlap exactly
// if they agree in the bits that both shapes select. The values of the smaller
// group are entered into a hash table under these bits, and those of the other
// looked up, so that each value is handled once.
func (f *overlapFinder) bitsWithBits(a, b *bitsGroup) {
	if len(a.entries) > len(b.entries) {
		a, b = b, a
	}
	length, ok := commonLength(&a.shape, &b.shape)
	if !ok {
		return
	}
	// Values of b are moved to where they stand in the window of a.
	distance := a.shape.start(length) - b.shape.start(length)
	common := a.shape.mask.and(b.shape.mask.shift(distance))
	if fixedApart(a, b, distance) {
		return
	}
	table := newWordTable(len(common), len(a.entries), newWordHash())
	for i := range a.entries {
		key := a.entries[i].value.and(common)
		table.insert(&key, uint64(i))
	}
	for i := range b.entries {
		e := &b.entries[i]
		key := e.value.shift(distance).and(common)
		if first, ok := table.find(&key); ok {
			other := &a.entries[first]
			id := make([]byte, length)
			putWindow(id, &a.shape, other.value)
			putWindow(id, &b.shape, e.value)
			f.report(other.rule, e.rule, id)
			if f.problems.full() {
				return
			}
		}
	}
}

// fixedApart reports whether some bit that both shapes select is the same in
// all values of each and differs between them. Shapes that carry a tag are
// told apart by this without looking at the values again.
func fixedApart(a, b *bitsGroup, distance int) bool {
	both := a.fixedMask.and(b.fixedMask.shift(distance))
	return a.fixedValue.and(both) != b.fixedValue.shift(distance).and(both)
}

// rangesWithBits compares disjoint, sorted ranges with the values of a shape.
func (f *overlapFinder) rangesWithBits(ranges []rangeEntry, g *bitsGroup) {
	if len(ranges) == 0 {
		return
	}
	frame := g.frame()
	// A range that is longer than all IDs of the shape overlaps nothing in it.
	short := ranges
	if g.shape.maxLen < MaxRangeBytes {
		short = nil
		for _, e := range ranges {
			if int(e.size) <= g.shape.maxLen {
				short = append(short, e)
			}
		}
	}
	if len(short) > 0 {
		f.searchRanges(short, g, frame)
	}
}

// A bitsFrame is the part of a shape's window that lies in the first 32 bytes
// of IDs, which is where ranges are, and the values there.
type bitsFrame struct {
	mask   word256
	values []frameValue // sorted
}

type frameValue struct {
	value word256
	entry int32 // of the group, one that has the value
}

func (g *bitsGroup) frame() bitsFrame {
	// A window at the end of IDs of any length can be moved out of the frame:
	// see commonLength.
	at := MaxRangeBytes
	if !g.shape.fromEnd {
		at = g.shape.at
	}
	frame := bitsFrame{mask: g.shape.mask.shift(-at), values: make([]frameValue, len(g.entries))}
	for i := range g.entries {
		frame.values[i] = frameValue{g.entries[i].value.shift(-at), int32(i)} // MaxEntries
	}
	// Cutting off the tails of sorted values leaves them sorted.
	frame.values = slices.CompactFunc(frame.values, func(a, b frameValue) bool { return a.value == b.value })
	return frame
}

// searchRanges reports the ranges that overlap a value. It asks for many at
// once, as if there were no gaps between them, and divides them only where the
// answer is not no.
func (f *overlapFinder) searchRanges(ranges []rangeEntry, g *bitsGroup, frame bitsFrame) {
	if f.problems.full() {
		return
	}
	first, last := &ranges[0], &ranges[len(ranges)-1]
	hit, ok := frame.find(first.from, last.to)
	switch {
	case !ok:
	case len(ranges) == 1:
		entry := &g.entries[hit.entry]
		x, _ := firstMasked(first.from, first.to, frame.mask, hit.value)
		shape := first.shape()
		length, _ := commonLength(&shape, &g.shape)
		id := make([]byte, length)
		copy(id, x.bytes(min(length, MaxRangeBytes)))
		putWindow(id, &g.shape, entry.value)
		f.report(first.rule, entry.rule, id)
	default:
		half := len(ranges) / 2
		f.searchRanges(ranges[:half], g, frame)
		f.searchRanges(ranges[half:], g, frame)
	}
}

// find returns a value that some number between from and to has.
func (f *bitsFrame) find(from, to word256) (frameValue, bool) {
	a, b := maskedIntervals(from, to, f.mask)
	if v, ok := f.findBetween(a); ok {
		return v, true
	}
	return f.findBetween(b)
}

func (f *bitsFrame) findBetween(i interval) (frameValue, bool) {
	n, _ := slices.BinarySearchFunc(f.values, i.lo, func(v frameValue, lo word256) int { return v.value.compare(lo) })
	if n < len(f.values) && f.values[n].value.compare(i.hi) <= 0 {
		return f.values[n], true
	}
	return frameValue{}, false
}

// An interval is the numbers from lo to hi, both included.
type interval struct{ lo, hi word256 }

// maskedIntervals returns two intervals (which may be the same) such that for
// each v with no bits outside mask, v lies in one of them exactly if there is
// an x with from <= x <= to and x & mask == v.
//
// Let x0 and x1 be the halves of the numbers between from and to that have 0
// and 1 in the first bit in which from and to differ; the bits before it are
// the same in all. In x0 only from is a bound. Going along the bits of from,
// the first one that is 0 and free (not in mask) can be set instead, and then
// all that follows is free to choose: so v has a number in x0 exactly if, in
// the bits of mask before that one, v is not less than from. In x1 it is the
// same with to, ones and zeros exchanged. If the bit that divides the halves
// is in mask, the two intervals meet and are one.
func maskedIntervals(from, to, mask word256) (a, b interval) {
	split := from.xor(to).firstBit()
	if split == word256Bits {
		v := from.and(mask)
		return interval{v, v}, interval{v, v}
	}
	after := firstBits(split + 1).not()
	up := from.or(mask).not().and(after).firstBit()
	down := to.and(mask.not()).and(after).firstBit()
	lo := from.and(firstBits(up)).and(mask)
	hi := to.or(firstBits(down).not()).and(mask)
	if !mask.and(oneBit(split)).isZero() {
		return interval{lo, hi}, interval{lo, hi}
	}
	head := from.and(firstBits(split))
	return interval{lo, head.or(after).and(mask)}, interval{head.and(mask), hi}
}

// firstMasked returns the least x with from <= x <= to and x & mask == value.
func firstMasked(from, to, mask, value word256) (x word256, ok bool) {
	x = from
	if differs := from.xor(value).and(mask).firstBit(); differs < word256Bits {
		at := differs
		if value.and(oneBit(differs)).isZero() {
			// The number must grow at a free bit before.
			at = from.or(mask).not().and(firstBits(differs)).lastBit()
			if at < 0 {
				return x, false
			}
		}
		x = from.and(firstBits(at)).or(oneBit(at)).or(value.and(firstBits(at).not()))
	}
	return x, x.compare(to) <= 0
}
