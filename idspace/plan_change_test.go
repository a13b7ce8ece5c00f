package idspace

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/idspace/sealed"
)

// TestTenthServerTakesFromTheReserve and nothing else.
func TestTenthServerTakesFromTheReserve(t *testing.T) {
	for _, kind := range schemeKinds() {
		t.Run(string(kind), func(t *testing.T) {
			nine := firstPlan(t, Scheme{Kind: kind}, equal(9)...)
			minted := heirlooms(t, nine)
			ten := mustNext(t, nine, Change{Members: equal(10)})
			before, after := values(nine), values(ten)
			for owner, v := range before {
				if after[owner] != v {
					t.Errorf("%q had %d values and has %d", owner, v, after[owner])
				}
			}
			if after["j"] != before["a"] {
				t.Errorf("the tenth has %d values; want %d", after["j"], before["a"])
			}
			if got, want := reserve(t, ten), reserve(t, nine)-after["j"]; got != want {
				t.Errorf("the reserve is %d; want %d", got, want)
			}
			checkHome(t, ten, append(minted, heirlooms(t, ten)...))
		})
	}
}

// TestGenerationOpensWhenTheReserveIsGone, and old IDs still come home.
func TestGenerationOpensWhenTheReserveIsGone(t *testing.T) {
	for _, kind := range []SchemeKind{SchemeRanges, SchemeBits} {
		t.Run(string(kind), func(t *testing.T) {
			p := firstPlan(t, Scheme{Kind: kind}, equal(4)...)
			p = mustNext(t, p, Change{Members: equal(8)})
			if got := reserve(t, p); got != 0 {
				t.Fatalf("a reserve of %d is left", got)
			}
			minted := heirlooms(t, p)

			_, err := NextPlan(p, Change{Members: equal(10)})
			var full *ReserveError
			if !errors.As(err, &full) {
				t.Fatalf("got error %v; want a ReserveError", err)
			}
			want := &ReserveError{Kind: kind, Generation: 0, Owners: []Owner{"i", "j"}, Need: 2 * values(p)["a"], Free: 0}
			if diff := cmp.Diff(want, full); diff != "" {
				t.Errorf("ReserveError (-want +got):\n%s", diff)
			}

			p = mustNext(t, p, Change{Members: equal(10), Open: &OpenGeneration{}})
			got := p.Generations()
			if len(got) != 2 || got[0].State != StateRetiring || got[1].State != StateMinting || got[1].Slot != 1 {
				t.Errorf("got generations %+v", got)
			}
			if got := values(p); len(got) != 10 || got["a"] != got["j"] {
				t.Errorf("the new generation has %v", got)
			}
			checkHome(t, p, append(minted, heirlooms(t, p)...))
		})
	}
}

// TestPreparedGeneration: it is routed from the start, and minted when told.
func TestPreparedGeneration(t *testing.T) {
	for _, kind := range schemeKinds() {
		t.Run(string(kind), func(t *testing.T) {
			at := time.Date(2026, 3, 4, 5, 6, 7, 8, time.FixedZone("east", 3600))
			first := firstPlan(t, Scheme{Kind: kind}, equal(3)...)
			open := opening(t, kind, 1)
			open.Prepared = true
			prepared := mustNext(t, first, Change{At: at, Open: open})
			if a := mustMint(t, prepared, "a"); a.Generation != 0 {
				t.Errorf("generation %d is minted while 1 is prepared", a.Generation)
			}
			for _, s := range prepared.Spaces() {
				if s.Generation == 1 && s.State != SpacePrepared && s.State != SpaceReserve {
					t.Errorf("space %+v of the prepared generation", s)
				}
			}
			minting := mustNext(t, prepared, Change{At: at, StartMinting: true})
			if a := mustMint(t, minting, "a"); a.Generation != 1 {
				t.Errorf("generation %d is minted after 1 was started", a.Generation)
			}
			got := minting.Generations()
			if got[0].State != StateRetiring || !got[0].RetiredAt.Equal(at.Truncate(time.Second)) || got[0].RetiredAt.Location() != time.UTC {
				t.Errorf("generation 0 is %s since %v; want retiring since %v", got[0].State, got[0].RetiredAt, at)
			}
			all := append(heirlooms(t, first), heirlooms(t, minting)...)
			checkHome(t, prepared, all)
			checkHome(t, minting, all)
		})
	}
}

