package idspace

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mintmark/mintmark/idspace/sealed"
)

// A Change is what NextPlan does to a plan. Its parts take effect in the order
// of the fields; the zero Change changes nothing.
type Change struct {
	// At is when the change is made. It is recorded with what retires, in
	// whole seconds; the zero time is recorded as not known.
	At time.Time
	// SessionLifetime is how long a session lives after its ID was minted. It
	// serves only to tell when a slot will be free.
	SessionLifetime time.Duration

	// DeadOwners have nothing left of the space that was retired: it goes back
	// to the reserve. What they mint now, they keep.
	DeadOwners []Owner
	// DeadGenerations are the numbers of generations of which no ID is left,
	// or of which none was ever minted: they are forgotten and their slots
	// are free.
	DeadGenerations []uint64
	// Scheme is needed for the first plan. Later it may differ from the one
	// before in all but Kind, and is used when a generation opens.
	Scheme *Scheme
	// Members is all owners that shall mint from now on, in any order. Who is
	// missing loses the right to mint, and keeps its space until that is
	// declared dead; who comes back before gets the same space. Nil means the
	// members of the plan before.
	Members []Member
	// Open opens a generation. A first plan opens one anyway.
	Open *OpenGeneration
	// StartMinting lets the prepared generation be minted, and retires the
	// one that was.
	StartMinting bool
}

// OpenGeneration says how a generation opens. All members get space in it.
type OpenGeneration struct {
	// Key is the mark key of a sealed generation, a new one for each. It
	// comes from outside so that NextPlan is a function of what it is given.
	Key sealed.Key
	// Prepared opens a generation that is routed and not minted until
	// StartMinting says so. Otherwise it is minted at once.
	Prepared bool
}

// NextPlan returns the plan that follows prev when c is made; prev is nil for
// the first plan of a pool. It never changes prev, and gives the same bytes
// for the same arguments. If c changes nothing, the plan has the revision and
// the bytes of prev.
//
// The error is a *ReserveError when the reserve does not hold what the members
// need, a *SlotError when no slot is free for a generation, and a *MarkError
// when marks are too short for so many shares.
func NextPlan(prev *Plan, c Change) (*Plan, error) {
	p, err := planAfter(prev, c)
	if err != nil {
		return nil, fmt.Errorf("planning: %w", err)
	}
	return p, nil
}

func planAfter(prev *Plan, c Change) (*Plan, error) {
	if c.At = c.At.UTC().Truncate(time.Second); c.At.Year() < 1 || c.At.Year() > maxYear {
		return nil, fmt.Errorf("the year %d cannot be recorded", c.At.Year())
	}
	p := &Plan{}
	if prev != nil {
		p = prev.clone()
	} else if c.Open == nil {
		c.Open = &OpenGeneration{}
	}
	for _, step := range []func(*Plan, *Change) error{
		(*Plan).buryOwners, (*Plan).buryGenerations, (*Plan).setScheme, (*Plan).setMembers,
		(*Plan).open, (*Plan).startMinting, (*Plan).fit,
	} {
		if err := step(p, &c); err != nil {
			return nil, err
		}
	}
	if prev != nil && bytes.Equal(p.encode(), prev.encode()) {
		return p, nil
	}
	p.revision++
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("idspace: internal error: the next plan is not sound: %w", err)
	}
	return p, nil
}

// buryOwners gives the retired spaces of dead owners back to the reserve.
func (p *Plan) buryOwners(c *Change) error {
	for _, owner := range c.DeadOwners {
		freed := false
		for i := range p.generations {
			g := &p.generations[i]
			n := len(g.spans)
			g.spans = slices.DeleteFunc(g.spans, func(s span) bool { return s.owner == owner && s.retired })
			freed = freed || len(g.spans) < n
		}
		if !freed {
			return fmt.Errorf("owner %q has no retired space that could be declared dead", owner)
		}
	}
	return nil
}

// buryGenerations forgets dead generations.
func (p *Plan) buryGenerations(c *Change) error {
	for _, number := range c.DeadGenerations {
		i := slices.IndexFunc(p.generations, func(g generation) bool { return g.number == number })
		if i < 0 {
			return fmt.Errorf("there is no generation %d that could be declared dead", number)
		}
		if p.generations[i].state == StateMinting {
			return fmt.Errorf("generation %d is still minted; open another before declaring it dead", number)
		}
		p.generations = slices.Delete(p.generations, i, i+1)
	}
	return nil
}

