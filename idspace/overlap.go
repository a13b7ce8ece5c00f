package idspace

// An overlapFinder looks for IDs that two rules claim. It works on the rules
// that are visible in one field at a time.
type overlapFinder struct {
	rules    []Rule
	problems *problems
	reported map[[2]int32]struct{}
}

// report adds the problem that both rules claim witness, once for each pair.
func (f *overlapFinder) report(a, b int32, witness []byte) {
	a, b = min(a, b), max(a, b)
	if _, ok := f.reported[[2]int32{a, b}]; ok {
		return
	}
	f.reported[[2]int32{a, b}] = struct{}{}
	if a == b {
		// Only bits: a value that is listed twice.
		f.problems.add(&RuleError{
			Rule: int(a), Source: f.rules[a].Source,
			Reason: "a value is listed twice: both claim the ID " + spellID(witness),
			Remedy: "remove one of them",
		})
		return
	}
	first, second := f.rules[a], f.rules[b]
	f.problems.add(&OverlapError{
		First: int(a), Second: int(b),
		FirstRule: first, SecondRule: second,
		Fields:  first.Fields.intersection(second.Fields),
		Witness: witness,
	})
}

// find looks for overlaps between all the rules of a field. ranges are sorted.
func (f *overlapFinder) find(ranges []rangeEntry, groups []bitsGroup) {
	ranges = f.rangesWithRanges(ranges)
	for i := range groups {
		groups[i].entries = f.withinShape(&groups[i])
	}
	for i := range groups {
		f.rangesWithBits(ranges, &groups[i])
		for j := range i {
			f.bitsWithBits(&groups[j], &groups[i])
		}
		if f.problems.full() {
			return
		}
	}
}

// rangesWithRanges compares each range with that before it that reaches
// farthest. It returns those that overlap none before them: they are disjoint.
func (f *overlapFinder) rangesWithRanges(ranges []rangeEntry) []rangeEntry {
	var disjoint []rangeEntry // stays nil while ranges itself will do
	farthest := -1
	for i := range ranges {
		e := &ranges[i]
		if farthest >= 0 && e.from.compare(ranges[farthest].to) <= 0 {
			before := &ranges[farthest]
			f.report(before.rule, e.rule, e.from.bytes(int(max(before.size, e.size))))
			if disjoint == nil {
				disjoint = append(make([]rangeEntry, 0, i), ranges[:i]...)
			}
			if e.to.compare(before.to) > 0 {
				farthest = i
			}
			continue
		}
		farthest = i
		if disjoint != nil {
			disjoint = append(disjoint, *e)
		}
	}
	if disjoint == nil {
		return ranges
	}
	return disjoint
}

// withinShape reports values that are listed twice, which are neighbours. It
// returns each once.
func (f *overlapFinder) withinShape(g *bitsGroup) []bitsEntry {
	var different []bitsEntry // stays nil while g.entries itself will do
	first := 0
	for i := 1; i < len(g.entries); i++ {
		if g.entries[i].value != g.entries[first].value {
			first = i
			if different != nil {
				different = append(different, g.entries[i])
			}
			continue
		}
		id := make([]byte, g.shape.minLen)
		putWindow(id, &g.shape, g.entries[first].value)
		f.report(g.entries[first].rule, g.entries[i].rule, id)
		if different == nil {
			different = append(make([]bitsEntry, 0, i), g.entries[:i]...)
		}
	}
	if different == nil {
		return g.entries
	}
	return different
}

// commonLength returns a length of IDs that both shapes apply to, and in which
// they overlap if they do in any length; false if there is none.
//
// Only the distance between the windows matters. It depends on the length only
// if one is counted from the start and one from the end; then the windows can
// be moved apart, and IDs in which they do not touch are claimed by both.
func commonLength(a, b *bitsShape) (length int, ok bool) {
	length = max(a.minLen, b.minLen)
	if length > a.maxLen || length > b.maxLen {
		return 0, false
	}
	if a.fromEnd != b.fromEnd && a.maxLen == anyLength && b.maxLen == anyLength {
		length = a.minLen + b.minLen
	}
	return length, true
}

// putWindow sets the bits of value in id, where the window of s is.
func putWindow(id []byte, s *bitsShape, value word256) {
	at := s.start(len(id))
	for i, c := range value.bytes(s.size) {
		id[at+i] |= c
	}
}