// TestMemberWaitsForThePreparedGeneration when the reserve of the one that is
// minted is used up.
func TestMemberWaitsForThePreparedGeneration(t *testing.T) {
	p := firstPlan(t, Scheme{Kind: SchemeRanges}, equal(2)...)
	p = mustNext(t, p, Change{Members: equal(4)})
	p = mustNext(t, p, Change{Open: &OpenGeneration{Prepared: true}, Members: equal(5)})
	if _, err := p.Mint("e"); !errors.Is(err, ErrNothingToMint) {
		t.Errorf("minting: got error %v; want ErrNothingToMint", err)
	}
	if _, err := p.Mint("f"); !errors.Is(err, ErrNotMember) {
		t.Errorf("minting for a stranger: got error %v; want ErrNotMember", err)
	}
	mustMint(t, p, "a")
	if _, err := ParsePlan(p.Encode()); err != nil {
		t.Error(err)
	}
	p = mustNext(t, p, Change{StartMinting: true})
	if got := values(p); got["e"] == 0 || got["e"] != got["a"] {
		t.Errorf("got %v", got)
	}
}

// TestMemberWaitsWithAnyShare: also one that no generation like the one that is
// minted could ever hold.
func TestMemberWaitsWithAnyShare(t *testing.T) {
	p := firstPlan(t, Scheme{Kind: SchemeRanges, MarkBits: 56}, equal(1)...)
	p = mustNext(t, p, Change{Members: []Member{{"a", 1}, {"z", MaxPlanShare}}, Open: &OpenGeneration{Prepared: true}})
	if _, err := p.Mint("z"); !errors.Is(err, ErrNothingToMint) {
		t.Errorf("minting: got error %v; want ErrNothingToMint", err)
	}
	if got := values(mustNext(t, p, Change{StartMinting: true})); got["z"] != MaxPlanShare*got["a"] {
		t.Errorf("got %v", got)
	}
}

// TestGivingUpAPreparedGeneration: of one that was never minted, no ID is left.
func TestGivingUpAPreparedGeneration(t *testing.T) {
	for _, kind := range schemeKinds() {
		p := firstPlan(t, Scheme{Kind: kind}, equal(2)...)
		open := opening(t, kind, 1)
		open.Prepared = true
		next := mustNext(t, mustNext(t, p, Change{Open: open}), Change{DeadGenerations: []uint64{1}})
		if diff := cmp.Diff(p.Spaces(), next.Spaces(), cmpRat()); diff != "" {
			t.Errorf("%s (-before +after):\n%s", kind, diff)
		}
		// Its number does not come back, so nobody takes another for it.
		next = mustNext(t, next, Change{Open: opening(t, kind, 2)})
		if g := next.Generations(); len(g) != 2 || g[1].Number != 2 {
			t.Errorf("%s: got generations %+v", kind, g)
		}
	}
}

// TestRemovedMemberKeepsItsSpaceUntilItIsDead.
func TestRemovedMemberKeepsItsSpaceUntilItIsDead(t *testing.T) {
	for _, kind := range schemeKinds() {
		t.Run(string(kind), func(t *testing.T) {
			at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
			first := firstPlan(t, Scheme{Kind: kind}, equal(4)...)
			minted := heirlooms(t, first)
			removed := mustNext(t, first, Change{At: at, Members: slices.Delete(equal(4), 1, 2)})
			if _, err := removed.Mint("b"); !errors.Is(err, ErrNotMember) {
				t.Errorf("minting: got error %v; want ErrNotMember", err)
			}
			if got, want := reserve(t, removed), reserve(t, first); got != want {
				t.Errorf("the reserve went from %d to %d", want, got)
			}
			had := spacesOf(first, "b")
			if got := spacesOf(removed, "b"); len(got) != 1 || got[0].State != SpaceRetiring || !got[0].RetiredAt.Equal(at) || got[0].First != had[0].First {
				t.Errorf("got spaces %+v; had %+v", got, had)
			}

			// Somebody else takes from the reserve meanwhile.
			joined := mustNext(t, removed, Change{Members: slices.Delete(equal(5), 1, 2)})
			checkHome(t, joined, append(minted, heirlooms(t, joined)...))

			// Dead, the space is reserve again, and the next one gets it.
			dead := mustNext(t, joined, Change{DeadOwners: []Owner{"b"}})
			if got := spacesOf(dead, "b"); len(got) != 0 {
				t.Errorf("the dead owner has %+v", got)
			}
			next := mustNext(t, dead, Change{Members: append(dead.Members(), Member{"z", 1})})
			if got := spacesOf(next, "z"); len(got) != 1 || got[0].First != had[0].First {
				t.Errorf("got spaces %+v; want those of b, %+v", got, had)
			}
		})
	}
}