// setScheme checks and takes over the scheme.
func (p *Plan) setScheme(c *Change) error {
	if c.Scheme == nil {
		if p.scheme.Kind == "" {
			return fmt.Errorf("the first plan of a pool needs a scheme")
		}
		return nil
	}
	s, err := c.Scheme.withDefaults()
	if err != nil {
		return err
	}
	if p.scheme.Kind != "" && p.scheme.Kind != s.Kind {
		return fmt.Errorf("the plan is of scheme %s and cannot become %s, because its IDs could not be routed any more; "+
			"make a new pool with a plan of its own", p.scheme.Kind, s.Kind)
	}
	p.scheme = s
	return nil
}

// withDefaults returns s with its defaults filled in.
func (s Scheme) withDefaults() (Scheme, error) {
	var most int
	switch s.Kind {
	case SchemeRanges:
		most = maxRangesMarkBits
		if s.MarkBits == 0 {
			s.MarkBits = defaultRangesMarkBits
		}
	case SchemeBits:
		most = maxBitsMarkBits
		if s.MarkBits == 0 {
			s.MarkBits = defaultBitsMarkBits
		}
	case SchemeSealed:
		if s.MarkBits != 0 || s.Reserve != (Fraction{}) {
			return s, fmt.Errorf("scheme %s has neither mark bits nor a reserve to choose", s.Kind)
		}
		return s, nil
	default:
		return s, fmt.Errorf("scheme %q cannot be planned; use %s, %s or %s", s.Kind, SchemeRanges, SchemeBits, SchemeSealed)
	}
	if s.MarkBits < minMarkBits || s.MarkBits > most {
		return s, fmt.Errorf("marks of %d bits: scheme %s has %d to %d", s.MarkBits, s.Kind, minMarkBits, most)
	}
	if s.Reserve == (Fraction{}) {
		s.Reserve = Fraction{Num: 1, Den: 2}
	}
	if s.Reserve.Num >= s.Reserve.Den {
		return s, fmt.Errorf("a reserve of %s leaves nothing to assign; use less than 1", s.Reserve)
	}
	return s, nil
}

// setMembers takes over the members and retires what others had.
func (p *Plan) setMembers(c *Change) error {
	if c.Members == nil && p.members != nil {
		return nil
	}
	members, err := checkMembers(c.Members)
	if err != nil {
		return err
	}
	p.members = members
	stays := make(map[Owner]bool, len(members))
	for _, m := range members {
		stays[m.Owner] = true
	}
	for i := range p.generations {
		g := &p.generations[i]
		for j := range g.spans {
			s := &g.spans[j]
			switch {
			case !stays[s.owner] && !s.retired:
				s.retired, s.retiredAt = true, c.At
			case stays[s.owner] && s.retired && g.state == StateRetiring:
				// Back among the members, or retired for another reason before
				// its generation was: either way it goes with the generation.
				s.retired, s.retiredAt = false, time.Time{}
			}
		}
	}
	return nil
}

// checkMembers returns members sorted and with their shares filled in.
func checkMembers(members []Member) ([]Member, error) {
	if len(members) == 0 {
		return nil, fmt.Errorf("a plan needs at least one member")
	}
	if len(members) > MaxPlanMembers {
		return nil, fmt.Errorf("%d members: a plan has at most %d", len(members), MaxPlanMembers)
	}
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(string(a.Owner), string(b.Owner)) })
	for i := range members {
		m := &members[i]
		if err := checkOwner(m.Owner); err != nil {
			return nil, err
		}
		if i > 0 && members[i-1].Owner == m.Owner {
			return nil, fmt.Errorf("member %q is given twice", m.Owner)
		}
		if m.Share == 0 {
			m.Share = 1
		}
		if m.Share > MaxPlanShare {
			return nil, fmt.Errorf("member %q has a share of %d: the largest is %d", m.Owner, m.Share, MaxPlanShare)
		}
	}
	return members, nil
}

// checkOwner checks that the name of an owner can be kept and shown.
func checkOwner(o Owner) error {
	switch {
	case o == "":
		return fmt.Errorf("an owner needs a name")
	case len(o) > MaxOwnerBytes:
		return fmt.Errorf("the name %.20q… of an owner has %d bytes: at most %d", o, len(o), MaxOwnerBytes)
	case !utf8.ValidString(string(o)) || strings.ContainsFunc(string(o), unicode.IsControl):
		return fmt.Errorf("the name %q of an owner is not printable text", o)
	}
	return nil
}

