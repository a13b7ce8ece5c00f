package idspace

import (
	"slices"
	"time"

	"github.com/mintmark/mintmark/idspace/sealed"
)

// A Plan is the allocation of the spaces of one pool to owners: a document
// that depends on its history and is therefore kept. It is made by [NextPlan]
// and [ParsePlan] only, never changes, and is safe for concurrent use.
//
// # What a plan promises
//
//   - Spaces of different owners are disjoint, over all generations.
//   - A value that an owner may have minted is never given to another owner
//     before it was declared dead ([Change.DeadOwners], [Change.DeadGenerations]).
//     New and growing owners take from the reserve, which belongs to nobody.
//   - Sizes are exact: in a generation, each share is the same number of
//     values, so equal shares are equal spaces and shares of 1, 2 and 5 are in
//     that ratio. What does not divide is left to the reserve.
//   - The first values of all, and how they came about, are a function of the
//     changes: the same history gives the same bytes ([Plan.Encode]).
//
// # Generations
//
// A plan has up to [PlanSlots] generations at a time. Exactly one is minted;
// the ones before it retire: they are still routed, but no server makes new
// IDs of them. A generation may be prepared before it is minted, so that every
// balancer can route it before the first ID of it exists. Generations are
// numbered from 0, and a number never comes back.
//
// The slot of a generation is its number modulo PlanSlots. Planned ranges and
// bits spend the first three bits of every ID on it, so that generations are
// disjoint however their spaces are cut; slot 7 is never assigned. Sealed
// generations are told apart by their mark keys, and the slot is only a name.
// A slot is free again when its generation was declared dead.
//
// # Schemes
//
// With [SchemeRanges] and [SchemeBits] the first MarkBits bits of an ID are
// its mark: three bits of slot and a value. Owners get runs of values, written
// as ranges or as values under a mask. They name bytes: an ID that travels as
// text has to be decoded before it is looked up. Half of a slot, unless said
// otherwise, is reserve when a generation opens, so that one sixteenth of all
// values is assigned: do not use these schemes where random values stand
// beside minted ones.
//
// With [SchemeSealed] owners get server numbers, as many as their share; each
// stands for 2^64 marks of package sealed. An owner keeps its numbers in later
// generations.
type Plan struct {
	revision    uint64
	scheme      Scheme
	members     []Member     // sorted by owner
	generations []generation // sorted by number
	next        uint64       // the lowest number that no generation ever had
}

// A Member is an owner that shall mint: a server or a group.
type Member struct {
	Owner Owner
	// Share is how large the owner's space is relative to those of others,
	// at most MaxPlanShare; 0 means 1.
	Share uint32
}

// A SchemeKind is the family of rules that a plan uses, as the configuration
// file names it.
type SchemeKind string

// The schemes that can be planned.
const (
	SchemeRanges SchemeKind = "ranges"
	SchemeBits   SchemeKind = "bits"
	SchemeSealed SchemeKind = "sealed"
)

// A Scheme is what all generations of a plan have in common.
type Scheme struct {
	// Kind never changes in the life of a plan.
	Kind SchemeKind
	// MarkBits is the length of marks in bits, the slot included, of ranges
	// (8 to 56, default 32) and bits (8 to 16, default 16, because the values
	// are listed one by one). It is 0 for sealed.
	MarkBits int
	// Reserve is the part of a slot that belongs to nobody when a generation
	// of ranges or bits opens; the zero Fraction means half. It is zero for
	// sealed, where practically all values belong to nobody.
	Reserve Fraction
}

// A Fraction is a number of at least 0 and less than 1.
type Fraction struct{ Num, Den uint32 }

const (
	// PlanSlots is how many generations can be live at a time.
	PlanSlots = 7
	// slotBits is what a slot takes of a mark.
	slotBits = 3

	minMarkBits = 8
	// maxRangesMarkBits leaves less than 2^53 values in a slot, so that every
	// number of a plan is exact in any reader of JSON.
	maxRangesMarkBits     = 56
	defaultRangesMarkBits = 32
	// maxBitsMarkBits limits the values that a table has to list: all slots
	// together have fewer than 2^16.
	maxBitsMarkBits     = 16
	defaultBitsMarkBits = 16

	// sealedServers is how many server numbers a sealed plan gives out. It is
	// far below the 2^32 there are, so that a mark under one key does not pass
	// for one under another, and the table of all numbers has a bound.
	sealedServers = 1 << 16

	// MaxPlanMembers is how many members a plan can have. It keeps a plan that
	// was asked for by mistake from becoming a document that no machine loads.
	MaxPlanMembers = 1 << 16
	// MaxPlanShare is the largest share.
	MaxPlanShare = 1 << 20
	// MaxOwnerBytes is the longest name of an owner.
	MaxOwnerBytes = 255
)

