package idspace

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// overlapsOf returns the OverlapErrors that are joined in err.
func overlapsOf(err error) (overlaps []*OverlapError) {
	switch e := err.(type) { //nolint:errorlint // this walks the tree itself
	case nil:
	case *OverlapError:
		overlaps = append(overlaps, e)
	case interface{ Unwrap() []error }:
		for _, e := range e.Unwrap() {
			overlaps = append(overlaps, overlapsOf(e)...)
		}
	default:
		overlaps = overlapsOf(errors.Unwrap(err))
	}
	return overlaps
}

// checkWitness fails unless the twin finds that both rules claim the witness,
// in each field that the error names.
func checkWitness(t interface{ Fatalf(string, ...any) }, rules []Rule, o *OverlapError) {
	a, b := rules[o.First], rules[o.Second]
	if o.First >= o.Second || !cmp.Equal(a, o.FirstRule) || !cmp.Equal(b, o.SecondRule) {
		t.Fatalf("overlap of %d and %d names the wrong rules: %v", o.First, o.Second, o)
	}
	for f := FieldPSK; f < fieldCount; f++ {
		both := twinField(a, f) && twinField(b, f)
		if o.Fields.Has(f) != both {
			t.Fatalf("overlap in the fields %v: both rules are visible in %v: %v", o.Fields, f, both)
		}
		if both && !(twinMatches(a, f, o.Witness) && twinMatches(b, f, o.Witness)) {
			t.Fatalf("not both rules claim %x:\n%v\n%v", o.Witness, a, b)
		}
	}
}

