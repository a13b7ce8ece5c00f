package idspace

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

const (
	// maxExact is the largest number in a plan: what every reader of JSON
	// reads exactly.
	maxExact = 1<<53 - 1
	// maxYear is the last year that RFC 3339 can write.
	maxYear = 9999
)

// validate checks everything that a plan promises about itself. It runs on
// plans that were read, which may be anybody's, and on plans that were made,
// where an error is a mistake of this package.
func (p *Plan) validate() error {
	if p.revision == 0 || p.revision > maxExact || p.next > maxExact {
		return fmt.Errorf("revision %d, next generation %d: want numbers from 1 to %d", p.revision, p.next, uint64(maxExact))
	}
	if full, err := p.scheme.withDefaults(); err != nil {
		return err
	} else if full != p.scheme {
		return fmt.Errorf("the scheme lacks its mark bits or its reserve")
	}
	members, err := checkMembers(p.members)
	if err != nil {
		return err
	}
	if !slices.Equal(members, p.members) {
		return fmt.Errorf("the members are not sorted by name, each with a share")
	}
	if err := p.validateGenerations(); err != nil {
		return err
	}
	for i := range p.generations {
		g := &p.generations[i]
		if err := p.validateGeneration(g); err != nil {
			return fmt.Errorf("generation %d: %w", g.number, err)
		}
	}
	if p.scheme.Kind == SchemeSealed {
		return p.validateNumbers()
	}
	return nil
}

// validateGenerations checks what generations are to each other.
func (p *Plan) validateGenerations() error {
	count := make(map[GenerationState]int)
	var slots [PlanSlots]bool
	for i := range p.generations {
		g := &p.generations[i]
		if i > 0 && p.generations[i-1].number >= g.number {
			return fmt.Errorf("generation %d stands before generation %d", p.generations[i-1].number, g.number)
		}
		if g.number >= p.next {
			return fmt.Errorf("generation %d is not below the next generation, %d", g.number, p.next)
		}
		if slots[g.slot()] {
			return fmt.Errorf("generation %d has the slot of another", g.number)
		}
		slots[g.slot()] = true
		count[g.state]++
		for j := range i {
			if o := &p.generations[j]; !g.key.IsZero() && o.key.Equal(g.key) {
				return fmt.Errorf("generations %d and %d have the same mark key", o.number, g.number)
			}
			// Life goes one way: nothing opens before what it follows.
			if lifeOf(p.generations[j].state) < lifeOf(g.state) {
				return fmt.Errorf("generation %d is %s, and generation %d after it %s", p.generations[j].number, p.generations[j].state, g.number, g.state)
			}
		}
	}
	if count[StateMinting] != 1 || count[StatePrepared] > 1 {
		return fmt.Errorf("%d generations are minted and %d prepared; want one, and at most one", count[StateMinting], count[StatePrepared])
	}
	return nil
}

// lifeOf orders states; 0 is none.
func lifeOf(s GenerationState) int {
	return 1 + slices.Index([]GenerationState{StatePrepared, StateMinting, StateRetiring}, s)
}

// validateGeneration checks one generation by itself.
func (p *Plan) validateGeneration(g *generation) error {
	if lifeOf(g.state) == 0 {
		return fmt.Errorf("there is no state %q", g.state)
	}
	if g.state != StateRetiring && !g.retiredAt.IsZero() {
		return fmt.Errorf("it is %s and has the time of its retirement", g.state)
	}
	if err := p.validateDivision(g); err != nil {
		return err
	}
	minted := make(map[Owner]uint64)
	for i, s := range g.spans {
		if err := checkOwner(s.owner); err != nil {
			return err
		}
		if s.count == 0 || s.first >= g.size() || s.count > g.size()-s.first {
			return fmt.Errorf("the space of %q (%d values from %d) is not within %d values", s.owner, s.count, s.first, g.size())
		}
		if i > 0 && g.spans[i-1].end() > s.first {
			return fmt.Errorf("the spaces of %q and %q overlap or are not in order at value %d", g.spans[i-1].owner, s.owner, s.first)
		}
		if i > 0 && g.spans[i-1].joins(s) {
			return fmt.Errorf("two spaces of %q are really one, at value %d", s.owner, s.first)
		}
		if !s.retired && !s.retiredAt.IsZero() {
			return fmt.Errorf("a space of %q is not retired and has the time of its retirement", s.owner)
		}
		if !s.retired {
			minted[s.owner] += s.count
		}
	}
	return p.validateShares(g, minted)
}

// validateDivision checks the length of marks, the key and the values of a
// share.
func (p *Plan) validateDivision(g *generation) error {
	if p.scheme.Kind == SchemeSealed {
		if g.markBits != 0 || g.key.IsZero() || g.quantum != 1 {
			return fmt.Errorf("a sealed generation has a mark key and no mark bits, and gives a share one value")
		}
		return nil
	}
	if !g.key.IsZero() {
		return fmt.Errorf("scheme %s has no mark keys", p.scheme.Kind)
	}
	if _, err := (Scheme{Kind: p.scheme.Kind, MarkBits: cmp.Or(g.markBits, -1)}).withDefaults(); err != nil {
		return err
	}
	if g.quantum == 0 || g.quantum > g.size() {
		return fmt.Errorf("a share of %d values out of %d", g.quantum, g.size())
	}
	return nil
}

// validateShares checks that members have what their shares say.
func (p *Plan) validateShares(g *generation, minted map[Owner]uint64) error {
	if g.state == StateRetiring {
		return nil
	}
	// With a generation prepared, members may wait for that one.
	mayWait := g.state == StateMinting && p.inState(StatePrepared) != nil
	for _, m := range p.members {
		want := g.wanted(m)
		if have := minted[m.Owner]; have != want && (!mayWait || have > want) {
			return fmt.Errorf("member %q has %d values and a share of %d, of %d values each", m.Owner, have, m.Share, g.quantum)
		}
		delete(minted, m.Owner)
	}
	for _, owner := range slices.Sorted(maps.Keys(minted)) {
		return fmt.Errorf("%q may mint and is no member", owner)
	}
	return nil
}

// validateNumbers checks that a server number means one owner.
func (p *Plan) validateNumbers() error {
	var all []span
	for i := range p.generations {
		all = append(all, p.generations[i].spans...)
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(all); i++ {
		// The one that reaches farthest is kept in place i.
		if all[i-1].end() > all[i].first && all[i-1].owner != all[i].owner {
			return fmt.Errorf("server number %d means both %q and %q", all[i].first, all[i-1].owner, all[i].owner)
		}
		if all[i-1].end() > all[i].end() {
			all[i] = all[i-1]
		}
	}
	return nil
}