// TestWhoComesBackGetsTheSameSpace, of which it may still have IDs.
func TestWhoComesBackGetsTheSameSpace(t *testing.T) {
	for _, kind := range schemeKinds() {
		first := firstPlan(t, Scheme{Kind: kind}, equal(3)...)
		away := mustNext(t, first, Change{At: time.Unix(1e9, 0), Members: equal(2)})
		back := mustNext(t, away, Change{Members: equal(3)})
		if diff := cmp.Diff(first.Spaces(), back.Spaces(), cmpRat()); diff != "" {
			t.Errorf("%s (-before +after):\n%s", kind, diff)
		}
		// Also in a generation that retired meanwhile: it cannot be declared
		// dead by the name of somebody who is there.
		away = mustNext(t, away, Change{Open: opening(t, kind, 1)})
		back = mustNext(t, away, Change{Members: equal(3)})
		if _, err := NextPlan(back, Change{DeadOwners: []Owner{"c"}}); err == nil {
			t.Errorf("%s: a member's space in a retiring generation was declared dead by its name", kind)
		}
		checkHome(t, back, heirlooms(t, first))
	}
}

func TestShareChanges(t *testing.T) {
	for _, kind := range schemeKinds() {
		t.Run(string(kind), func(t *testing.T) {
			p := firstPlan(t, Scheme{Kind: kind}, Member{"a", 2}, Member{"b", 2}, Member{"c", 2})
			minted := heirlooms(t, p)
			unit := values(p)["a"] / 2
			left := reserve(t, p)

			// More comes out of the reserve.
			p = mustNext(t, p, Change{Members: []Member{{"a", 3}, {"b", 2}, {"c", 2}}})
			if got := values(p); got["a"] != 3*unit || got["b"] != 2*unit || reserve(t, p) != left-unit {
				t.Errorf("after growing: %v, reserve %d", got, reserve(t, p))
			}
			minted = append(minted, heirlooms(t, p)...)

			// Less leaves values that are the owner's still, and not minted.
			p = mustNext(t, p, Change{Members: []Member{{"a", 1}, {"b", 2}, {"c", 2}}})
			if got := values(p); got["a"] != unit || reserve(t, p) != left-unit {
				t.Errorf("after shrinking: %v, reserve %d", got, reserve(t, p))
			}
			checkHome(t, p, append(minted, heirlooms(t, p)...))

			// Growing again takes these first.
			again := mustNext(t, p, Change{Members: []Member{{"a", 2}, {"b", 2}, {"c", 2}}})
			if got := values(again); got["a"] != 2*unit || reserve(t, again) != left-unit {
				t.Errorf("after growing again: %v, reserve %d", got, reserve(t, again))
			}

			// Dead, they are reserve.
			p = mustNext(t, p, Change{DeadOwners: []Owner{"a"}})
			if got := values(p); got["a"] != unit || reserve(t, p) != left+unit {
				t.Errorf("after death: %v, reserve %d", got, reserve(t, p))
			}
		})
	}
}

// TestSlots: seven generations, then none, until one is dead.
func TestSlots(t *testing.T) {
	for _, kind := range schemeKinds() {
		t.Run(string(kind), func(t *testing.T) {
			day := func(n int) time.Time { return time.Date(2026, 1, 1+n, 0, 0, 0, 0, time.UTC) }
			p := firstPlan(t, Scheme{Kind: kind}, equal(2)...)
			minted := heirlooms(t, p)
			for n := 1; n < PlanSlots; n++ {
				p = mustNext(t, p, Change{At: day(n), Open: opening(t, kind, n)})
				minted = append(minted, heirlooms(t, p)...)
			}
			checkHome(t, p, minted)

			_, err := NextPlan(p, Change{At: day(7), SessionLifetime: 48 * time.Hour, Open: opening(t, kind, 7)})
			var full *SlotError
			if !errors.As(err, &full) {
				t.Fatalf("got error %v; want a SlotError", err)
			}
			if diff := cmp.Diff(&SlotError{Generation: 0, RetiredAt: day(1), FreeAt: day(3)}, full); diff != "" {
				t.Errorf("SlotError (-want +got):\n%s", diff)
			}

			// Number 7 would need slot 0; with slot 2 free it is number 9.
			freed := mustNext(t, p, Change{DeadGenerations: []uint64{2}, Open: opening(t, kind, 7)})
			if g := freed.Generations(); g[len(g)-1].Number != 9 || g[len(g)-1].Slot != 2 {
				t.Errorf("got generations %+v", g)
			}
			freed = mustNext(t, p, Change{DeadGenerations: []uint64{0}, Open: opening(t, kind, 7)})
			if g := freed.Generations(); g[len(g)-1].Number != 7 || g[len(g)-1].Slot != 0 {
				t.Errorf("got generations %+v", g)
			}
		})
	}
}