func TestOverlapPairs(t *testing.T) {
	t.Parallel()
	x := func(s string) []byte { return unhex(t, s) }
	ranges := func(from, to string) Rule { return Rule{Range: &Range{From: x(from), To: x(to)}} }
	bits := func(b Bits) Rule { return Rule{Bits: &b} }
	in := func(r Rule, fields ...Field) Rule { r.Fields = Fields(fields...); return r }
	v := func(s ...string) (values [][]byte) {
		for _, s := range s {
			values = append(values, x(s))
		}
		return values
	}
	for _, test := range []struct {
		name    string
		a, b    Rule
		witness string // "-": disjoint
	}{
		{"ranges apart", ranges("10", "1f"), ranges("20", "2f"), "-"},
		{"ranges touch", ranges("10", "20"), ranges("20", "2f"), "20"},
		{"range in range", ranges("10", "2f"), ranges("1234", "1235"), "1234"},
		{"range of other length after the upper bound", ranges("10", "2f"), ranges("2fff", "3000"), "2fff"},
		{"range of other length above", ranges("10", "2f"), ranges("3000", "3001"), "-"},
		{"ranges of all bytes touch", ranges(strings.Repeat("10", 32), strings.Repeat("20", 32)), ranges(strings.Repeat("20", 32), strings.Repeat("30", 32)), strings.Repeat("20", 32)},
		{"same ranges in other fields", in(ranges("10", "1f"), FieldTicket), in(ranges("10", "1f"), FieldCookie), "-"},
		{"same ranges in one common field", in(ranges("10", "1f"), FieldTicket, FieldPSK), in(ranges("10", "1f"), FieldCookie, FieldPSK), "10"},
		{"same ranges, one unbound", in(ranges("10", "1f"), FieldTicket), ranges("10", "1f"), "10"},

		{"values differ", bits(Bits{Mask: x("f0"), Values: v("10")}), bits(Bits{Mask: x("f0"), Values: v("20")}), "-"},
		{"a value in common", bits(Bits{Mask: x("f0"), Values: v("10", "30")}), bits(Bits{Mask: x("f0"), Values: v("20", "30")}), "30"},
		{"masks differ, common bits agree", bits(Bits{Mask: x("f0"), Values: v("10")}), bits(Bits{Mask: x("1f"), Values: v("15")}), "15"},
		{"masks differ, common bits differ", bits(Bits{Mask: x("f0"), Values: v("20")}), bits(Bits{Mask: x("1f"), Values: v("15")}), "-"},
		{"masks without a common bit", bits(Bits{Mask: x("f0"), Values: v("20")}), bits(Bits{Mask: x("0f"), Values: v("05")}), "25"},
		{"windows apart", bits(Bits{Mask: x("ff"), Values: v("20")}), bits(Bits{Offset: 2, Mask: x("ff"), Values: v("05")}), "200005"},
		{"windows meet, agree", bits(Bits{Mask: x("ffff"), Values: v("2021")}), bits(Bits{Offset: 1, Mask: x("ffff"), Values: v("2122")}), "202122"},
		{"windows meet, differ", bits(Bits{Mask: x("ffff"), Values: v("2021")}), bits(Bits{Offset: 1, Mask: x("ffff"), Values: v("2022")}), "-"},
		{"prefix and longer prefix", Rule{Bits: Prefix("a-")}, Rule{Bits: Prefix("a-b-")}, "612d622d"},
		{"prefix and suffix", Rule{Bits: Prefix("a-")}, Rule{Bits: Suffix("-b")}, "612d2d62"},
		{"suffixes apart", Rule{Bits: Suffix("-a")}, Rule{Bits: Suffix("-b")}, "-"},
		{"suffix and longer suffix", Rule{Bits: Suffix("-a")}, Rule{Bits: Suffix("x-a")}, "782d61"},
		{"other length", bits(Bits{IDLength: 3, Mask: x("ff"), Values: v("20")}), bits(Bits{IDLength: 4, Mask: x("ff"), Values: v("20")}), "-"},
		{"start and end of one length meet", bits(Bits{IDLength: 3, Mask: x("00ff"), Values: v("0020")}), bits(Bits{FromEnd: true, Offset: 1, Mask: x("ff"), Values: v("21")}), "-"},
		{"start and end of one length agree", bits(Bits{IDLength: 3, Mask: x("00ff"), Values: v("0020")}), bits(Bits{FromEnd: true, Offset: 1, Mask: x("ff"), Values: v("20")}), "002000"},
		{"window does not fit the other's length", bits(Bits{IDLength: 3, Mask: x("ff"), Values: v("20")}), bits(Bits{FromEnd: true, Offset: 3, Mask: x("ff"), Values: v("20")}), "-"},
		{"zero bytes of a mask count", bits(Bits{IDLength: 1, Mask: x("ff"), Values: v("20")}), bits(Bits{Mask: x("ff00"), Values: v("2000")}), "-"},

		{"value above a range", ranges("10", "1f"), bits(Bits{Mask: x("f0"), Values: v("20")}), "-"},
		{"value in a range", ranges("15", "25"), bits(Bits{Mask: x("f0"), Values: v("20")}), "20"},
		{"low bits skip a range", ranges("1001", "10fe"), bits(Bits{Mask: x("00ff"), Values: v("00ff", "0000")}), "-"},
		{"low bits in a range", ranges("10ff", "1101"), bits(Bits{Mask: x("00ff"), Values: v("0080", "0001")}), "1101"},
		{"value beyond a range", ranges("10", "1f"), bits(Bits{Offset: 1, Mask: x("ff"), Values: v("20")}), "1020"},
		{"value far beyond a range", ranges("10", "1f"), bits(Bits{Offset: 33, Mask: x("ff"), Values: v("20")}), "10" + fmt.Sprintf("%064x", 0) + "20"},
		{"range and suffix", ranges("10", "1f"), Rule{Bits: Suffix("\x01")}, "1001"},
		{"range longer than the IDs", ranges("1000", "1fff"), bits(Bits{IDLength: 1, Mask: x("ff"), Values: v("10")}), "-"},
		{"range as long as the IDs", ranges("1020", "1030"), bits(Bits{IDLength: 2, FromEnd: true, Mask: x("ff"), Values: v("30")}), "1030"},
		{"range and bits in other fields", in(ranges("10", "1f"), FieldTicket), in(bits(Bits{Mask: x("ff"), Values: v("10")}), FieldCookie), "-"},
		{"values in other fields", in(Rule{Bits: Prefix("a")}, FieldTicket), in(Rule{Bits: Prefix("a")}, FieldCookie), "-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, owner := range []Owner{"a", "b"} {
				test.a.Owner, test.b.Owner = "a", owner
				for _, rules := range [][]Rule{{test.a, test.b}, {test.b, test.a}} {
					if got, want := twinOverlap(rules[0], rules[1], 36), test.witness != "-"; got != want {
						t.Fatalf("the twin says %v", got)
					}
					_, err := Compile(rules)
					overlaps := overlapsOf(err)
					if test.witness == "-" {
						if err != nil {
							t.Errorf("got %v; want none", err)
						}
						continue
					}
					if len(overlaps) != 1 {
						t.Fatalf("got %d overlaps (%v); want 1", len(overlaps), err)
					}
					checkWitness(t, rules, overlaps[0])
					if want := x(test.witness); !bytes.Equal(overlaps[0].Witness, want) {
						t.Errorf("got the witness %x; want %x", overlaps[0].Witness, want)
					}
				}
			}
		})
	}
}

