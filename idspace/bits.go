package idspace

import (
	"bytes"
	"math"
	"slices"
)

// MaxShapes is how many shapes of Bits a table may have. A lookup tries each,
// so this bounds what a message can cost.
const MaxShapes = 32

// A bitsShape is all of a Bits but its values, in a form that is the same
// whichever way it was spelled: the window is cut down to the bytes of which
// the mask selects bits, and a window of IDs of one stated length is counted
// from the start.
type bitsShape struct {
	// minLen and maxLen are the lengths of the IDs that the shape applies to.
	minLen, maxLen int
	// fromEnd says that at is counted from the end of the ID.
	fromEnd bool
	// at is where the window starts: so many bytes from the start of the ID,
	// or so many before its end.
	at int
	// size is the length of the window, 1 to MaxMaskBytes.
	size int
	// mask is aligned left: its first byte applies to the first of the window.
	mask word256
}

// anyLength is the maxLen of what applies to IDs of any length.
const anyLength = math.MaxInt

// shape returns the shape of b, and the number of bytes to cut from the head
// of a value of b to have its bytes in the shape's window.
func (b *Bits) shape() (s bitsShape, cut int) {
	size := len(b.Mask)
	mask := bytes.TrimLeft(b.Mask, "\x00")
	cut = size - len(mask)
	mask = bytes.TrimRight(mask, "\x00")
	s = bitsShape{
		minLen:  b.Offset + size,
		maxLen:  anyLength,
		fromEnd: b.FromEnd,
		at:      b.Offset + cut,
		size:    len(mask),
		mask:    load256(mask),
	}
	if b.FromEnd {
		s.at = b.Offset + size - cut
	}
	if b.IDLength != 0 {
		s.minLen, s.maxLen = b.IDLength, b.IDLength
		s.at, s.fromEnd = s.start(b.IDLength), false
	}
	return s, cut
}

// start returns where the window starts in an ID of that length.
func (s *bitsShape) start(length int) int {
	if s.fromEnd {
		return length - s.at
	}
	return s.at
}

// A bitsEntry is one value of a rule.
type bitsEntry struct {
	value word256 // as in the shape's window
	rule  int32
}

// A bitsGroup is the values of all rules of one shape, or of those of them
// that are visible in a field.
type bitsGroup struct {
	shape   bitsShape
	entries []bitsEntry // sorted by value
	// fixedMask and fixedValue are the bits of the mask that are equal in all
	// values, and what they are. Set by visibleBits.
	fixedMask, fixedValue word256
}

// groupBits collects the values of the rules that are listed, shape by shape.
// Within a shape they are sorted by value and then by rule.
func groupBits(rules []Rule, listed []int32) []bitsGroup {
	var shapes []bitsShape
	var counts []int
	index := make(map[bitsShape]int)
	for _, i := range listed {
		if b := rules[i].Bits; b != nil {
			shape, _ := b.shape()
			g, ok := index[shape]
			if !ok {
				g = len(shapes)
				index[shape] = g
				shapes, counts = append(shapes, shape), append(counts, 0)
			}
			counts[g] += len(b.Values)
		}
	}
	groups := make([]bitsGroup, len(shapes))
	for g := range groups {
		groups[g] = bitsGroup{shape: shapes[g], entries: make([]bitsEntry, 0, counts[g])}
	}
	for _, i := range listed {
		if b := rules[i].Bits; b != nil {
			shape, cut := b.shape()
			g := &groups[index[shape]]
			for _, value := range b.Values {
				g.entries = append(g.entries, bitsEntry{load256(value[cut : cut+shape.size]), i})
			}
		}
	}
	for _, g := range groups {
		slices.SortFunc(g.entries, func(a, b bitsEntry) int {
			if c := a.value.compare(b.value); c != 0 {
				return c
			}
			return int(a.rule - b.rule)
		})
	}
	return groups
}

// visibleBits returns the groups with only those entries whose rules are
// visible in field. The groups it is given stay as they are.
func visibleBits(rules []Rule, groups []bitsGroup, field Field) []bitsGroup {
	hidden := func(e bitsEntry) bool { return !rules[e.rule].Fields.Has(field) }
	var visible []bitsGroup
	for _, g := range groups {
		if slices.ContainsFunc(g.entries, hidden) {
			g.entries = slices.DeleteFunc(slices.Clone(g.entries), hidden)
		}
		if len(g.entries) > 0 {
			g.setFixed()
			visible = append(visible, g)
		}
	}
	return visible
}

func (g *bitsGroup) setFixed() {
	first := g.entries[0].value
	mask := g.shape.mask
	for i := range g.entries {
		mask = mask.and(g.entries[i].value.xor(first).not())
	}
	g.fixedMask, g.fixedValue = mask, first.and(mask)
}
