package idspace

import (
	"bytes"
	"testing"
)

// rulesOf reads rules and an ID from arbitrary bytes. It makes mistakes in
// rules possible, but not common.
func rulesOf(data []byte) (rules []Rule, id []byte) {
	next := func(n int) []byte {
		n = min(n, len(data))
		b := data[:n:n]
		data = data[n:]
		return b
	}
	one := func() int {
		if b := next(1); len(b) == 1 {
			return int(b[0])
		}
		return 0
	}
	for range one() % 8 {
		kind, fields := one(), one()
		r := Rule{Owner: Owner(rune('a' + kind>>5)), Fields: FieldSet(fields) & 7 << 1, Generation: uint8(fields >> 5)}
		size := one() % 36
		if kind%2 == 0 {
			r.Range = &Range{From: next(size), To: next(size)}
		} else {
			b := &Bits{FromEnd: kind&2 != 0, Offset: one() % 40, Mask: next(size)}
			if kind&4 != 0 {
				b.IDLength = b.Offset + size + one()%3
			}
			for range 1 + kind>>3&3 {
				v := next(size)
				if kind&0x18 != 0 && len(v) == len(b.Mask) {
					v = maskBytes(v, b.Mask)
				}
				b.Values = append(b.Values, v)
			}
			r.Bits = b
		}
		rules = append(rules, r)
	}
	return rules, data
}

// FuzzCompile compiles arbitrary rules. What compiles must answer as the twin
// does, what overlaps must have witnesses that the twin confirms, and the rest
// must name a mistake.
func FuzzCompile(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x02\x00\x00\x04\x4d\x00\x00\x00\x4d\x00\x00\xff\x21\x00\x02\x00\xff\xff\x4d\x4d\x4d\x00\x00\x42"))
	f.Add([]byte("\x02\x01\x00\x02\x00a-a-\x23\x00\x02\x00\xff\xff-ba--b"))
	f.Add([]byte("\x01\x05\x02\x03\x02\xf0\x00\x0f\x01\x10\x00\x01hello"))
	f.Add(append([]byte("\x03\x00\x00\x20"), bytes.Repeat([]byte{1, 2, 3}, 60)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, id := rulesOf(data)
		for _, r := range rules {
			_ = r.String()
		}
		table, err := Compile(rules)
		if err != nil {
			_ = err.Error()
			for _, o := range overlapsOf(err) {
				checkWitness(t, rules, o)
			}
			return
		}
		for f := FieldNone; f <= fieldCount; f++ {
			for n := range len(id) + 1 {
				want, wantOK := Match{}, false
				if f < fieldCount {
					want, wantOK = twinLookup(rules, f, id[:n])
				}
				if got, ok := table.Lookup(f, id[:n]); got != want || ok != wantOK {
					t.Fatalf("%v: Lookup(%v, %x) = %+v, %v; want %+v, %v", rules, f, id[:n], got, ok, want, wantOK)
				}
			}
			if total := table.AssignedShare(f); total < 0 || total > 1 {
				t.Fatalf("%v: assigns %v in %v", rules, total, f)
			}
		}
	})
}

// FuzzOverlap compiles two arbitrary rules of a few bytes and compares what is
// said of them with the twin.
func FuzzOverlap(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x02\x10\xff\x11\x01\x21\x00\x02\x00\x00\xff\x00\x80"))
	f.Add([]byte("\x02\x01\x00\x02\x00\xff\xffa-\x23\x00\x02\x00\xff\xff-b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, _ := rulesOf(data)
		if len(rules) != 2 {
			return
		}
		for _, r := range rules {
			if b := r.Bits; b != nil && (len(b.Mask) > 8 || b.Offset > 8) {
				return // the twin would take too long
			}
			if _, err := Compile([]Rule{r}); err != nil {
				return
			}
		}
		_, err := Compile(rules)
		// Ranges reach 32 bytes, bits 16, twice if one counts from the end.
		if got, want := err != nil, twinOverlap(rules[0], rules[1], 48); got != want {
			t.Fatalf("%v: got %v; the twin says %v", rules, err, want)
		}
	})
}
