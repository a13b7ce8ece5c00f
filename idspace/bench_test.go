package idspace

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"text/tabwriter"
	"time"
)

// benchRanges returns n ranges of 8-byte bounds with gaps between them, at
// random in the half of the space whose first bit is 0.
func benchRanges(n int) []Rule {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	bounds := make([]uint64, 0, 2*n)
	for len(bounds) < 2*n {
		for len(bounds) < 2*n {
			bounds = append(bounds, rnd.Uint64()>>1)
		}
		slices.Sort(bounds)
		bounds = slices.Compact(bounds)
	}
	return rangesBetween(bounds)
}

// rangesBetween returns the ranges between the bounds 0 and 1, 2 and 3, ...
func rangesBetween(bounds []uint64) []Rule {
	rules := make([]Rule, len(bounds)/2)
	for i := range rules {
		rules[i] = Rule{Owner: Owner(fmt.Sprint("server-", i%1000)), Range: &Range{
			From: binary.BigEndian.AppendUint64(nil, bounds[2*i]),
			To:   binary.BigEndian.AppendUint64(nil, bounds[2*i+1]),
		}}
	}
	return rules
}

func benchRangesID(r Rule) []byte { return slices.Clone(r.Range.From) }

// A benchTag says how the shapes of benchBits are kept apart.
type benchTag int

const (
	// tagByte: the first byte has one of two values, different in each shape.
	// No single bit tells two shapes apart.
	tagByte benchTag = iota
	// tagSum: the sum of the first two bytes, by which no single byte does. It
	// is the worst case: each lookup has to hash for each shape.
	tagSum
)

// benchBits returns n rules of one value each, in as many shapes, at random in
// the half of the space whose first bit is 1.
func benchBits(n, shapes int, tag benchTag) []Rule {
	rules := make([]Rule, n)
	for i := range rules {
		mask, value := benchBitsValue(i, shapes, tag)
		rules[i] = Rule{
			Owner: Owner(fmt.Sprint("server-", i%1000)),
			Bits:  &Bits{Mask: mask, Values: [][]byte{value}},
		}
	}
	return rules
}

func benchBitsValue(i, shapes int, tag benchTag) (mask, value []byte) {
	shape, k := i%shapes, i/shapes
	switch tag {
	case tagByte:
		first := byte(shape)
		if k%2 == 1 {
			first = ^first
		}
		mask, value = []byte{0xff}, []byte{0x80 | first}
	case tagSum:
		first := 0x80 | byte(k)
		second := byte(k>>7)<<5 | (byte(shape)-first)&0x1f
		mask, value = []byte{0xff, 0xff}, []byte{first, second}
	}
	gap := make([]byte, shape%3)
	mask, value = append(mask, gap...), append(value, gap...)
	mask = binary.BigEndian.AppendUint32(mask, ^uint32(0)<<(shape/3))
	// 21 bits that differ for each k, and 11 that look random.
	differ, more := uint32(k)*0x9e3779b1<<11, uint32(k)*0x85ebca6b>>21
	value = binary.BigEndian.AppendUint32(value, (differ|more)&(^uint32(0)<<(shape/3)))
	return mask, value
}

// benchBitsID returns an ID of 16 bytes that rule i of benchBits matches.
func benchBitsID(i, shapes int, tag benchTag) []byte {
	id := binary.BigEndian.AppendUint64(nil, rand.New(rand.NewPCG(uint64(i), 1)).Uint64())
	id = append(id, id...)
	mask, value := benchBitsValue(i, shapes, tag)
	for j, m := range mask {
		id[j] = id[j]&^m | value[j]
	}
	return id
}

// benchIDs is IDs of 16 bytes, one after the other: so many that the parts of
// a table that they touch do not fit the nearest caches if the table does not.
type benchIDs []byte

const benchIDCount = 1 << 16

func (ids *benchIDs) add(id []byte) {
	var fixed [16]byte
	copy(fixed[:], id)
	*ids = append(*ids, fixed[:]...)
}

func (ids benchIDs) at(i int) []byte {
	i = i % benchIDCount * 16
	return ids[i : i+16]
}

// hits returns IDs that rules match, and misses random IDs whose first bit is
// that of the rules, nearly none of which match bits.
func hits(n int, id func(i int) []byte) (ids benchIDs) {
	rnd := rand.New(rand.NewPCG(2, uint64(n)))
	for range benchIDCount {
		ids.add(id(rnd.IntN(n)))
	}
	return ids
}

func misses(first byte) (ids benchIDs) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range benchIDCount {
		id := binary.BigEndian.AppendUint64(nil, rnd.Uint64())
		id[0] = id[0]&0x7f | first
		ids.add(id)
	}
	return ids
}

var benchSizes = []int{10, 1_000, 100_000, 1_000_000}

// rangesLimit is how long a lookup among 100,000 ranges may take, on one core
// of a server of the 2020s: ns.
const rangesLimit = 60.0

// BenchmarkLookup measures lookups of ranges and of bits in 1, 8 and 32 shapes
// at growing sizes, and prints a table of times, memory and compile times.
// "hit" are IDs of rules; "miss" random IDs near them (for ranges, as many as
// the gaps make).
func BenchmarkLookup(b *testing.B) {
	var rows []benchRow
	for _, n := range benchSizes {
		rules := benchRanges(n)
		row := benchTable(b, "ranges", rules,
			hits(n, func(i int) []byte { return benchRangesID(rules[i]) }), misses(0))
		if rows = append(rows, row); n == 100_000 && max(row.fastHit, row.fastMiss) > rangesLimit {
			b.Errorf("among %d ranges a hit took %.0f ns and a miss %.0f; want at most %.0f", n, row.fastHit, row.fastMiss, rangesLimit)
		}
	}
	for _, test := range []struct {
		name   string
		shapes int
		tag    benchTag
	}{
		{"bits/shapes=1", 1, tagByte},
		{"bits/shapes=8", 8, tagByte},
		{"bits/shapes=32", 32, tagByte},
		{"bits/shapes=32-worst", 32, tagSum},
	} {
		for _, n := range benchSizes {
			rows = append(rows, benchTable(b, test.name, benchBits(max(n, test.shapes), test.shapes, test.tag),
				hits(n, func(i int) []byte { return benchBitsID(i, test.shapes, test.tag) }), misses(0x80)))
		}
	}
	printBenchTable(b, rows)
}

