package idspace

import "slices"

// A rangeEntry is a Range as an interval of 256-bit numbers: an ID of at least
// size bytes lies in the Range exactly if its first 32 bytes, filled with
// zeros or anything else, lie in the interval.
type rangeEntry struct {
	from, to word256 // both included; what is beyond size is all zeros and all ones
	rule     int32
	size     uint8 // of the Range's bounds, in bytes
}

func (r *Range) entry(rule int32) rangeEntry {
	size := len(r.From)
	return rangeEntry{
		from: load256(r.From),
		to:   load256(r.To).or(firstBits(8 * size).not()),
		rule: rule,
		size: uint8(size), // at most MaxRangeBytes
	}
}

// shape returns what IDs the range applies to, as that of bits in its bytes.
func (e *rangeEntry) shape() bitsShape {
	return bitsShape{minLen: int(e.size), maxLen: anyLength, size: int(e.size)}
}

// sortRanges returns the ranges of the rules that are listed, in the order of
// their lower bounds and then of the rules.
func sortRanges(rules []Rule, listed []int32) []rangeEntry {
	n := 0
	for _, i := range listed {
		if rules[i].Range != nil {
			n++
		}
	}
	entries := make([]rangeEntry, 0, n)
	for _, i := range listed {
		if r := rules[i].Range; r != nil {
			entries = append(entries, r.entry(i))
		}
	}
	slices.SortFunc(entries, func(a, b rangeEntry) int {
		if c := a.from.compare(b.from); c != 0 {
			return c
		}
		return int(a.rule - b.rule)
	})
	return entries
}

// visibleRanges returns those entries whose rules are visible in field. It
// returns its argument if these are all.
func visibleRanges(rules []Rule, entries []rangeEntry, field Field) []rangeEntry {
	hidden := func(e rangeEntry) bool { return !rules[e.rule].Fields.Has(field) }
	if !slices.ContainsFunc(entries, hidden) {
		return entries
	}
	return slices.DeleteFunc(slices.Clone(entries), hidden)
}
