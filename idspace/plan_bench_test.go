package idspace

import (
	"fmt"
	"testing"
)

// manyMembers returns n members of share 1.
func manyMembers(n int) []Member {
	members := make([]Member, n)
	for i := range members {
		members[i].Owner = Owner(fmt.Sprintf("server-%05d", i))
	}
	return members
}

// BenchmarkPlan is what a change of a large pool costs: a thousand owners in
// two generations, and one more.
func BenchmarkPlan(b *testing.B) {
	for _, kind := range schemeKinds() {
		p := firstPlan(b, Scheme{Kind: kind}, manyMembers(1000)...)
		p = mustNext(b, p, Change{Open: opening(b, kind, 1)})
		doc := p.Encode()
		b.Run(string(kind)+"/next", func(b *testing.B) {
			for b.Loop() {
				mustNext(b, p, Change{Members: manyMembers(1001)})
			}
		})
		b.Run(string(kind)+"/parse", func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				if _, err := ParsePlan(doc); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(string(kind)+"/table", func(b *testing.B) {
			for b.Loop() {
				mustTable(b, p)
			}
		})
	}
}

// BenchmarkPlanLookup is a lookup in the table of a planned pool.
func BenchmarkPlanLookup(b *testing.B) {
	for _, kind := range schemeKinds() {
		for _, generations := range []int{1, 2, PlanSlots} {
			p := firstPlan(b, Scheme{Kind: kind}, manyMembers(100)...)
			oldest := mustMint(b, p, "server-00042").NewKeyName()
			for n := 1; n < generations; n++ {
				p = mustNext(b, p, Change{Open: opening(b, kind, n)})
			}
			newest := mustMint(b, p, "server-00042").NewKeyName()
			table := mustTable(b, p)
			for name, id := range map[string][]byte{"newest": newest[:], "oldest": oldest[:]} {
				b.Run(fmt.Sprintf("%s/generations=%d/%s", kind, generations, name), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if _, ok := table.Lookup(FieldPSK, id); !ok {
							b.Fatal("not found")
						}
					}
				})
			}
		}
	}
}

// TestLargestPlan: as many members as a plan can have are planned, written,
// read and compiled in a time that nobody minds. What grows with the square
// of them takes minutes.
func TestLargestPlan(t *testing.T) {
	for kind, n := range map[SchemeKind]int{SchemeRanges: MaxPlanMembers, SchemeSealed: MaxPlanMembers / 4} {
		p := firstPlan(t, Scheme{Kind: kind}, manyMembers(n-1)...)
		p = mustNext(t, p, Change{Members: manyMembers(n), Open: opening(t, kind, 1)})
		read, err := ParsePlan(p.Encode())
		if err != nil {
			t.Fatal(err)
		}
		last := read.Members()[n-1].Owner
		checkHome(t, read, []heirloom{{last, mustMint(t, read, last).AppendMark(nil)}})
	}
}
