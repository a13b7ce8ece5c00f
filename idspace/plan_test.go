package idspace

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/mintmark/mintmark/idspace/sealed"
)

// schemeKinds is every scheme that can be planned.
func schemeKinds() []SchemeKind { return []SchemeKind{SchemeRanges, SchemeBits, SchemeSealed} }

// testKey returns the mark key of the nth generation of a test.
func testKey(t testing.TB, n int) sealed.Key {
	t.Helper()
	k, err := sealed.ParseKey(fmt.Sprintf("%032x", n+1))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// opening returns what opens the nth generation of a plan.
func opening(t testing.TB, kind SchemeKind, n int) *OpenGeneration {
	t.Helper()
	if kind != SchemeSealed {
		return &OpenGeneration{}
	}
	return &OpenGeneration{Key: testKey(t, n)}
}

// firstPlan returns the first plan of members.
func firstPlan(t testing.TB, scheme Scheme, members ...Member) *Plan {
	t.Helper()
	return mustNext(t, nil, Change{Scheme: &scheme, Members: members, Open: opening(t, scheme.Kind, 0)})
}

func mustNext(t testing.TB, prev *Plan, c Change) *Plan {
	t.Helper()
	p, err := NextPlan(prev, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustTable(t testing.TB, p *Plan) *Table {
	t.Helper()
	table, err := p.Table()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func mustMint(t testing.TB, p *Plan, owner Owner) *Assignment {
	t.Helper()
	a, err := p.Mint(owner)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// equal returns n members of the same share: a, b, c, …
func equal(n int) []Member {
	var members []Member
	for i := range n {
		members = append(members, Member{Owner: Owner(rune('a' + i))})
	}
	return members
}

// values returns how many values each owner may mint, in a generation that is
// minted.
func values(p *Plan) map[Owner]uint64 {
	n := make(map[Owner]uint64)
	for _, s := range p.Spaces() {
		if s.State == SpaceMinting {
			n[s.Owner] += s.Values
		}
	}
	return n
}

// reserve returns how much is left of the generation that is minted.
func reserve(t testing.TB, p *Plan) uint64 {
	t.Helper()
	for _, g := range p.Generations() {
		if g.State == StateMinting {
			return g.Reserve
		}
	}
	t.Fatal("no generation is minted")
	return 0
}

// an heirloom is an ID that somebody minted, and who.
type heirloom struct {
	owner Owner
	id    []byte
}

// heirlooms returns some IDs that the members of p mint now.
func heirlooms(t testing.TB, p *Plan) (minted []heirloom) {
	t.Helper()
	for _, m := range p.Members() {
		a := mustMint(t, p, m.Owner)
		for range 20 {
			name := a.NewKeyName()
			minted = append(minted, heirloom{m.Owner, name[:]})
		}
	}
	return minted
}

// checkHome checks that p routes IDs to those who minted them.
func checkHome(t testing.TB, p *Plan, minted []heirloom) {
	t.Helper()
	table := mustTable(t, p)
	for _, h := range minted {
		m, ok := table.Lookup(FieldPSK, h.id)
		if !ok {
			t.Fatalf("%x, minted by %q, belongs to nobody", h.id, h.owner)
		}
		if got := table.Owners()[m.Owner]; got != h.owner {
			t.Fatalf("%x, minted by %q, belongs to %q", h.id, h.owner, got)
		}
	}
}

// TestPlannedIDsComeHome: what an owner is told to mint, the table finds, also
// when the plan went through its document.
func TestPlannedIDsComeHome(t *testing.T) {
	for _, kind := range schemeKinds() {
		t.Run(string(kind), func(t *testing.T) {
			p := firstPlan(t, Scheme{Kind: kind}, Member{"a", 1}, Member{"b", 2}, Member{"pair", 5})
			minted := heirlooms(t, p)
			checkHome(t, p, minted)
			read, err := ParsePlan(p.Encode())
			if err != nil {
				t.Fatal(err)
			}
			checkHome(t, read, minted)
		})
	}
}

func TestEqualSharesAreEqual(t *testing.T) {
	for _, kind := range schemeKinds() {
		for _, n := range []int{1, 2, 3, 7, 10, 26} {
			p := firstPlan(t, Scheme{Kind: kind}, equal(n)...)
			got := values(p)
			if len(got) != n {
				t.Errorf("%s, %d members: %d have space", kind, n, len(got))
			}
			for owner, v := range got {
				if v != got["a"] || v == 0 {
					t.Errorf("%s, %d members: %q has %d values and %q %d", kind, n, owner, v, "a", got["a"])
				}
			}
		}
	}
}

func TestSharesAreRatios(t *testing.T) {
	for _, kind := range schemeKinds() {
		got := values(firstPlan(t, Scheme{Kind: kind}, Member{"a", 1}, Member{"b", 2}, Member{"c", 5}))
		if got["a"] == 0 || got["b"] != 2*got["a"] || got["c"] != 5*got["a"] {
			t.Errorf("%s: shares 1, 2 and 5 have %v", kind, got)
		}
	}
}

// TestReserve: the reserve is what the scheme says, and what does not divide.
func TestReserve(t *testing.T) {
	for _, test := range []struct {
		scheme  Scheme
		members int
		want    uint64
	}{
		{Scheme{Kind: SchemeRanges}, 1, 1 << 28},
		{Scheme{Kind: SchemeRanges}, 3, 1<<28 + 1},
		{Scheme{Kind: SchemeRanges, MarkBits: 56}, 1, 1 << 52},
		{Scheme{Kind: SchemeRanges, MarkBits: 8, Reserve: Fraction{0, 1}}, 3, 2},
		{Scheme{Kind: SchemeRanges, MarkBits: 8, Reserve: Fraction{1, 3}}, 1, 11},
		{Scheme{Kind: SchemeRanges, MarkBits: 56, Reserve: Fraction{4294967294, 4294967295}}, 1, 1<<53 - 1<<21},
		{Scheme{Kind: SchemeBits}, 1, 1 << 12},
		{Scheme{Kind: SchemeBits, MarkBits: 11, Reserve: Fraction{9, 10}}, 5, 231},
		{Scheme{Kind: SchemeSealed}, 5, 1<<16 - 5},
	} {
		p := firstPlan(t, test.scheme, equal(test.members)...)
		if got := reserve(t, p); got != test.want {
			t.Errorf("%+v with %d members: got a reserve of %d; want %d", test.scheme, test.members, got, test.want)
		}
	}
}

// TestPlanDoesNotDependOnOrder: members are a set.
func TestPlanDoesNotDependOnOrder(t *testing.T) {
	for _, kind := range schemeKinds() {
		one := firstPlan(t, Scheme{Kind: kind}, Member{"a", 1}, Member{"b", 2}, Member{"c", 0})
		other := firstPlan(t, Scheme{Kind: kind}, Member{"c", 1}, Member{"a", 1}, Member{"b", 2})
		if !bytes.Equal(one.Encode(), other.Encode()) {
			t.Errorf("%s: got\n%s\nand\n%s", kind, one.Encode(), other.Encode())
		}
	}
}

// TestNothingChanges: a change that asks for what there is gives the same
// plan, so that it can be asked for again and again.
func TestNothingChanges(t *testing.T) {
	for _, kind := range schemeKinds() {
		p := firstPlan(t, Scheme{Kind: kind}, Member{"a", 1}, Member{"b", 2})
		for name, c := range map[string]Change{
			"nothing":      {},
			"same members": {Members: []Member{{"b", 2}, {"a", 0}}},
			"same scheme":  {Scheme: &Scheme{Kind: kind}},
		} {
			next := mustNext(t, p, c)
			if !bytes.Equal(next.Encode(), p.Encode()) || next.Revision() != 1 {
				t.Errorf("%s, %s: got\n%s\nafter\n%s", kind, name, next.Encode(), p.Encode())
			}
		}
	}
}

func TestPlanAccessors(t *testing.T) {
	p := firstPlan(t, Scheme{Kind: SchemeRanges}, Member{"b", 3}, Member{"a", 0})
	if p.Kind() != SchemeRanges || p.Revision() != 1 {
		t.Errorf("got kind %q, revision %d", p.Kind(), p.Revision())
	}
	if want := (Scheme{Kind: SchemeRanges, MarkBits: 32, Reserve: Fraction{1, 2}}); p.Scheme() != want {
		t.Errorf("got scheme %+v; want %+v", p.Scheme(), want)
	}
	members := p.Members()
	if len(members) != 2 || members[0] != (Member{"a", 1}) || members[1] != (Member{"b", 3}) {
		t.Errorf("got members %v", members)
	}
	members[0].Owner = "changed"
	if p.Members()[0].Owner != "a" {
		t.Error("a caller changed the plan")
	}
}
