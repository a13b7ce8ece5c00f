package idspace

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// fit makes the spaces of every generation that is minted, or will be, what
// the members' shares say.
func (p *Plan) fit(c *Change) error {
	prepared := p.inState(StatePrepared) != nil
	// The generation that is minted comes before the one that is prepared.
	for i := range p.generations {
		g := &p.generations[i]
		if g.state != StateRetiring {
			f := fitting{plan: p, g: g, at: c.At, byOwner: make(map[Owner][]int)}
			// Who finds no room in the generation that is minted, and has
			// room in the one that is prepared, waits for that one.
			f.mayWait = g.state == StateMinting && prepared
			if err := f.fit(); err != nil {
				return err
			}
		}
		g.normalize()
	}
	return nil
}

// A fitting is the work of fitting one generation. It splits spans and appends
// the rest at the end, so the indexes in byOwner stay good and the spans are
// not sorted until all is done.
type fitting struct {
	plan    *Plan
	g       *generation
	at      time.Time
	mayWait bool
	byOwner map[Owner][]int // indexes of spans, lowest first
	// elsewhere is what owners have in other generations of a sealed plan.
	elsewhere map[Owner][]run
}

// a need is values that an owner lacks.
type need struct {
	owner Owner
	count uint64
}

func (f *fitting) fit() error {
	g := f.g
	g.normalize()
	for i := range g.spans {
		f.byOwner[g.spans[i].owner] = append(f.byOwner[g.spans[i].owner], i)
	}
	f.findNumbers()
	free := f.free()
	var needs []need
	for _, m := range f.plan.members {
		want := g.wanted(m)
		var have uint64
		for _, i := range f.byOwner[m.Owner] {
			if !g.spans[i].retired {
				have += g.spans[i].count
			}
		}
		switch {
		case have > want:
			f.shrink(m.Owner, have-want)
		case have < want:
			needs = append(needs, need{owner: m.Owner, count: want - have})
		}
	}
	return f.grow(needs, free)
}

// shrink retires surplus values of owner, the highest.
func (f *fitting) shrink(owner Owner, surplus uint64) {
	for _, i := range slices.Backward(f.byOwner[owner]) {
		s := &f.g.spans[i]
		if s.retired || surplus == 0 {
			continue
		}
		n := min(surplus, s.count)
		surplus -= n
		if n < s.count {
			s.count -= n
			f.g.spans = append(f.g.spans, span{owner: owner, first: s.end(), count: n, retired: true, retiredAt: f.at})
			continue
		}
		s.retired, s.retiredAt = true, f.at
	}
}

// grow gives owners what they need: first what they had and nobody else may
// have had since, then from the reserve. If the reserve does not hold it all,
// nobody gets anything of it.
func (f *fitting) grow(needs []need, free []run) error {
	var lacking []need
	var wanted uint64
	for _, n := range needs {
		n.count -= f.revive(n.owner, n.count)
		n.count -= f.keepNumbers(n.owner, n.count)
		if n.count > 0 {
			lacking = append(lacking, n)
			wanted += min(n.count, 1<<62-wanted) // saturates far above any reserve
		}
	}
	if left := total(free); wanted > left {
		if f.mayWait {
			return nil
		}
		err := &ReserveError{Kind: f.plan.scheme.Kind, Generation: f.g.number, Need: wanted, Free: left}
		for _, n := range lacking {
			err.Owners = append(err.Owners, n.owner)
		}
		return err
	}
	for _, n := range lacking {
		var got []run
		got, free = take(free, n.count)
		f.give(n.owner, got)
	}
	return nil
}

// give makes runs spans of owner.
func (f *fitting) give(owner Owner, runs []run) {
	for _, r := range runs {
		f.g.spans = append(f.g.spans, span{owner: owner, first: r.first, count: r.count()})
	}
}

// revive lets owner mint up to n of its retired values again, the lowest, and
// returns how many.
func (f *fitting) revive(owner Owner, n uint64) (revived uint64) {
	for _, i := range f.byOwner[owner] {
		s := &f.g.spans[i]
		if !s.retired || revived == n {
			continue
		}
		some := min(n-revived, s.count)
		revived += some
		if some < s.count {
			rest := *s
			rest.first, rest.count = s.first+some, s.count-some
			s.count = some
			f.g.spans = append(f.g.spans, rest)
		}
		s = &f.g.spans[i] // append may have moved them
		s.retired, s.retiredAt = false, time.Time{}
	}
	return revived
}