// TestOverlapOfLongRange puts short ranges into a long one: each is compared
// with the long one, not with its neighbour.
func TestOverlapOfLongRange(t *testing.T) {
	t.Parallel()
	var rules []Rule
	for _, bounds := range []string{"1020", "1212", "1515", "1a2a", "2a2b", "2d2e"} {
		b := unhex(t, bounds)
		rules = append(rules, Rule{Owner: "a", Range: &Range{From: b[:1], To: b[1:]}})
	}
	_, err := Compile(rules)
	var got [][2]int
	for _, o := range overlapsOf(err) {
		got = append(got, [2]int{o.First, o.Second})
	}
	if diff := cmp.Diff([][2]int{{0, 1}, {0, 2}, {0, 3}, {3, 4}}, got); diff != "" {
		t.Errorf("pairs (-want +got):\n%s", diff)
	}
}

// TestOverlapIsListedOnce lets two rules overlap in two classes of fields, and
// in two values.
func TestOverlapIsListedOnce(t *testing.T) {
	t.Parallel()
	two := &Bits{Mask: []byte{0xff}, Values: [][]byte{{1}, {2}}}
	_, err := Compile([]Rule{
		{Owner: "a", Bits: two},
		{Owner: "b", Bits: two},
		{Owner: "b", Range: &Range{From: []byte{9}, To: []byte{9}}, Fields: Fields(FieldCookie)},
	})
	if n := len(overlapsOf(err)); n != 1 {
		t.Errorf("got %d overlaps; want 1: %v", n, err)
	}
}

// TestOverlapTwin compares what Compile says of two and of several random
// rules with the twin.
func TestOverlapTwin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		limits ruleLimits
		rules  int
	}{
		{ruleLimits{2, 1, 3}, 2},
		{ruleLimits{3, 2, 2}, 4},
		{ruleLimits{9, 9, 1}, 2},
		{ruleLimits{32, 4, 1}, 2},
	} {
		t.Run(fmt.Sprint(test), rapid.MakeCheck(func(t *rapid.T) {
			rules := rapid.SliceOfN(genRule(test.limits), test.rules, test.rules).Draw(t, "rules")
			// reaches[i] says that rule i overlaps some other rule; pairs is which.
			reaches := make([]bool, len(rules))
			var pairs [][2]int
			bad := false
			for i := range rules {
				bad = bad || twinListsTwice(rules[i])
				for j := range i {
					if twinOverlap(rules[i], rules[j], test.limits.reach()) {
						reaches[i], reaches[j], bad = true, true, true
						pairs = append(pairs, [2]int{i, j})
					}
				}
			}
			_, err := Compile(rules)
			if bad != (err != nil) {
				t.Fatalf("got %v; the twin says %v", err, bad)
			}
			named := make([]bool, len(rules))
			for _, o := range overlapsOf(err) {
				checkWitness(t, rules, o)
				named[o.First], named[o.Second] = true, true
			}
			for _, p := range pairs {
				if !named[p[0]] && !named[p[1]] {
					t.Fatalf("neither of rules %v is named: %v", p, err)
				}
			}
			for i := range rules {
				if len(rules) == 2 && reaches[i] != named[i] {
					t.Fatalf("rule %d is named: %v; the twin says %v: %v", i, named[i], reaches[i], err)
				}
			}
		}))
	}
}