// open opens a generation, still without spaces: fit gives them.
func (p *Plan) open(c *Change) error {
	if c.Open == nil {
		return nil
	}
	if g := p.inState(StatePrepared); g != nil {
		return fmt.Errorf("generation %d is prepared and not minted yet; let it be minted or declare it dead before opening another", g.number)
	}
	number, err := p.freeNumber(c)
	if err != nil {
		return err
	}
	g := generation{number: number, state: StateMinting, quantum: 1}
	if p.scheme.Kind == SchemeSealed {
		if g.key, err = p.newKey(c.Open.Key); err != nil {
			return err
		}
	} else {
		if !c.Open.Key.IsZero() {
			return fmt.Errorf("scheme %s has no mark keys", p.scheme.Kind)
		}
		if g.markBits, g.quantum, err = p.divide(); err != nil {
			return err
		}
	}
	switch {
	case len(p.generations) == 0 && c.Open.Prepared:
		return fmt.Errorf("the first generation is minted from the start; there is no other to mint while it is prepared")
	case c.Open.Prepared:
		g.state = StatePrepared
	case len(p.generations) > 0:
		p.retire(p.minting(), c.At)
	}
	p.generations = append(p.generations, g)
	p.next = number + 1
	return nil
}

// freeNumber returns the lowest number not used yet whose slot is free.
func (p *Plan) freeNumber(c *Change) (uint64, error) {
	if len(p.generations) < PlanSlots {
		for n := p.next; ; n++ {
			if !slices.ContainsFunc(p.generations, func(g generation) bool { return uint64(g.slot()) == n%PlanSlots }) {
				return n, nil
			}
		}
	}
	// Of the others, one is minted and none prepared.
	err := &SlotError{}
	for i := range p.generations {
		if g := &p.generations[i]; g.state == StateRetiring {
			err.Generation, err.RetiredAt = g.number, g.retiredAt
			break
		}
	}
	if !err.RetiredAt.IsZero() && c.SessionLifetime > 0 {
		err.FreeAt = err.RetiredAt.Add(c.SessionLifetime)
	}
	return 0, err
}

// newKey checks that key is one, and not in use.
func (p *Plan) newKey(key sealed.Key) (sealed.Key, error) {
	if key.IsZero() {
		return key, fmt.Errorf("a sealed generation needs a mark key")
	}
	for i := range p.generations {
		if g := &p.generations[i]; g.key.Equal(key) {
			return key, fmt.Errorf("the mark key is that of generation %d; a generation needs a new one", g.number)
		}
	}
	return key, nil
}

// divide returns the length of marks and the values of a share in a new
// generation. Marks are as long as the scheme says, and wider by as many bytes
// as it takes to give each share a value.
func (p *Plan) divide() (markBits int, quantum uint64, err error) {
	var shares uint64
	for _, m := range p.members {
		shares += uint64(m.Share)
	}
	most := maxRangesMarkBits
	if p.scheme.Kind == SchemeBits {
		most = maxBitsMarkBits
	}
	for markBits = p.scheme.MarkBits; ; markBits = min(markBits+8, most) {
		assigned := p.scheme.Reserve.without(1 << (markBits - slotBits))
		if assigned >= shares {
			return markBits, assigned / shares, nil
		}
		if markBits == most {
			return 0, 0, &MarkError{Kind: p.scheme.Kind, MarkBits: markBits, Shares: shares, Values: assigned}
		}
	}
}

// without returns how much of n is left when the reserve is taken out of it,
// rounded down.
func (f Fraction) without(n uint64) uint64 {
	hi, lo := bits.Mul64(n, uint64(f.Den-f.Num))
	q, _ := bits.Div64(hi, lo, uint64(f.Den))
	return q
}

// startMinting lets the prepared generation be minted.
func (p *Plan) startMinting(c *Change) error {
	if !c.StartMinting {
		return nil
	}
	g := p.inState(StatePrepared)
	if g == nil {
		return fmt.Errorf("there is no prepared generation that could be minted")
	}
	p.retire(p.minting(), c.At)
	g.state = StateMinting
	return nil
}

// retire ends the minting of g.
func (p *Plan) retire(g *generation, at time.Time) {
	g.state, g.retiredAt = StateRetiring, at
	for i := range g.spans {
		s := &g.spans[i]
		// A member's surplus goes with the generation from now on. What
		// belongs to nobody's member can still be declared dead by itself.
		if p.isMember(s.owner) {
			s.retired, s.retiredAt = false, time.Time{}
		}
	}
	g.normalize()
}

func (p *Plan) isMember(owner Owner) bool {
	_, ok := slices.BinarySearchFunc(p.members, owner, func(m Member, o Owner) int {
		return strings.Compare(string(m.Owner), string(o))
	})
	return ok
}
