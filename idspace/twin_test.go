package idspace

// The obviously correct slow twins that tests compare the real thing with.
// They share no code with it but the types of the package.

import (
	"math/big"
)

// twinField reports whether r says anything about field.
func twinField(r Rule, field Field) bool {
	if field == FieldNone {
		return false
	}
	return r.Fields == 0 || r.Fields>>field&1 == 1
}

// twinMatches is Rule.Matches, with big numbers and bit by bit.
func twinMatches(r Rule, field Field, id []byte) bool {
	if !twinField(r, field) {
		return false
	}
	if r.Range != nil {
		n := len(r.Range.From)
		if len(id) < n {
			return false
		}
		from, to, x := new(big.Int), new(big.Int), new(big.Int)
		from.SetBytes(r.Range.From)
		to.SetBytes(r.Range.To)
		x.SetBytes(id[:n])
		return from.Cmp(x) <= 0 && x.Cmp(to) <= 0
	}
	for _, value := range r.Bits.Values {
		if twinMatchesValue(r.Bits, value, id) {
			return true
		}
	}
	return false
}

func twinMatchesValue(b *Bits, value, id []byte) bool {
	bits, ok := twinBits(b, value, len(id))
	if !ok {
		return false
	}
	for i, want := range bits {
		if got := id[i/8] >> (7 - i%8) & 1; got != want {
			return false
		}
	}
	return true
}

// twinBits returns what b with one value demands of the bits of IDs of that
// length, false if it does not apply to these.
func twinBits(b *Bits, value []byte, length int) (map[int]byte, bool) {
	if b.IDLength != 0 && b.IDLength != length {
		return nil, false
	}
	first := b.Offset
	if b.FromEnd {
		first = length - b.Offset - len(b.Mask)
	}
	if first < 0 || first+len(b.Mask) > length {
		return nil, false
	}
	if !b.FromEnd && b.Offset+len(b.Mask) > length {
		return nil, false
	}
	bits := make(map[int]byte)
	for i := range 8 * len(b.Mask) {
		if b.Mask[i/8]>>(7-i%8)&1 == 1 {
			bits[8*first+i] = value[i/8] >> (7 - i%8) & 1
		}
	}
	return bits, true
}

// twinLookup returns the first rule that matches.
func twinLookup(rules []Rule, field Field, id []byte) (Match, bool) {
	var owners []Owner
	position := func(o Owner) int32 {
		for i := range owners {
			if owners[i] == o {
				return int32(i)
			}
		}
		owners = append(owners, o)
		return int32(len(owners) - 1)
	}
	for i, r := range rules {
		owner := position(r.Owner)
		if twinMatches(r, field, id) {
			return Match{Owner: owner, Rule: int32(i), Generation: r.Generation}, true
		}
	}
	return Match{}, false
}

// twinOverlap reports whether some ID of at most maxLength bytes in some field
// lies in both spaces. For each length it walks the bits of an ID and keeps the
// set of states that can be reached: for each range, whether the bits so far
// equal those of its lower and of its upper bound.
func twinOverlap(a, b Rule, maxLength int) bool {
	common := false
	for f := FieldPSK; f < fieldCount; f++ {
		common = common || twinField(a, f) && twinField(b, f)
	}
	if !common {
		return false
	}
	for length := range maxLength + 1 {
		for _, x := range twinDemands(a, length) {
			for _, y := range twinDemands(b, length) {
				if twinSatisfiable(x, y, length) {
					return true
				}
			}
		}
	}
	return false
}

// twinListsTwice reports whether r lists a value twice.
func twinListsTwice(r Rule) bool {
	if r.Bits == nil {
		return false
	}
	for i, v := range r.Bits.Values {
		for _, w := range r.Bits.Values[:i] {
			if string(v) == string(w) {
				return true
			}
		}
	}
	return false
}

// A twinDemand is what a range, or one value, demands of an ID.
type twinDemand struct {
	from, to []byte       // nil: no range
	bits     map[int]byte // nil: no bits
}

func twinDemands(r Rule, length int) (demands []twinDemand) {
	if r.Range != nil {
		if len(r.Range.From) <= length {
			demands = append(demands, twinDemand{from: r.Range.From, to: r.Range.To})
		}
		return demands
	}
	for _, v := range r.Bits.Values {
		if bits, ok := twinBits(r.Bits, v, length); ok {
			demands = append(demands, twinDemand{bits: bits})
		}
	}
	return demands
}

// twinState says for both demands whether the ID equals the lower and the
// upper bound so far.
type twinState struct{ low, high [2]bool }

func twinSatisfiable(a, b twinDemand, length int) bool {
	states := map[twinState]bool{{low: [2]bool{true, true}, high: [2]bool{true, true}}: true}
	for i := range 8 * length {
		next := make(map[twinState]bool)
		for s := range states {
			for bit := range byte(2) {
				n, ok := s, true
				for k, d := range []twinDemand{a, b} {
					if want, fixed := d.bits[i]; fixed && want != bit {
						ok = false
					}
					if i >= 8*len(d.from) {
						continue
					}
					from, to := d.from[i/8]>>(7-i%8)&1, d.to[i/8]>>(7-i%8)&1
					if s.low[k] && bit < from || s.high[k] && bit > to {
						ok = false
					}
					n.low[k] = s.low[k] && bit == from
					n.high[k] = s.high[k] && bit == to
				}
				if ok {
					next[n] = true
				}
			}
		}
		states = next
	}
	return len(states) > 0
}