// BenchmarkLookupClustered measures ranges that are spread unevenly: near each
// other in a far corner of the space, or spelled in decimal digits, or points
// of 16 bytes that agree in the first 8.
func BenchmarkLookupClustered(b *testing.B) {
	const n = 100_000
	var rows []benchRow
	for _, test := range []struct {
		name string
		rule func(i int) Range
	}{
		{"corner", func(i int) Range {
			if i == 0 {
				return Range{From: []byte{0}, To: []byte{1}}
			}
			from := 0x4d<<56 | uint64(i)<<10
			return Range{From: binary.BigEndian.AppendUint64(nil, from), To: binary.BigEndian.AppendUint64(nil, from+0xff)}
		}},
		{"digits", func(i int) Range {
			text := fmt.Appendf(nil, "%08d", (uint64(i)*99_999_989+7)%100_000_000)
			return Range{From: text, To: text}
		}},
		{"names", func(i int) Range {
			name := append([]byte{byte('A' + i%4)}, "-server-name"...)
			name = fmt.Appendf(name, "%06x", i)
			return Range{From: name, To: name}
		}},
		{"random-32", func(i int) Range {
			rnd := rand.New(rand.NewPCG(uint64(i), 9))
			var name []byte
			for range 4 {
				name = binary.BigEndian.AppendUint64(name, rnd.Uint64())
			}
			return Range{From: name, To: name}
		}},
	} {
		rules := make([]Rule, n)
		for i := range rules {
			r := test.rule(i)
			rules[i] = Rule{Owner: "a", Range: &r}
		}
		ids := hits(n, func(i int) []byte { return benchRangesID(rules[i]) })
		rows = append(rows, benchTable(b, test.name, rules, ids, misses(0)))
	}
	printBenchTable(b, rows)
}

func BenchmarkLookupFunction(b *testing.B) {
	owners := make(map[uint32]Owner)
	for i := range uint32(1000) {
		owners[i] = Owner(fmt.Sprint("server-", i))
	}
	table, err := CompileFunction(firstByte{}, owners)
	if err != nil {
		b.Fatal(err)
	}
	ids := misses(0)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup(FieldPSK, ids.at(i))
		i++
	}
}

func BenchmarkCompileOverlapping(b *testing.B) {
	rules := append(benchRanges(100_000), benchBits(100_000, 32, tagSum)...)
	rules = append(rules, Rule{Owner: "intruder", Bits: &Bits{IDLength: 8, Offset: 4, Mask: []byte{1}, Values: [][]byte{{1}}}})
	for b.Loop() {
		if _, err := Compile(rules); err == nil {
			b.Fatal("no overlap was found")
		}
	}
}

// A benchRow is one line of the printed table.
type benchRow struct {
	name       string
	rules      int
	hit, miss  float64 // ns
	fastHit    float64 // ns, see fastestOf
	fastMiss   float64
	index, all float64 // bytes a rule
	compile    time.Duration
}

func benchTable(b *testing.B, name string, rules []Rule, hit, miss benchIDs) benchRow {
	b.Helper()
	row := benchRow{name: name, rules: len(rules)}
	before := heapInUse()
	start := time.Now()
	table := mustCompile(b, rules)
	row.compile = time.Since(start)
	n := float64(len(rules))
	row.all = max(0, float64(heapInUse())-float64(before)) / n
	row.index = float64(table.indexSize()) / n
	measure := func(kind string, ids benchIDs) (ns, fastest float64) {
		b.Run(fmt.Sprintf("%s/rules=%d/%s", name, len(rules), kind), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				table.Lookup(FieldPSK, ids.at(i))
				i++
			}
			ns = float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			fastest = fastestOf(func() {
				table.Lookup(FieldPSK, ids.at(i))
				i++
			})
			b.ReportMetric(row.index, "index-B/rule")
			b.ReportMetric(row.compile.Seconds()*1e9/n, "compile-ns/rule")
		})
		return ns, fastest
	}
	row.hit, row.fastHit = measure("hit", hit)
	row.miss, row.fastMiss = measure("miss", miss)
	return row
}

// fastestOf returns how long f takes, in ns: the fastest of many short runs,
// because whatever else the machine does only makes it slower.
func fastestOf(f func()) float64 {
	const runs, calls = 500, 500
	fastest := time.Duration(math.MaxInt64)
	for range runs {
		start := time.Now()
		for range calls {
			f()
		}
		fastest = min(fastest, time.Since(start))
	}
	return float64(fastest.Nanoseconds()) / calls
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// printBenchTable prints what benchmarks of one run found side by side. The
// lines do not look like results, so that benchstat leaves them out.
func printBenchTable(b *testing.B, rows []benchRow) {
	b.Helper()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nkind\trules\thit ns\tmiss ns\tindex B/rule\twith rules B/rule\tcompile\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.0f\t%v\t\n",
			r.name, r.rules, r.hit, r.miss, r.index, r.all, r.compile.Round(10*time.Microsecond))
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
}