// findNumbers sets f.elsewhere.
func (f *fitting) findNumbers() {
	if f.plan.scheme.Kind != SchemeSealed {
		return
	}
	f.elsewhere = make(map[Owner][]run)
	for i := range f.plan.generations {
		if g := &f.plan.generations[i]; g != f.g {
			for _, s := range g.spans {
				f.elsewhere[s.owner] = append(f.elsewhere[s.owner], run{s.first, s.end()})
			}
		}
	}
}

// keepNumbers gives owner up to n server numbers that it has in other
// generations, and returns how many. A number means one owner in all
// generations of a sealed plan, because a table finds owners by number.
func (f *fitting) keepNumbers(owner Owner, n uint64) (kept uint64) {
	elsewhere := f.elsewhere[owner]
	if n == 0 || len(elsewhere) == 0 {
		return 0
	}
	var here []run
	for _, i := range f.byOwner[owner] {
		here = append(here, run{f.g.spans[i].first, f.g.spans[i].end()})
	}
	own := subtract(union(elsewhere), here)
	kept = min(n, total(own))
	got, _ := take(own, kept)
	f.give(owner, got)
	return kept
}

// free returns the values that belong to nobody.
func (f *fitting) free() []run {
	var used []run
	for i := range f.plan.generations {
		if g := &f.plan.generations[i]; g == f.g || f.plan.scheme.Kind == SchemeSealed {
			for _, s := range g.spans {
				used = append(used, run{s.first, s.end()})
			}
		}
	}
	return subtract([]run{{0, f.g.size()}}, union(used))
}

// wanted returns how many values of g the share of m stands for.
func (g *generation) wanted(m Member) uint64 {
	hi, n := bits.Mul64(uint64(m.Share), g.quantum)
	if hi != 0 {
		return math.MaxUint64 // no reserve holds either
	}
	return n
}

// normalize sorts the spans of g and joins neighbours that differ only in
// their values, so that a plan has one form.
func (g *generation) normalize() {
	slices.SortFunc(g.spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	joined := g.spans[:0]
	for _, s := range g.spans {
		if n := len(joined); n > 0 && joined[n-1].joins(s) {
			joined[n-1].count += s.count
			continue
		}
		joined = append(joined, s)
	}
	g.spans = joined
}

// joins reports whether t continues s.
func (s span) joins(t span) bool {
	return s.owner == t.owner && s.end() == t.first && s.retired == t.retired && s.retiredAt.Equal(t.retiredAt)
}

// run is the values from first to before end.
type run struct{ first, end uint64 }

func (r run) count() uint64 { return r.end - r.first }

func total(runs []run) (n uint64) {
	for _, r := range runs {
		n += r.count()
	}
	return n
}

// union returns runs sorted and joined.
func union(runs []run) []run {
	slices.SortFunc(runs, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	joined := runs[:0]
	for _, r := range runs {
		if n := len(joined); n > 0 && r.first <= joined[n-1].end {
			joined[n-1].end = max(joined[n-1].end, r.end)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// subtract returns what of runs is not in other. Both are sorted and joined.
func subtract(runs, other []run) []run {
	var left []run
	for _, r := range runs {
		for _, o := range other {
			if o.end <= r.first || o.first >= r.end {
				continue
			}
			if o.first > r.first {
				left = append(left, run{r.first, o.first})
			}
			r.first = min(o.end, r.end)
		}
		if r.first < r.end {
			left = append(left, r)
		}
	}
	return left
}

// take takes n values out of runs, which hold that many: of the first run that
// holds them all or else, rather than not at all, the lowest ones in pieces.
func take(runs []run, n uint64) (taken, left []run) {
	if n == 0 {
		return nil, runs
	}
	if i := slices.IndexFunc(runs, func(r run) bool { return r.count() >= n }); i >= 0 {
		taken = []run{{runs[i].first, runs[i].first + n}}
		runs[i].first += n
		if runs[i].count() == 0 {
			runs = slices.Delete(runs, i, i+1)
		}
		return taken, runs
	}
	for n > 0 {
		some := min(n, runs[0].count())
		taken = append(taken, run{runs[0].first, runs[0].first + some})
		if runs[0].first += some; runs[0].count() == 0 {
			runs = runs[1:]
		}
		n -= some
	}
	return taken, runs
}
