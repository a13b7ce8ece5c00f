package idspace

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"time"
)

// A SpaceState is what a space of a plan is used for.
type SpaceState string

// The states of spaces.
const (
	// SpacePrepared is routed and not minted yet, because its generation is not.
	SpacePrepared SpaceState = "prepared"
	// SpaceMinting is routed and minted.
	SpaceMinting SpaceState = "minting"
	// SpaceRetiring is routed and not minted any more: its generation is
	// retired, its owner is no member, or its owner's share shrank.
	SpaceRetiring SpaceState = "retiring"
	// SpaceReserve belongs to nobody.
	SpaceReserve SpaceState = "reserve"
)

// A Space is one run of values of a plan, as people are shown it.
type Space struct {
	// Owner is whom it belongs to; nobody if State is SpaceReserve.
	Owner Owner
	// Generation and Slot say of which generation it is.
	Generation uint64
	Slot       uint8
	State      SpaceState
	// RetiredAt is when it was retired; zero if it was not, or nobody said when.
	RetiredAt time.Time
	// Rule says which IDs lie in it, as in "range 00000000-0fffffff".
	Rule string
	// From and To are the first and the last mark of it, as an ID starts with
	// them; for sealed they are server numbers in four bytes.
	From, To []byte
	// First is the first of its values within the slot (for sealed, the first
	// server number) and Values how many there are.
	First, Values uint64
	// Share is the part of all IDs that lie in it, exactly.
	Share *big.Rat
}

// Spaces returns all spaces of p by generation and value, and what is reserve
// between them.
func (p *Plan) Spaces() []Space {
	var all []Space
	for i := range p.generations {
		g := &p.generations[i]
		at := uint64(0)
		reserve := func(end uint64) {
			if at < end {
				all = append(all, p.space(g, span{first: at, count: end - at}, SpaceReserve))
			}
		}
		for _, s := range g.spans {
			reserve(s.first)
			at = s.end()
			all = append(all, p.space(g, s, g.stateOf(s)))
		}
		reserve(g.size())
	}
	return all
}

// stateOf returns the state of a span of g.
func (g *generation) stateOf(s span) SpaceState {
	switch {
	case g.state == StateRetiring || s.retired:
		return SpaceRetiring
	case g.state == StatePrepared:
		return SpacePrepared
	default:
		return SpaceMinting
	}
}

// space describes a span of g.
func (p *Plan) space(g *generation, s span, state SpaceState) Space {
	sp := Space{
		Owner: s.owner, Generation: g.number, Slot: g.slot(), State: state, RetiredAt: s.retiredAt,
		First: s.first, Values: s.count, Share: g.share(s.count),
	}
	if state == SpaceRetiring && !s.retired {
		sp.RetiredAt = g.retiredAt
	}
	if p.scheme.Kind == SchemeSealed {
		sp.From = binary.BigEndian.AppendUint32(nil, uint32(s.first))
		sp.To = binary.BigEndian.AppendUint32(nil, uint32(s.end()-1))
		sp.Rule = fmt.Sprintf("sealed servers %d-%d", s.first, s.end()-1)
		if s.count == 1 {
			sp.Rule = fmt.Sprintf("sealed server %d", s.first)
		}
		return sp
	}
	sp.From, sp.To = g.mark(s.first, false), g.mark(s.end()-1, p.scheme.Kind == SchemeRanges)
	sp.Rule = (&Range{From: sp.From, To: sp.To}).String()
	if p.scheme.Kind == SchemeBits {
		sp.Rule = fmt.Sprintf("bits mask %x values %x-%x", g.mask(), sp.From, sp.To)
		if s.count == 1 {
			sp.Rule = fmt.Sprintf("bits mask %x value %x", g.mask(), sp.From)
		}
	}
	return sp
}

// share returns which part of all IDs so many values of g are. A value of
// ranges or bits is one of all marks of that length; a server number is 2^64
// blocks of all 2^128.
func (g *generation) share(values uint64) *big.Rat {
	of := uint(g.markBits)
	if g.markBits == 0 {
		of = 64
	}
	return new(big.Rat).SetFrac(new(big.Int).SetUint64(values), new(big.Int).Lsh(big.NewInt(1), of))
}
