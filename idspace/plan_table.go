package idspace

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark/idspace/sealed"
)

// Table compiles all spaces of p that are routed: those that are minted, that
// will be, and that retire. A Match tells the slot of the generation.
//
// An owner that is no member any more is among the table's Owners as long as
// IDs of it may be left. Whoever uses the table has to expect owners that it
// knows no server of, and treat them as being away.
func (p *Plan) Table() (*Table, error) {
	var t *Table
	var err error
	if p.scheme.Kind == SchemeSealed {
		t, err = p.sealedTable()
	} else {
		t, err = Compile(p.rules())
	}
	if err != nil {
		return nil, fmt.Errorf("compiling a plan: %w", err)
	}
	return t, nil
}

// byUse returns the generations in the order in which IDs are likely to be of
// them: the one that is minted, the one that is prepared, and then the ones
// that retire, latest first.
func (p *Plan) byUse() []*generation {
	var all []*generation
	for i := range p.generations {
		all = append(all, &p.generations[i])
	}
	slices.SortFunc(all, func(a, b *generation) int {
		if a.state == StateMinting || b.state == StateMinting {
			return cmp.Compare(use(a.state), use(b.state))
		}
		return cmp.Compare(b.number, a.number)
	})
	return all
}

func use(s GenerationState) int {
	if s == StateMinting {
		return 0
	}
	return 1
}

// rules returns the rules of ranges and bits.
func (p *Plan) rules() []Rule {
	var rules []Rule
	for _, g := range p.byUse() {
		source := fmt.Sprintf("plan: generation %d", g.number)
		if p.scheme.Kind == SchemeRanges {
			for _, s := range g.spans {
				rules = append(rules, Rule{
					Owner: s.owner, Generation: g.slot(), Source: source,
					Range: &Range{From: g.mark(s.first, false), To: g.mark(s.end()-1, true)},
				})
			}
			continue
		}
		// One rule for all values of an owner.
		ruleOf := make(map[Owner]int)
		for _, s := range g.spans {
			at, ok := ruleOf[s.owner]
			if !ok {
				at = len(rules)
				ruleOf[s.owner] = at
				rules = append(rules, Rule{
					Owner: s.owner, Generation: g.slot(), Source: source, Bits: &Bits{Mask: g.mask()},
				})
			}
			for v := s.first; v < s.end(); v++ {
				rules[at].Bits.Values = append(rules[at].Bits.Values, g.mark(v, false))
			}
		}
	}
	return rules
}

// mark returns the mark of a value of ranges or bits: the slot and the value,
// from the first bit on, and then zeros (or ones, for the last of a range) to
// the end of the byte.
func (g *generation) mark(value uint64, last bool) []byte {
	m := markOf(g.slot(), g.markBits, value)
	if last {
		for i, b := range g.mask() {
			m[i] |= ^b
		}
	}
	return m
}

// mask returns the mask of the bits of a mark.
func (g *generation) mask() []byte {
	return binary.BigEndian.AppendUint64(nil, ^uint64(0)<<(64-g.markBits))[:g.markBytes()]
}

// markBytes returns how many bytes the mark of ranges or bits reaches into.
func (g *generation) markBytes() int { return (g.markBits + 7) / 8 }

func (p *Plan) sealedTable() (*Table, error) {
	var generations []sealed.Generation
	owners := make(map[uint32]Owner)
	for _, g := range p.byUse() {
		if len(g.spans) == 0 {
			continue // all its owners are dead
		}
		generations = append(generations, sealed.Generation{
			ID: g.slot(), Key: g.key, Servers: uint32(g.spans[len(g.spans)-1].end()),
		})
		for _, s := range g.spans {
			for n := s.first; n < s.end(); n++ {
				owners[uint32(n)] = s.owner
			}
		}
	}
	set, err := sealed.NewSet(generations...)
	if err != nil {
		return nil, err
	}
	return CompileFunction(Sealed(set), owners)
}
