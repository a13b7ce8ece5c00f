package idspace

import (
	"slices"

	"pgregory.net/rapid"
)

// genByte draws bytes that collide, and neighbour each other, often.
func genByte() *rapid.Generator[byte] {
	return rapid.OneOf(
		rapid.SampledFrom([]byte{0x00, 0x01, 0x02, 0x7f, 0x80, 0xfe, 0xff}),
		rapid.Byte(),
	)
}

func genBytes(n int) *rapid.Generator[[]byte] { return rapid.SliceOfN(genByte(), n, n) }

// ruleLimits says how large the rules are that genRule draws.
type ruleLimits struct{ maxSize, maxOffset, maxValues int }

// reach is a length of IDs such that two rules that overlap do so in an ID
// that is not longer.
func (l ruleLimits) reach() int { return 2 * (l.maxSize + l.maxOffset) }

func genRule(l ruleLimits) *rapid.Generator[Rule] {
	return rapid.Custom(func(t *rapid.T) Rule {
		r := Rule{
			Owner:      rapid.SampledFrom([]Owner{"a", "b", "c"}).Draw(t, "owner"),
			Generation: rapid.Uint8Range(0, 6).Draw(t, "generation"),
			Fields: rapid.SampledFrom([]FieldSet{
				0, 0, 0, Fields(FieldTicket), Fields(FieldCookie), Fields(FieldTicket, FieldSessionID),
			}).Draw(t, "fields"),
		}
		if rapid.Bool().Draw(t, "is range") {
			r.Range = genRange(l).Draw(t, "range")
		} else {
			r.Bits = genBits(l).Draw(t, "bits")
		}
		return r
	})
}

func genRange(l ruleLimits) *rapid.Generator[*Range] {
	return rapid.Custom(func(t *rapid.T) *Range {
		n := rapid.IntRange(1, l.maxSize).Draw(t, "size")
		from, to := genBytes(n).Draw(t, "from"), genBytes(n).Draw(t, "to")
		if rapid.Bool().Draw(t, "narrow") {
			copy(to, from[:rapid.IntRange(0, n).Draw(t, "common")])
		}
		if slices.Compare(from, to) > 0 {
			from, to = to, from
		}
		return &Range{From: from, To: to}
	})
}

func genBits(l ruleLimits) *rapid.Generator[*Bits] {
	return rapid.Custom(func(t *rapid.T) *Bits {
		n := rapid.IntRange(1, l.maxSize).Draw(t, "size")
		b := &Bits{
			Offset:  rapid.IntRange(0, l.maxOffset).Draw(t, "offset"),
			FromEnd: rapid.Bool().Draw(t, "from end"),
			Mask:    genBytes(n).Filter(func(m []byte) bool { return slices.Max(m) > 0 }).Draw(t, "mask"),
		}
		if rapid.Bool().Draw(t, "fixed length") {
			b.IDLength = b.Offset + n + rapid.IntRange(0, 2).Draw(t, "more")
		}
		for range rapid.IntRange(1, l.maxValues).Draw(t, "values") {
			b.Values = append(b.Values, maskBytes(genBytes(n).Draw(t, "value"), b.Mask))
		}
		return b
	})
}

// genField draws fields among which bindings of genRule tell.
func genField() *rapid.Generator[Field] {
	return rapid.SampledFrom([]Field{FieldTicket, FieldCookie, FieldSessionID, FieldPSK})
}

// genDisjoint draws rules that the twin finds disjoint.
func genDisjoint(l ruleLimits, n int) *rapid.Generator[[]Rule] {
	return rapid.Custom(func(t *rapid.T) []Rule {
		var rules []Rule
	next:
		for range n {
			r := genRule(l).Draw(t, "rule")
			if twinListsTwice(r) {
				continue
			}
			for _, other := range rules {
				if twinOverlap(r, other, l.reach()) {
					continue next
				}
			}
			rules = append(rules, r)
		}
		return rules
	})
}

// genID draws IDs near the edges of rules: a bound or value with a bit or a
// byte changed, cut or continued.
func genID(rules []Rule) *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		id := genBytes(rapid.IntRange(0, 12).Draw(t, "length")).Draw(t, "id")
		if len(rules) == 0 {
			return id
		}
		r := rapid.SampledFrom(rules).Draw(t, "near")
		switch {
		case r.Range != nil:
			bound := rapid.SampledFrom([][]byte{r.Range.From, r.Range.To}).Draw(t, "bound")
			id = append(slices.Clone(bound), id...)
		default:
			b := r.Bits
			length := max(b.IDLength, b.Offset+len(b.Mask)+len(id)%3)
			id = append(id, make([]byte, length)...)[:length]
			at := b.Offset
			if b.FromEnd {
				at = length - b.Offset - len(b.Mask)
			}
			value := rapid.SampledFrom(b.Values).Draw(t, "value")
			for i, m := range b.Mask {
				id[at+i] = id[at+i]&^m | value[i]
			}
		}
		switch rapid.IntRange(0, 4).Draw(t, "change") {
		case 0:
			id[rapid.IntRange(0, len(id)-1).Draw(t, "where")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case 1: // the next number
			for i := len(id) - 1; i >= 0; i-- {
				id[i]++
				if id[i] != 0 {
					break
				}
			}
		case 2: // the number before
			for i := len(id) - 1; i >= 0; i-- {
				id[i]--
				if id[i] != 0xff {
					break
				}
			}
		case 3:
			id = id[:rapid.IntRange(0, len(id)).Draw(t, "cut")]
		}
		return id
	})
}
