package idspace

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestShare(t *testing.T) {
	t.Parallel()
	x := func(s string) []byte { return unhex(t, s) }
	r := big.NewRat
	table := mustCompile(t, []Rule{
		{Owner: "a", Range: &Range{From: x("4d000000"), To: x("4d0000ff")}},
		{Owner: "b", Range: &Range{From: x("80"), To: x("8f")}, Fields: Fields(FieldTicket)},
		{Owner: "b", Bits: &Bits{Mask: x("ff0f"), Values: [][]byte{x("a001"), x("a002")}}, Fields: Fields(FieldCookie, FieldHeader)},
		{Owner: "c", Bits: &Bits{Mask: x("ff"), Values: [][]byte{x("c0")}, IDLength: 8}, Fields: Fields(FieldCookie)},
		{Owner: "a", Bits: &Bits{Mask: x("ff"), Values: [][]byte{x("d0"), x("d1")}, IDLength: 9}, Fields: Fields(FieldCookie)},
	})
	const a4 = 1 << 24 // by this is the share of the range of a
	// Two rules that state lengths: the total is that of 9 bytes, but c has
	// its share in IDs of 8.
	cookie9 := r(1, a4)
	cookie9.Add(cookie9, r(2, 4096)).Add(cookie9, r(2, 256))
	a9 := new(big.Rat).Add(r(1, a4), r(2, 256))
	ticket := new(big.Rat).Add(r(1, a4), r(1, 16))
	for _, test := range []struct {
		name string
		got  Share
		want Share
	}{
		{"any field but those with rules", table.Share(FieldPSK), Share{r(1, a4), []*big.Rat{r(1, a4), r(0, 1), r(0, 1)}}},
		{"ticket", table.Share(FieldTicket), Share{ticket, []*big.Rat{r(1, a4), r(1, 16), r(0, 1)}}},
		{"cookie", table.Share(FieldCookie), Share{cookie9, []*big.Rat{a9, r(2, 4096), r(1, 256)}}},
		{"cookies of 9 bytes", table.ShareOfLength(FieldCookie, 9), Share{cookie9, []*big.Rat{a9, r(2, 4096), r(0, 1)}}},
		{"cookies of 2 bytes", table.ShareOfLength(FieldCookie, 2), Share{r(2, 4096), []*big.Rat{r(0, 1), r(2, 4096), r(0, 1)}}},
		{"tickets of 1 byte", table.ShareOfLength(FieldTicket, 1), Share{r(1, 16), []*big.Rat{r(0, 1), r(1, 16), r(0, 1)}}},
		{"empty tickets", table.ShareOfLength(FieldTicket, 0), Share{r(0, 1), []*big.Rat{r(0, 1), r(0, 1), r(0, 1)}}},
		{"no field", table.Share(FieldNone), Share{r(0, 1), []*big.Rat{r(0, 1), r(0, 1), r(0, 1)}}},
		{"largest", table.LargestShare(), Share{ticket, []*big.Rat{a9, r(1, 16), r(1, 256)}}},
	} {
		checkShare(t, test.name, test.got, test.want)
	}
	for field, want := range map[Field]*big.Rat{FieldPSK: r(1, a4), FieldTicket: ticket, FieldCookie: cookie9, FieldNone: r(0, 1)} {
		if f, _ := want.Float64(); table.AssignedShare(field) != f {
			t.Errorf("%v: got %v assigned; want %v", field, table.AssignedShare(field), f)
		}
	}
}

func TestShareExtremes(t *testing.T) {
	t.Parallel()
	all := word256{}.not().bytes(32)
	none := make([]byte, 32)
	least := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 256))
	one := big.NewRat(1, 1)
	for _, test := range []struct {
		name string
		rule Rule
		want *big.Rat
	}{
		{"everything, 32 bytes", Rule{Range: &Range{From: none, To: all}}, one},
		{"everything, 1 byte", Rule{Range: &Range{From: none[:1], To: all[:1]}}, one},
		{"one value of 32 bytes", Rule{Range: &Range{From: all, To: all}}, least},
		{"one value of 256 bits", Rule{Bits: &Bits{Mask: all, Values: [][]byte{none}}}, least},
		{"one bit", Rule{Bits: &Bits{Mask: []byte{1}, Values: [][]byte{{1}}}}, big.NewRat(1, 2)},
		{"both values of one bit", Rule{Bits: &Bits{Mask: []byte{1}, Values: [][]byte{{1}, {0}}}}, one},
	} {
		test.rule.Owner = "a"
		table := mustCompile(t, []Rule{test.rule})
		checkShare(t, test.name, table.Share(FieldTicket), Share{test.want, []*big.Rat{test.want}})
	}
}

// TestAssignedShareRoundsUp takes a share that no float64 is equal to.
func TestAssignedShareRoundsUp(t *testing.T) {
	t.Parallel()
	// 2^-16 and the least there is above it: not at most 2^-16.
	threshold := math.Ldexp(1, -16)
	sparse := Rule{Owner: "a", Range: &Range{From: []byte{1, 0}, To: []byte{1, 0}}}
	if got := mustCompile(t, []Rule{sparse}).AssignedShare(FieldTicket); got != threshold {
		t.Errorf("got %v; want %v", got, threshold)
	}
	one := make([]byte, 32)
	least := Rule{Owner: "a", Range: &Range{From: one, To: one}}
	if got := mustCompile(t, []Rule{sparse, least}).AssignedShare(FieldTicket); got != math.Nextafter(threshold, 1) {
		t.Errorf("got %v; want the next after %v", got, threshold)
	}
}

// TestShareTwin counts, among all IDs of up to two bytes, those that each owner
// claims.
func TestShareTwin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := genDisjoint(ruleLimits{2, 1, 3}, 5).Draw(t, "rules")
		table, err := Compile(rules)
		if err != nil {
			t.Fatal(err)
		}
		field := genField().Draw(t, "field")
		length := rapid.IntRange(0, 2).Draw(t, "length")
		counts := make([]int64, len(table.Owners()))
		total := int64(0)
		for n := range 1 << (8 * length) {
			id := []byte{byte(n >> 8), byte(n)}[2-length:]
			if m, ok := twinLookup(rules, field, id); ok {
				counts[m.Owner]++
				total++
			}
		}
		got := table.ShareOfLength(field, length)
		all := table.Share(field)
		check := func(what string, got, largest *big.Rat, count int64) {
			if want := big.NewRat(count, 1<<(8*length)); got.Cmp(want) != 0 {
				t.Fatalf("%s has %v of the IDs of %d bytes; want %v", what, got, length, want)
			}
			if got.Cmp(largest) > 0 {
				t.Fatalf("%s has %v over all lengths, but %v of %d bytes", what, largest, got, length)
			}
		}
		check("anybody", got.Total, all.Total, total)
		for i, owner := range table.Owners() {
			check(string(owner), got.Owners[i], all.Owners[i], counts[i])
		}
		if f := new(big.Rat).SetFloat64(table.AssignedShare(field)); f.Cmp(all.Total) < 0 {
			t.Fatalf("AssignedShare is %v; want at least %v", f, all.Total)
		}
		if one := big.NewRat(1, 1); all.Total.Cmp(one) > 0 {
			t.Fatalf("the total is %v", all.Total)
		}
	})
}