// TestSlotSevenIsNeverAssigned, nor what is not opened yet.
func TestSlotSevenIsNeverAssigned(t *testing.T) {
	for _, kind := range []SchemeKind{SchemeRanges, SchemeBits} {
		p := firstPlan(t, Scheme{Kind: kind, Reserve: Fraction{0, 1}}, equal(2)...)
		for n := 1; n < PlanSlots; n++ {
			p = mustNext(t, p, Change{Open: opening(t, kind, n)})
		}
		table := mustTable(t, p)
		for first := range 256 {
			_, ok := table.Lookup(FieldPSK, []byte{byte(first), 0x12, 0x34, 0x56, 0x78})
			if want := first>>5 < 7; ok != want {
				t.Errorf("%s: first byte %02x: assigned %t; want %t", kind, first, ok, want)
			}
		}
	}
}

// TestMarksWiden: a generation is as wide as its shares need.
func TestMarksWiden(t *testing.T) {
	p := firstPlan(t, Scheme{Kind: SchemeRanges, MarkBits: 8}, Member{"a", 16})
	if _, err := NextPlan(p, Change{Members: []Member{{"a", 16}, {"b", 17}}}); err == nil {
		t.Error("33 shares fitted in 32 values")
	}
	p = mustNext(t, p, Change{Members: []Member{{"a", 16}, {"b", 17}}, Open: &OpenGeneration{}})
	if g := p.Generations()[1]; g.MarkBits != 16 {
		t.Errorf("got marks of %d bits; want 16", g.MarkBits)
	}
	checkHome(t, p, heirlooms(t, p))
	// And as the scheme says, if that is changed.
	p = mustNext(t, p, Change{Scheme: &Scheme{Kind: SchemeRanges, MarkBits: 40, Reserve: Fraction{1, 4}}, Open: &OpenGeneration{}})
	if g := p.Generations()[2]; g.MarkBits != 40 || g.Values != 1<<37 || g.Reserve < g.Values/4 || g.Reserve > g.Values/4+33 {
		t.Errorf("got %+v", g)
	}

	_, err := NextPlan(nil, Change{Scheme: &Scheme{Kind: SchemeBits}, Members: []Member{{"a", 4097}}})
	var short *MarkError
	if !errors.As(err, &short) {
		t.Fatalf("got error %v; want a MarkError", err)
	}
	if diff := cmp.Diff(&MarkError{Kind: SchemeBits, MarkBits: 16, Shares: 4097, Values: 4096}, short); diff != "" {
		t.Errorf("MarkError (-want +got):\n%s", diff)
	}
}

// TestServerNumbersStay: an owner has its numbers in all generations of a
// sealed plan, and nobody gets another's.
func TestServerNumbersStay(t *testing.T) {
	p := firstPlan(t, Scheme{Kind: SchemeSealed}, Member{"a", 1}, Member{"b", 2}, Member{"c", 1})
	p = mustNext(t, p, Change{Members: []Member{{"b", 2}, {"c", 1}}})
	p = mustNext(t, p, Change{Members: []Member{{"b", 2}, {"c", 1}, {"d", 1}}, Open: opening(t, SchemeSealed, 1)})
	numbers := func(owner Owner) (rules []string) {
		for _, s := range spacesOf(p, owner) {
			if s.Generation == 1 {
				rules = append(rules, s.Rule)
			}
		}
		return rules
	}
	for owner, want := range map[Owner][]string{"a": nil, "b": {"sealed servers 1-2"}, "c": {"sealed server 3"}, "d": {"sealed server 4"}} {
		if diff := cmp.Diff(want, numbers(owner)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", owner, diff)
		}
	}
	// With the generation in which it was a's dead, number 0 is free.
	p = mustNext(t, p, Change{DeadGenerations: []uint64{0}, Members: []Member{{"b", 2}, {"c", 1}, {"d", 2}}})
	if diff := cmp.Diff([]string{"sealed server 0", "sealed server 4"}, numbers("d")); diff != "" {
		t.Errorf("d (-want +got):\n%s", diff)
	}
}

