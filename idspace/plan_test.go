package idspace

import (
	"testing"

	"github.com/mintmark/mintmark/idspace/sealed"
)

// schemeKinds is every scheme that can be planned.
func schemeKinds() []SchemeKind { return []SchemeKind{SchemeRanges, SchemeBits, SchemeSealed} }

// firstPlan returns the first plan of members.
func firstPlan(t *testing.T, scheme Scheme, members ...Member) *Plan {
	t.Helper()
	c := Change{Scheme: &scheme, Members: members}
	if scheme.Kind == SchemeSealed {
		c.Open = &OpenGeneration{Key: sealed.NewKey()}
	}
	return mustNext(t, nil, c)
}

func mustNext(t *testing.T, prev *Plan, c Change) *Plan {
	t.Helper()
	p, err := NextPlan(prev, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPlannedIDsComeHome: what an owner is told to mint, the table finds, also
// when the plan went through its document.
func TestPlannedIDsComeHome(t *testing.T) {
	for _, kind := range schemeKinds() {
		t.Run(string(kind), func(t *testing.T) {
			p, err := ParsePlan(firstPlan(t, Scheme{Kind: kind}, Member{"a", 1}, Member{"b", 2}, Member{"pair", 5}).Encode())
			if err != nil {
				t.Fatal(err)
			}
			table, err := p.Table()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range p.Members() {
				a, err := p.Mint(m.Owner)
				if err != nil {
					t.Fatal(err)
				}
				for range 100 {
					name := a.NewKeyName()
					match, ok := table.Lookup(FieldTicket, name[:])
					if !ok || table.Owners()[match.Owner] != m.Owner || match.Generation != 0 {
						t.Fatalf("key name %x of %q: got %+v, %t", name, m.Owner, match, ok)
					}
				}
			}
		})
	}
}
