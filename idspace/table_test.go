package idspace

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustCompile(t testing.TB, rules []Rule) *Table {
	t.Helper()
	table, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLookup(t *testing.T) {
	t.Parallel()
	x := func(s string) []byte { return unhex(t, s) }
	table := mustCompile(t, []Rule{
		{Owner: "a", Range: &Range{From: x("4d000000"), To: x("4d0000ff")}},
		{Owner: "b", Bits: &Bits{Mask: x("ffffffff"), Values: [][]byte{x("4d4d0001"), x("4d4d0002")}}, Generation: 3},
		{Owner: "c", Bits: Prefix("b-"), Fields: Fields(FieldCookie)},
		{Owner: "a", Bits: Prefix("b-"), Fields: Fields(FieldHeader)},
		{Owner: "d", Range: &Range{From: x("80"), To: x("80")}},
		{Owner: "d", Range: &Range{From: x("8100000000000000000000000000000001"), To: x("81ffffffffffffffffffffffffffffffff")}},
		{Owner: "e", Bits: &Bits{Offset: 1, FromEnd: true, IDLength: 6, Mask: x("ff0000f00f"), Values: [][]byte{x("ee0000a005")}}},
	})
	if diff := cmp.Diff([]Owner{"a", "b", "c", "d", "e"}, table.Owners()); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	for _, test := range []struct {
		name  string
		field Field
		id    string
		want  Match
		ok    bool
	}{
		{"below a range", FieldTicket, "4cffffff", Match{}, false},
		{"lower bound", FieldTicket, "4d000000", Match{Owner: 0, Rule: 0}, true},
		{"upper bound, more follows", FieldTicket, "4d0000ffffff", Match{Owner: 0, Rule: 0}, true},
		{"above a range", FieldTicket, "4d000100", Match{}, false},
		{"shorter than a range", FieldTicket, "4d0000", Match{}, false},
		{"empty", FieldTicket, "", Match{}, false},
		{"value", FieldTicket, "4d4d000200", Match{Owner: 1, Rule: 1, Generation: 3}, true},
		{"no value", FieldTicket, "4d4d000300", Match{}, false},
		{"shorter than a mask", FieldTicket, "4d4d00", Match{}, false},
		{"bound to this field", FieldCookie, "622d30", Match{Owner: 2, Rule: 2}, true},
		{"bound to that field", FieldHeader, "622d30", Match{Owner: 0, Rule: 3}, true},
		{"bound to another field", FieldTicket, "622d30", Match{}, false},
		{"unbound in a field with bound rules", FieldHeader, "8099", Match{Owner: 3, Rule: 4}, true},
		{"longer than a word", FieldPSK, "8100000000000000000000000000000001", Match{Owner: 3, Rule: 5}, true},
		{"longer than a word, one below", FieldPSK, "8100000000000000000000000000000000", Match{}, false},
		{"longer than a word, cut", FieldPSK, "81000000000000000000000000000000", Match{}, false},
		{"from the end", FieldBytes, "ee0000a7d500", Match{Owner: 4, Rule: 6}, true},
		{"from the end, other length", FieldBytes, "ee000000a7d500", Match{}, false},
		{"no field", FieldNone, "4d000000", Match{}, false},
		{"unknown field", fieldCount, "4d000000", Match{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, ok := table.Lookup(test.field, unhex(t, test.id))
			if got != test.want || ok != test.ok {
				t.Errorf("Lookup(%v, %s) = %+v, %v; want %+v, %v", test.field, test.id, got, ok, test.want, test.ok)
			}
		})
	}
}

func TestLookupWithoutRules(t *testing.T) {
	t.Parallel()
	for name, table := range map[string]*Table{"zero": {}, "compiled": mustCompile(t, nil)} {
		if m, ok := table.Lookup(FieldTicket, []byte("id")); ok {
			t.Errorf("%s table: got %+v", name, m)
		}
		if n := len(table.Owners()) + len(table.Rules()); n != 0 {
			t.Errorf("%s table: has %d owners and rules", name, n)
		}
	}
}

// TestLookupTwin compares lookups with the twin, for random rules that are
// disjoint and IDs near their edges.
func TestLookupTwin(t *testing.T) {
	t.Parallel()
	for _, l := range []ruleLimits{{2, 1, 3}, {12, 3, 4}, {32, 2, 2}} {
		t.Run(fmt.Sprint(l), rapid.MakeCheck(func(t *rapid.T) {
			rules := genDisjoint(l, 8).Draw(t, "rules")
			table, err := Compile(rules)
			if err != nil {
				t.Fatalf("rules that the twin finds disjoint: %v", err)
			}
			for range 50 {
				field, id := genField().Draw(t, "field"), genID(rules).Draw(t, "id")
				want, wantOK := twinLookup(rules, field, id)
				if got, ok := table.Lookup(field, id); got != want || ok != wantOK {
					t.Fatalf("Lookup(%v, %x) = %+v, %v; want %+v, %v", field, id, got, ok, want, wantOK)
				}
				for i, r := range rules {
					if got, want := r.Matches(field, id), twinMatches(r, field, id); got != want {
						t.Fatalf("rule %d (%v): Matches(%v, %x) = %v; want %v", i, r, field, id, got, want)
					}
				}
			}
		}))
	}
}

// clusteredBounds draws n different bounds of the lengths that size returns.
// Most continue another one's first bytes, so that they cluster at all depths.
func clusteredBounds(rnd *rand.Rand, n int, letters []byte, size func() int) [][]byte {
	var bounds [][]byte
	for len(bounds) < n {
		b := make([]byte, size())
		for i := range b {
			b[i] = letters[rnd.IntN(len(letters))]
		}
		if len(bounds) > 0 && rnd.IntN(8) > 0 {
			other := bounds[rnd.IntN(len(bounds))]
			copy(b, other[:rnd.IntN(min(len(b), len(other))+1)])
		}
		bounds = append(bounds, b)
	}
	slices.SortFunc(bounds, bytes.Compare)
	return slices.CompactFunc(bounds, bytes.Equal)
}

// TestLookupClusters compares lookups among thousands of ranges whose bounds
// cluster with a search by halves over the bounds.
func TestLookupClusters(t *testing.T) {
	t.Parallel()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, letters := range [][]byte{every, []byte("0123456789"), {0, 1}, {0xfe, 0xff}, {0, 0xff}} {
		for _, size := range []int{4, 8, 9, 16, 17, 32} {
			t.Run(fmt.Sprintf("%d letters from %02x, %d bytes", len(letters), letters[0], size), func(t *testing.T) {
				t.Parallel()
				rnd := rand.New(rand.NewPCG(1, uint64(size)))
				bounds := clusteredBounds(rnd, 4000, letters, func() int { return size })
				bounds = bounds[:len(bounds)&^1]
				var rules []Rule
				for i := 0; i+1 < len(bounds); i += 2 {
					rules = append(rules, Rule{Owner: Owner(fmt.Sprint(i % 7)), Range: &Range{From: bounds[i], To: bounds[i+1]}})
				}
				table := mustCompile(t, rules)
				ids := slices.Clone(bounds)
				for range 4000 {
					ids = append(ids, clusteredBounds(rnd, 1, every, func() int { return rnd.IntN(size + 3) })...)
				}
				for _, b := range bounds {
					ids = append(ids, neighbours(b)...)
				}
				for _, id := range ids {
					i, exact := slices.BinarySearchFunc(bounds, id[:min(len(id), size)], bytes.Compare)
					wantOK := len(id) >= size && (exact || i%2 == 1)
					got, ok := table.Lookup(FieldCookie, id)
					if ok != wantOK || ok && int(got.Rule) != i/2 {
						t.Fatalf("Lookup(%x) = %+v, %v; want rule %d, %v", id, got, ok, i/2, wantOK)
					}
				}
			})
		}
	}
}

// neighbours returns the numbers before and after b, b cut, and b continued.
func neighbours(b []byte) [][]byte {
	less, more := slices.Clone(b), slices.Clone(b)
	for i := len(b) - 1; i >= 0; i-- {
		less[i]--
		if less[i] != 0xff {
			break
		}
	}
	for i := len(b) - 1; i >= 0; i-- {
		more[i]++
		if more[i] != 0 {
			break
		}
	}
	return [][]byte{less, more, b[:len(b)-1], append(slices.Clone(b), 0), append(slices.Clone(b), 0xff)}
}

// TestLookupExponentialBounds spaces bounds such that at each level of the
// index nearly all of them are in one bucket.
func TestLookupExponentialBounds(t *testing.T) {
	t.Parallel()
	var rules []Rule
	add := func(w word256) {
		b := w.bytes(32)
		rules = append(rules, Rule{Owner: "a", Range: &Range{From: b, To: b}})
	}
	for bit := range word256Bits {
		add(oneBit(bit))
		for low := bit + 1; low < min(bit+20, word256Bits); low++ {
			add(oneBit(bit).or(oneBit(low)))
		}
	}
	table := mustCompile(t, rules)
	for i, r := range rules {
		for _, id := range append(neighbours(r.Range.From), r.Range.From) {
			want, wantOK := twinLookup(rules[max(0, i-60):min(i+60, len(rules))], FieldPSK, id)
			want.Rule += int32(max(0, i-60))
			if got, ok := table.Lookup(FieldPSK, id); ok != wantOK || ok && got != want {
				t.Fatalf("Lookup(%x) = %+v, %v; want %+v, %v", id, got, ok, want, wantOK)
			}
		}
	}
	index := &table.classes[0].ranges
	if n, most := len(index.buckets), 20*len(rules); n > most {
		t.Errorf("%d ranges have %d buckets; want at most %d", len(rules), n, most)
	}
	// Each level takes 6 bits or more off the 256 of the bounds.
	if n, most := index.depth(0), word256Bits/6; n > most {
		t.Errorf("the index has %d levels; want at most %d", n, most)
	}
}

// depth returns the number of levels from the node at that position on.
func (x *rangeIndex) depth(node int) int {
	deepest := 0
	n := x.nodes[node]
	for _, bucket := range x.buckets[n.first : n.first+n.count] {
		if bucket >= childNode {
			deepest = max(deepest, x.depth(int(bucket&^childNode)))
		}
	}
	return 1 + deepest
}

// TestDepth pins how deep indexes of 100,000 ranges are, which is what lookups
// cost: two reads from memory a level.
func TestDepth(t *testing.T) {
	t.Parallel()
	texts := make([]Rule, 100_000)
	for i := range texts {
		text := fmt.Appendf(nil, "%08d", (uint64(i)*99_999_989+7)%100_000_000)
		texts[i] = Rule{Owner: "a", Range: &Range{From: text, To: text}}
	}
	for name, test := range map[string]struct {
		rules []Rule
		most  int
	}{
		"even": {benchRanges(100_000), 1},
		"text": {texts, 3},
	} {
		if got := mustCompile(t, test.rules).classes[0].ranges.depth(0); got > test.most {
			t.Errorf("%s: the index has %d levels; want at most %d", name, got, test.most)
		}
	}
}

// TestLookupDoesNotAllocate is not parallel: allocations of other tests would
// count.
func TestLookupDoesNotAllocate(t *testing.T) {
	x := func(s string) []byte { return unhex(t, s) }
	table := mustCompile(t, []Rule{
		{Owner: "a", Range: &Range{From: x("4d000000"), To: x("4d0000ff")}},
		{Owner: "a", Range: &Range{From: bytes.Repeat([]byte{0x50}, 32), To: bytes.Repeat([]byte{0x51}, 32)}},
		{Owner: "b", Bits: &Bits{Mask: x("ffffffff"), Values: [][]byte{x("60000001")}}},
		{Owner: "b", Bits: &Bits{Mask: bytes.Repeat([]byte{0xff}, 32), Values: [][]byte{bytes.Repeat([]byte{0x70}, 32)}}},
	})
	var ids [][]byte
	for _, c := range []byte{0x4d, 0x50, 0x60, 0x70, 0x99} {
		ids = append(ids, bytes.Repeat([]byte{c}, 32), bytes.Repeat([]byte{c}, 5), append([]byte{c}, make([]byte, 20)...))
	}
	function, err := CompileFunction(firstByte{}, map[uint32]Owner{0x4d: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for name, table := range map[string]*Table{"rules": table, "function": function} {
		if n := testing.AllocsPerRun(100, func() {
			for _, id := range ids {
				table.Lookup(FieldTicket, id)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations in %d lookups; want none", name, n, len(ids))
		}
	}
}

// TestTableIsImmutable changes all that Compile was given.
func TestTableIsImmutable(t *testing.T) {
	t.Parallel()
	rules := func() []Rule {
		return []Rule{
			{Owner: "a", Range: &Range{From: []byte{1, 0}, To: []byte{1, 9}}},
			{Owner: "b", Bits: &Bits{Mask: []byte{0xff, 0x0f}, Values: [][]byte{{2, 2}, {2, 3}}}},
		}
	}
	given := rules()
	table := mustCompile(t, given)
	given[0].Owner = "z"
	given[0].Range.From[0] = 0
	given[0].Range = nil
	given[1].Bits.Mask[1] = 0xff
	given[1].Bits.Values[1][1] = 9
	given[1].Bits.Values[0] = nil
	if diff := cmp.Diff(rules(), table.Rules()); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	for i, r := range table.Rules() {
		if got, want := r.String(), rules()[i].String(); got != want {
			t.Errorf("got %s; want %s", got, want)
		}
	}
	if m, ok := table.Lookup(FieldTicket, []byte{2, 0xf3}); !ok || m.Rule != 1 {
		t.Errorf("got %+v, %v; want rule 1", m, ok)
	}
}

// TestLookupConcurrently is for the race detector.
func TestLookupConcurrently(t *testing.T) {
	t.Parallel()
	table := mustCompile(t, benchBits(1000, 8, tagByte))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range uint32(1000) {
				id := benchBitsID(int(i), 8, tagByte)
				if m, ok := table.Lookup(FieldTicket, id); !ok || m.Rule != int32(i) {
					t.Errorf("got %+v, %v; want rule %d", m, ok, i)
					return
				}
			}
			table.Share(FieldTicket)
		})
	}
	wg.Wait()
}

func TestCompileMistakes(t *testing.T) {
	t.Parallel()
	x := func(s string) []byte { return unhex(t, s) }
	good := &Range{From: []byte{1}, To: []byte{1}}
	for _, test := range []struct {
		name string
		rule Rule
		want string // a part of the message
	}{
		{"no owner", Rule{Range: good}, "the rule has no owner; name the server or group"},
		{"neither", Rule{Owner: "a"}, "neither a range nor bits"},
		{"both", Rule{Owner: "a", Range: good, Bits: Prefix("b")}, "both a range and bits"},
		{"bound to none", Rule{Owner: "a", Range: good, Fields: Fields(FieldNone)}, "no ID ever stands in the field none"},
		{"unknown field", Rule{Owner: "a", Range: good, Fields: 1 << 15}, "field(15)"},
		{"lengths differ", Rule{Owner: "a", Range: &Range{From: x("01"), To: x("0102")}}, "from has 1 bytes and to has 2; write both"},
		{"empty range", Rule{Owner: "a", Range: &Range{}}, "empty bounds"},
		{"long range", Rule{Owner: "a", Range: &Range{From: make([]byte, 33), To: make([]byte, 33)}}, "33 bytes, and 32 are allowed"},
		{"turned range", Rule{Owner: "a", Range: &Range{From: x("02"), To: x("01")}}, "range 02-01: from is greater than to; swap them"},
		{"no mask", Rule{Owner: "a", Bits: &Bits{Values: [][]byte{{}}}}, "the mask is empty"},
		{"no text", Rule{Owner: "a", Bits: Prefix("")}, "the text is empty; write a text of 1 to 32 bytes"},
		{"long text", Rule{Owner: "a", Bits: Suffix(strings.Repeat("x", 33))}, "the text has 33 bytes, and 32 are allowed"},
		{"long mask", Rule{Owner: "a", Bits: &Bits{Mask: bytes.Repeat(x("01"), 33), Values: [][]byte{make([]byte, 33)}}}, "the mask has 33 bytes"},
		{"zero mask", Rule{Owner: "a", Bits: &Bits{Mask: x("0000"), Values: [][]byte{x("0000")}}}, "the mask 0000 selects no bit"},
		{"negative offset", Rule{Owner: "a", Bits: &Bits{Offset: -1, Mask: x("ff"), Values: [][]byte{x("01")}}}, "the offset is -1; write 0 to 4095"},
		{"large offset", Rule{Owner: "a", Bits: &Bits{Offset: 4096, Mask: x("ff"), Values: [][]byte{x("01")}}}, "the offset is 4096"},
		{"negative length", Rule{Owner: "a", Bits: &Bits{IDLength: -1, Mask: x("ff"), Values: [][]byte{x("01")}}}, "the ID length is -1"},
		{"large length", Rule{Owner: "a", Bits: &Bits{IDLength: 65536, Mask: x("ff"), Values: [][]byte{x("01")}}}, "the ID length is 65536"},
		{"short length", Rule{Owner: "a", Bits: &Bits{IDLength: 4, Offset: 3, Mask: x("ffff"), Values: [][]byte{x("0101")}}}, "IDs of 4 bytes do not hold 2 bytes at offset 3"},
		{"no values", Rule{Owner: "a", Bits: &Bits{Mask: x("ff")}}, "the bits have no values"},
		{"short value", Rule{Owner: "a", Bits: &Bits{Mask: x("ffff"), Values: [][]byte{x("01")}}}, "the value 01 has 1 bytes and the mask ffff has 2"},
		{"bits outside", Rule{Owner: "a", Bits: &Bits{Mask: x("f0"), Values: [][]byte{x("12")}}}, "the value 12 has bits that the mask f0 does not select; write 10"},
		{"listed twice", Rule{Owner: "a", Bits: &Bits{Mask: x("f0"), Values: [][]byte{x("10"), x("20"), x("10")}}}, "a value is listed twice: both claim the ID 10; remove"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.rule.Source = "pools[0].servers[1].ids[2]"
			_, err := Compile([]Rule{{Owner: "a", Range: &Range{From: x("eeee"), To: x("eeee")}}, test.rule})
			mistake, ok := errors.AsType[*RuleError](err)
			if !ok {
				t.Fatalf("got %v; want a RuleError", err)
			}
			if mistake.Rule != 1 || !strings.Contains(mistake.Error(), test.want) || !strings.HasPrefix(mistake.Error(), test.rule.Source+": ") {
				t.Errorf("got rule %d: %v; want %q", mistake.Rule, mistake, test.want)
			}
		})
	}
}

func TestCompileReportsAll(t *testing.T) {
	t.Parallel()
	one := &Range{From: []byte{1}, To: []byte{1}}
	_, err := Compile([]Rule{
		{Owner: "a", Range: one},
		{Owner: "", Range: &Range{}},
		{Owner: "b", Range: one},
		{Owner: "b", Bits: &Bits{}},
		{Owner: "c", Bits: Prefix("\x01")},
	})
	want := strings.Join([]string{
		`compiling rules: rule 1: the rule has no owner; name the server or group that the space belongs to`,
		`rule 1: the range has empty bounds; write bounds of 1 to 32 bytes`,
		`rule 3: the mask is empty; write a mask of 1 to 32 bytes`,
		`rule 3: the bits have no values; list at least one`,
		`rule 0 (owner "a", range 01-01) and rule 2 (owner "b", range 01-01) both claim the ID 01; change or remove one of them`,
		`rule 0 (owner "a", range 01-01) and rule 4 (owner "c", prefix "\x01") both claim the ID 01; change or remove one of them`,
	}, "\n")
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCompileCutsProblems(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]Rule{
		"mistakes": {Owner: "a"},
		"overlaps": {Owner: "a", Range: &Range{From: []byte{1}, To: []byte{1}}},
		"values":   {Owner: "a", Bits: &Bits{Mask: []byte{1}, Values: [][]byte{{1}}}},
	} {
		_, err := Compile(slices.Repeat([]Rule{rule}, 10*MaxProblems))
		lines := strings.Split(fmt.Sprint(err), "\n")
		if len(lines) != MaxProblems+1 || lines[MaxProblems] != "there are more than 100 problems: the rest is not listed" {
			t.Errorf("%s: got %d lines, the last is %q", name, len(lines), lines[len(lines)-1])
		}
	}
}

func TestCompileLimitsShapes(t *testing.T) {
	t.Parallel()
	// 64 masks that select bit 0 and one of the 64 following bits, all with
	// another length of the ID so that they are disjoint.
	shape := func(i int) Rule {
		mask := oneBit(0).or(oneBit(i + 1)).bytes(9)
		return Rule{Owner: "a", Bits: &Bits{IDLength: 10 + i, Mask: mask, Values: [][]byte{make([]byte, 9)}}}
	}
	var rules []Rule
	for i := range MaxShapes {
		rules = append(rules, shape(i))
	}
	// The first shape again, spelled differently three times.
	value := func(first byte) [][]byte { return [][]byte{{first}} }
	rules = append(rules,
		Rule{Owner: "a", Bits: &Bits{IDLength: 10, Mask: []byte{0xc0}, Values: value(0x80)}},
		Rule{Owner: "a", Bits: &Bits{IDLength: 10, FromEnd: true, Offset: 9, Mask: []byte{0xc0}, Values: value(0x40)}},
		Rule{Owner: "a", Bits: &Bits{IDLength: 10, Mask: []byte{0xc0, 0}, Values: [][]byte{{0xc0, 0}}}})
	table := mustCompile(t, rules)
	if got := len(table.classes[0].bits); got != MaxShapes {
		t.Errorf("got %d shapes; want %d", got, MaxShapes)
	}
	for i := range 64 {
		rules = append(rules, shape(MaxShapes+i))
	}
	_, err := Compile(rules)
	mistake, ok := errors.AsType[*RuleError](err)
	if !ok || mistake.Rule != MaxShapes+3 || !strings.Contains(mistake.Reason, "more than 32 shapes") {
		t.Fatalf("got %v; want a RuleError for rule %d", err, MaxShapes+3)
	}
	if n := strings.Count(err.Error(), "\n"); n != 0 {
		t.Errorf("got %d more problems; want one", n)
	}
}

func TestCompileLimitsEntries(t *testing.T) {
	t.Parallel()
	var found problems
	checker := ruleChecker{problems: &found, shapes: make(map[bitsShape]struct{}), entries: MaxEntries - 2}
	two := Rule{Owner: "a", Bits: &Bits{Mask: []byte{1}, Values: [][]byte{{0}, {1}}}}
	if !checker.check(0, &two) || checker.tooMany {
		t.Fatalf("%d entries: got %v", checker.entries, found.join())
	}
	one := Rule{Owner: "a", Range: &Range{From: []byte{1}, To: []byte{1}}}
	if checker.check(1, &one) || !checker.tooMany {
		t.Fatalf("%d entries: got no problem", checker.entries)
	}
	want := "rule 1: with this rule the table has more than 16777215 ranges and values; split the pool, or write neighbouring values as one range"
	if got := fmt.Sprint(found.join()); got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}