func TestServerNumbersEnd(t *testing.T) {
	p := firstPlan(t, Scheme{Kind: SchemeSealed}, Member{"a", sealedServers})
	_, err := NextPlan(p, Change{Members: []Member{{"a", sealedServers}, {"b", 1}}})
	var full *ReserveError
	if !errors.As(err, &full) {
		t.Fatalf("got error %v; want a ReserveError", err)
	}
	if strings.Contains(err.Error(), "open a new generation") {
		t.Errorf("got error %q, whose remedy does not help: numbers are the same in all generations", err)
	}
}

func TestNextPlanRefuses(t *testing.T) {
	ranges := firstPlan(t, Scheme{Kind: SchemeRanges}, equal(2)...)
	sealedPlan := firstPlan(t, Scheme{Kind: SchemeSealed}, equal(2)...)
	prepared := mustNext(t, ranges, Change{Open: &OpenGeneration{Prepared: true}})
	first := func(s Scheme, c Change) Change {
		c.Scheme = &s
		if c.Members == nil {
			c.Members = equal(1)
		}
		return c
	}
	members := func(m ...Member) Change { return first(Scheme{Kind: SchemeRanges}, Change{Members: m}) }
	for _, test := range []struct {
		name   string
		prev   *Plan
		change Change
		want   string
	}{
		{"no scheme", nil, Change{Members: equal(1)}, "needs a scheme"},
		{"no members", nil, Change{Scheme: &Scheme{Kind: SchemeRanges}}, "at least one member"},
		{"empty members", ranges, Change{Members: []Member{}}, "at least one member"},
		{"too many members", nil, members(make([]Member, MaxPlanMembers+1)...), "65537 members: a plan has at most 65536"},
		{"a member without a name", nil, members(Member{}), "needs a name"},
		{"a member with a long name", nil, members(Member{Owner: Owner(strings.Repeat("x", 256))}), "has 256 bytes: at most 255"},
		{"a name with a line break", nil, members(Member{Owner: "a\nb"}), "not printable"},
		{"a name that is no text", nil, members(Member{Owner: "a\xff"}), "not printable"},
		{"a member twice", nil, members(Member{"a", 1}, Member{"a", 2}), `"a" is given twice`},
		{"a large share", nil, members(Member{"a", MaxPlanShare + 1}), "the largest is 1048576"},
		{"no kind", nil, first(Scheme{}, Change{}), `"" cannot be planned`},
		{"unknown kind", nil, first(Scheme{Kind: "quic-lb"}, Change{}), `"quic-lb" cannot be planned`},
		{"short marks", nil, first(Scheme{Kind: SchemeRanges, MarkBits: 7}, Change{}), "has 8 to 56"},
		{"negative marks", nil, first(Scheme{Kind: SchemeRanges, MarkBits: -1}, Change{}), "has 8 to 56"},
		{"long marks", nil, first(Scheme{Kind: SchemeRanges, MarkBits: 57}, Change{}), "has 8 to 56"},
		{"long marks of bits", nil, first(Scheme{Kind: SchemeBits, MarkBits: 17}, Change{}), "has 8 to 16"},
		{"a reserve of all", nil, first(Scheme{Kind: SchemeBits, Reserve: Fraction{2, 2}}, Change{}), "leaves nothing"},
		{"a reserve of nothing at all", nil, first(Scheme{Kind: SchemeBits, Reserve: Fraction{1, 0}}, Change{}), "leaves nothing"},
		{"mark bits of sealed", nil, first(Scheme{Kind: SchemeSealed, MarkBits: 128}, Change{}), "neither mark bits nor"},
		{"sealed without a key", nil, first(Scheme{Kind: SchemeSealed}, Change{}), "needs a mark key"},
		{"sealed without a new key", sealedPlan, Change{Open: opening(t, SchemeSealed, 0)}, "that of generation 0"},
		{"ranges with a key", ranges, Change{Open: &OpenGeneration{Key: sealed.NewKey()}}, "has no mark keys"},
		{"another kind", ranges, Change{Scheme: &Scheme{Kind: SchemeBits}}, "cannot become bits"},
		{"prepared from the start", nil, first(Scheme{Kind: SchemeRanges}, Change{Open: &OpenGeneration{Prepared: true}}), "minted from the start"},
		{"two prepared", prepared, Change{Open: &OpenGeneration{}}, "generation 1 is prepared"},
		{"nothing prepared", ranges, Change{StartMinting: true}, "no prepared generation"},
		{"death of a stranger", ranges, Change{DeadOwners: []Owner{"x"}}, `"x" has no retired space`},
		{"death of a member", ranges, Change{DeadOwners: []Owner{"a"}}, `"a" has no retired space`},
		{"death on removal", ranges, Change{DeadOwners: []Owner{"a"}, Members: []Member{{"b", 1}}}, `"a" has no retired space`},
		{"death of no generation", ranges, Change{DeadGenerations: []uint64{1}}, "no generation 1"},
		{"death while minted", ranges, Change{DeadGenerations: []uint64{0}}, "still minted"},
		{"a year too far", ranges, Change{At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "year 10000"},
		{"a year too near", ranges, Change{At: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}, "year -1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before []byte
			if test.prev != nil {
				before = test.prev.Encode()
			}
			p, err := NextPlan(test.prev, test.change)
			if err == nil || p != nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "planning: ") {
				t.Errorf("got plan %v and error %v; want an error with %q", p != nil, err, test.want)
			}
			if test.prev != nil && string(before) != string(test.prev.Encode()) {
				t.Error("the plan before was changed")
			}
		})
	}
}