// A GenerationState is where a generation is in its life.
type GenerationState string

// The states, in the order in which a generation has them.
const (
	// StatePrepared is routed, and not minted yet.
	StatePrepared GenerationState = "prepared"
	// StateMinting is routed and minted.
	StateMinting GenerationState = "minting"
	// StateRetiring is routed, and not minted any more.
	StateRetiring GenerationState = "retiring"
)

// generation is one generation of a plan. The spans of ranges and bits count
// values of its slot from 0, those of sealed server numbers.
type generation struct {
	number    uint64
	state     GenerationState
	markBits  int        // 0 for sealed
	quantum   uint64     // values a share
	key       sealed.Key // of sealed
	retiredAt time.Time  // of StateRetiring, if the change said when it was made
	spans     []span     // sorted, disjoint; neighbours differ in more than their values
}

// span is a run of values of one owner.
type span struct {
	owner        Owner
	first, count uint64
	// retired is set when the owner may no longer mint the values although
	// the generation is minted: it is no member any more, or its share shrank.
	retired   bool
	retiredAt time.Time // if retired, and if the change said when it was made
}

func (s span) end() uint64 { return s.first + s.count }

// slot returns the slot of g.
func (g *generation) slot() uint8 { return uint8(g.number % PlanSlots) }

// size returns how many values g divides.
func (g *generation) size() uint64 {
	if g.markBits == 0 {
		return sealedServers
	}
	return 1 << (g.markBits - slotBits)
}

// assigned returns how many values belong to somebody.
func (g *generation) assigned() (n uint64) {
	for _, s := range g.spans {
		n += s.count
	}
	return n
}

// Kind returns the scheme of p.
func (p *Plan) Kind() SchemeKind { return p.scheme.Kind }

// Scheme returns what the next generation of p will be like.
func (p *Plan) Scheme() Scheme { return p.scheme }

// Revision counts the changes that made p, from 1.
func (p *Plan) Revision() uint64 { return p.revision }

// Members returns the owners that mint, sorted by name, each with a share of
// at least 1.
func (p *Plan) Members() []Member { return slices.Clone(p.members) }

// A Generation describes one generation of a plan.
type Generation struct {
	// Number tells generations apart for ever.
	Number uint64
	// Slot is Number modulo PlanSlots, and what a Match calls the generation.
	Slot uint8
	// State says whether it is minted.
	State GenerationState
	// MarkBits is the length of its marks in bits; 128 for sealed.
	MarkBits int
	// Reserve is how many of its Values belong to nobody.
	Reserve, Values uint64
	// RetiredAt is when it was retired; zero if it was not, or nobody said when.
	RetiredAt time.Time
}

// Generations returns the generations of p by number.
func (p *Plan) Generations() []Generation {
	var all []Generation
	for i := range p.generations {
		g := &p.generations[i]
		all = append(all, Generation{
			Number: g.number, Slot: g.slot(), State: g.state, MarkBits: g.idBits(),
			Reserve: g.size() - g.assigned(), Values: g.size(), RetiredAt: g.retiredAt,
		})
	}
	return all
}

// idBits returns the length of the marks of g in bits.
func (g *generation) idBits() int {
	if g.markBits == 0 {
		return sealed.Size * 8
	}
	return g.markBits
}

// minting returns the generation that is minted. There is one in every plan.
func (p *Plan) minting() *generation { return p.inState(StateMinting) }

func (p *Plan) inState(state GenerationState) *generation {
	for i := range p.generations {
		if p.generations[i].state == state {
			return &p.generations[i]
		}
	}
	return nil
}

// clone returns a copy of p that shares nothing that can change.
func (p *Plan) clone() *Plan {
	c := *p
	c.members = slices.Clone(p.members)
	c.generations = slices.Clone(p.generations)
	for i := range c.generations {
		c.generations[i].spans = slices.Clone(c.generations[i].spans)
	}
	return &c
}
