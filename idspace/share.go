package idspace

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
)

// A Share is how much of the space of IDs is assigned, exactly. The share of a
// space is the chance that an ID of random bytes lies in it: the share of a
// range of N bytes is the count of its values by 256^N, and that of bits the
// count of their values by 2 to the number of bits in the mask.
//
// Whether a rule can match depends on the length of the ID. For one length,
// spaces are disjoint, and the shares of the owners sum up to the total. Over
// all lengths, the total is that of the length for which it is largest, and so
// is each owner's. These sum up to more than the total if rules state
// different lengths, and to the total if none does.
type Share struct {
	// Total is the share that is assigned to anybody, 0 to 1. What is left is
	// nobody's.
	Total *big.Rat
	// Owners is the share of each owner; the index is that of Table.Owners.
	// It is nil if a function that is no Sharer decides: then nothing is
	// known, and Total is 1.
	Owners []*big.Rat
}

// Share returns what is assigned in a field, over all lengths of IDs. It walks
// all rules, once for each length that a rule states.
func (t *Table) Share(field Field) Share {
	if t.function != nil {
		return t.function.share(field)
	}
	share := newShareSums(len(t.owners))
	for _, length := range t.lengths(field) {
		share.largest(t.shareSums(field, length))
	}
	return share.rats()
}

// ShareOfLength returns what is assigned in a field of IDs of exactly length
// bytes. A function is not asked about lengths: its answer is that of Share.
func (t *Table) ShareOfLength(field Field, length int) Share {
	if t.function != nil {
		return t.function.share(field)
	}
	return t.shareSums(field, length).rats()
}

// LargestShare returns, in total and for each owner, the largest share that
// Share returns for any field.
func (t *Table) LargestShare() Share {
	if t.function != nil {
		return t.function.largestShare()
	}
	share := newShareSums(len(t.owners))
	for _, class := range t.classes {
		for _, length := range t.lengths(class.fields[0]) {
			share.largest(t.shareSums(class.fields[0], length))
		}
	}
	return share.rats()
}

// AssignedShare returns the total of Share as the next float64 that is not
// less, so that it is safe to ask whether it is below a threshold. It was
// computed when the table was compiled, and costs nothing.
func (t *Table) AssignedShare(field Field) float64 {
	if field >= fieldCount {
		return 0
	}
	return t.assigned[field]
}

// floatUp returns the least float64 that is not less than r.
func floatUp(r *big.Rat) float64 {
	f, exact := r.Float64()
	if !exact && new(big.Rat).SetFloat64(f).Cmp(r) < 0 {
		return math.Nextafter(f, math.Inf(1))
	}
	return f
}

// lengths returns the lengths among which there is one with the largest share:
// those that rules state, and one that is long enough for all others.
func (t *Table) lengths(field Field) []int {
	lengths := []int{anyLength}
	seen := make(map[int]struct{})
	for i := range t.rules {
		r := &t.rules[i]
		if r.Bits == nil || r.Bits.IDLength == 0 || !r.Fields.Has(field) {
			continue
		}
		if _, ok := seen[r.Bits.IDLength]; !ok {
			seen[r.Bits.IDLength] = struct{}{}
			lengths = append(lengths, r.Bits.IDLength)
		}
	}
	return lengths
}

// shareSums adds up the shares of the rules that apply to IDs of that length.
func (t *Table) shareSums(field Field, length int) shareSums {
	sums := newShareSums(len(t.owners))
	if field == FieldNone || field >= fieldCount {
		return sums
	}
	for i := range t.rules {
		r := &t.rules[i]
		if !r.Fields.Has(field) {
			continue
		}
		var s shareSum
		switch {
		case r.Range != nil && len(r.Range.From) <= length:
			s.addRange(r.Range)
		case r.Bits != nil && r.Bits.Offset+len(r.Bits.Mask) <= length &&
			(r.Bits.IDLength == 0 || r.Bits.IDLength == length):
			s.addBits(r.Bits)
		default:
			continue
		}
		sums.total.add(s)
		sums.owners[t.ruleOwners[i]].add(s)
	}
	return sums
}

// shareSums is a Share while it is being added up.
type shareSums struct {
	total  shareSum
	owners []shareSum
}

func newShareSums(owners int) shareSums { return shareSums{owners: make([]shareSum, owners)} }

// largest keeps the larger of s and o, in total and for each owner.
func (s *shareSums) largest(o shareSums) {
	s.total = maxShare(s.total, o.total)
	for i := range s.owners {
		s.owners[i] = maxShare(s.owners[i], o.owners[i])
	}
}

func (s shareSums) rats() Share {
	share := Share{Total: s.total.rat(), Owners: make([]*big.Rat, len(s.owners))}
	for i := range s.owners {
		share.Owners[i] = s.owners[i].rat()
	}
	return share
}

// A shareSum is a sum of shares in units of 2^-256, most significant word
// first. All shares are whole numbers of these, and 1 takes the 257th bit.
type shareSum [5]uint64

func (s *shareSum) add(o shareSum) {
	var carry uint64
	for i := len(s) - 1; i >= 0; i-- {
		s[i], carry = bits.Add64(s[i], o[i], carry)
	}
}

func (s *shareSum) addRange(r *Range) {
	e := r.entry(0)
	var count, one shareSum
	var borrow uint64
	for i := len(e.to) - 1; i >= 0; i-- {
		count[i+1], borrow = bits.Sub64(e.to[i], e.from[i], borrow)
	}
	one[len(one)-1] = 1
	s.add(count)
	s.add(one)
}

func (s *shareSum) addBits(b *Bits) {
	// 2^(256-n) as a shareSum has the bit set that is n+63 bits from the top.
	bit := load256(b.Mask).onesCount() + 63
	word, shift := bit/64, 63-bit%64
	var count shareSum
	count[word] = uint64(len(b.Values)) << shift
	if word > 0 {
		count[word-1] = uint64(len(b.Values)) >> (64 - shift)
	}
	s.add(count)
}

func maxShare(a, b shareSum) shareSum {
	if slices.Compare(a[:], b[:]) < 0 {
		return b
	}
	return a
}

func (s *shareSum) rat() *big.Rat {
	num := new(big.Int)
	for _, w := range s {
		num.Lsh(num, 64).Or(num, new(big.Int).SetUint64(w))
	}
	return new(big.Rat).SetFrac(num, new(big.Int).Lsh(big.NewInt(1), word256Bits))
}