// TestPlanErrors: what people read.
func TestPlanErrors(t *testing.T) {
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		err  error
		want string
	}{
		{
			&ReserveError{Generation: 3, Owners: []Owner{"a"}, Need: 5, Free: 2},
			`the reserve of generation 3 is used up: member "a" needs 5 more values and 2 are left; open a new generation`,
		},
		{
			&ReserveError{Generation: 3, Owners: []Owner{"a", "b"}, Need: 5, Free: 2},
			`the reserve of generation 3 is used up: 2 members ("a" is one) need 5 more values and 2 are left; open a new generation`,
		},
		{&SlotError{Generation: 4}, `all 7 generation slots are taken; the first to be free is that of generation 4; declare it dead when none of its IDs is left`},
		{
			&SlotError{Generation: 4, RetiredAt: day, FreeAt: day.Add(time.Hour)},
			`all 7 generation slots are taken; the first to be free is that of generation 4, retired 2026-01-02T03:04:05Z, whose last session ends 2026-01-02T04:04:05Z; declare it dead when none of its IDs is left`,
		},
		{
			&MarkError{Kind: SchemeRanges, MarkBits: 56, Shares: 9, Values: 8},
			`the shares add up to 9, and the longest mark of scheme ranges (56 bits) has 8 values to divide; use smaller shares or a smaller reserve`,
		},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// TestFitInPieces: what is left of the reserve may be in pieces.
func TestFitInPieces(t *testing.T) {
	p := firstPlan(t, Scheme{Kind: SchemeRanges, MarkBits: 8, Reserve: Fraction{0, 1}}, equal(8)...) // 4 values each
	p = mustNext(t, p, Change{Members: []Member{{"a", 1}, {"c", 1}, {"e", 1}, {"f", 1}, {"g", 1}, {"h", 1}}})
	p = mustNext(t, p, Change{DeadOwners: []Owner{"b", "d"}})
	p = mustNext(t, p, Change{Members: append(p.Members(), Member{"z", 2})})
	var got []string
	for _, s := range spacesOf(p, "z") {
		got = append(got, s.Rule)
	}
	if diff := cmp.Diff([]string{"range 04-07", "range 0c-0f"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	checkHome(t, p, heirlooms(t, p))
}

func TestRuns(t *testing.T) {
	got := subtract([]run{{0, 10}, {20, 30}, {40, 50}}, []run{{0, 2}, {5, 6}, {8, 22}, {29, 45}, {49, 60}})
	if diff := cmp.Diff([]run{{2, 5}, {6, 8}, {22, 29}, {45, 49}}, got, cmp.AllowUnexported(run{})); diff != "" {
		t.Errorf("subtract (-want +got):\n%s", diff)
	}
	got = union([]run{{5, 7}, {0, 2}, {2, 3}, {6, 6}, {1, 2}, {math.MaxUint64 - 1, math.MaxUint64}})
	if diff := cmp.Diff([]run{{0, 3}, {5, 7}, {math.MaxUint64 - 1, math.MaxUint64}}, got, cmp.AllowUnexported(run{})); diff != "" {
		t.Errorf("union (-want +got):\n%s", diff)
	}
}

func spacesOf(p *Plan, owner Owner) (spaces []Space) {
	for _, s := range p.Spaces() {
		if s.Owner == owner {
			spaces = append(spaces, s)
		}
	}
	return spaces
}