// TestTwinOverlap compares the twin itself with trying every ID of up to two
// bytes.
func TestTwinOverlap(t *testing.T) {
	t.Parallel()
	var ids [][]byte
	for i := range 1 << 16 {
		ids = append(ids, []byte{byte(i >> 8), byte(i)})
	}
	for i := range 1 << 8 {
		ids = append(ids, []byte{byte(i)})
	}
	rapid.Check(t, func(t *rapid.T) {
		l := ruleLimits{2, 1, 2}
		a, b := genRule(l).Draw(t, "a"), genRule(l).Draw(t, "b")
		a.Fields, b.Fields = 0, 0
		want := slices.ContainsFunc(ids, func(id []byte) bool {
			return twinMatches(a, FieldPSK, id) && twinMatches(b, FieldPSK, id)
		})
		if got := twinOverlap(a, b, 2); got != want {
			t.Fatalf("the twin says %v; want %v", got, want)
		}
	})
}

// TestMaskedIntervals compares the two intervals, and the least number, with
// all numbers of one byte.
func TestMaskedIntervals(t *testing.T) {
	t.Parallel()
	// The bits of the byte stand on both sides of a word's edge.
	byteOf := func(b int) (w word256) {
		w[0], w[1] = uint64(b>>3), uint64(b)<<61
		return w
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		from, to, mask := rnd.IntN(256), rnd.IntN(256), rnd.IntN(256)
		if from > to {
			from, to = to, from
		}
		a, b := maskedIntervals(byteOf(from), byteOf(to), byteOf(mask))
		for v := range 256 {
			if v&^mask != 0 {
				continue
			}
			want := -1
			for x := to; x >= from; x-- {
				if x&mask == v {
					want = x
				}
			}
			inside := func(i interval) bool { return i.lo.compare(byteOf(v)) <= 0 && byteOf(v).compare(i.hi) <= 0 }
			if got := inside(a) || inside(b); got != (want >= 0) {
				t.Fatalf("from %02x to %02x mask %02x value %02x: got %v", from, to, mask, v, got)
			}
			x, ok := firstMasked(byteOf(from), byteOf(to), byteOf(mask), byteOf(v))
			if ok != (want >= 0) || ok && x != byteOf(want) {
				t.Fatalf("from %02x to %02x mask %02x value %02x: got %x, %v; want %02x", from, to, mask, v, x, ok, want)
			}
		}
	}
}

// TestOverlapAmongMany hides one overlap among thousands of rules of each pair
// of kinds.
func TestOverlapAmongMany(t *testing.T) {
	t.Parallel()
	const n = 5000
	for name, rules := range map[string][]Rule{
		"ranges":   benchRanges(n),
		"1 shape":  benchBits(n, 1, tagByte),
		"8 shapes": benchBits(n, 8, tagByte),
		"both":     append(benchRanges(n), benchBits(n, 8, tagSum)...),
	} {
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range 20 {
			old := rules[rnd.IntN(len(rules))]
			var id []byte
			if old.Bits != nil {
				id = old.Bits.Values[0]
			} else {
				id = benchRangesID(old)
			}
			intruder := Rule{Owner: "intruder", Range: &Range{From: id, To: id}}
			if i%2 == 0 {
				intruder = Rule{Owner: "intruder", Bits: Prefix(string(id))}
			}
			with := append(slices.Clone(rules), intruder)
			_, err := Compile(with)
			overlaps := overlapsOf(err)
			if len(overlaps) != 1 || overlaps[0].Second != len(rules) || !cmp.Equal(overlaps[0].FirstRule, old) {
				t.Fatalf("%s: got %v; want an overlap of %v and %v", name, err, old, intruder)
			}
			checkWitness(t, with, overlaps[0])
		}
	}
}
