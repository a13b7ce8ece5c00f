package idspace

// This file is hot: a balancer runs findBits for every ID that it sees. Budget:
// no allocation; a shape that does not match costs a few nanoseconds.

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"math/bits"
)

// A bitsIndex finds the value of one shape that an ID has. It is immutable.
type bitsIndex struct {
	minLen, maxLen int
	at             int
	fromEnd        bool
	filter         byteFilter
	mask           word256
	values         wordTable
}

func newBitsIndex(g *bitsGroup, hash wordHash, meta func(rule int32) uint64) bitsIndex {
	x := bitsIndex{
		minLen:  g.shape.minLen,
		maxLen:  g.shape.maxLen,
		at:      g.shape.at,
		fromEnd: g.shape.fromEnd,
		filter:  newByteFilter(g),
		mask:    g.shape.mask,
		values:  newWordTable((g.shape.size+7)/8, len(g.entries), hash),
	}
	for i := range g.entries {
		x.values.insert(&g.entries[i].value, meta(g.entries[i].rule))
	}
	return x
}

// A byteFilter knows all values of one byte of a window. Shapes of one table
// are disjoint, and what keeps them apart is often a byte that is the same, or
// one of a few, in all values of a shape: then the others are out of the way
// for the price of reading it.
type byteFilter struct {
	at   int // in the window
	mask byte
	has  [4]uint64 // a bit for each value
}

// newByteFilter returns the filter of the byte which lets the fewest IDs pass.
func newByteFilter(g *bitsGroup) (best byteFilter) {
	least := math.Inf(1)
	for at := range g.shape.size {
		word, shift := at/8, 56-8*(at%8)
		f := byteFilter{at: at, mask: byte(g.shape.mask[word] >> shift)}
		for i := range g.entries {
			f.add(byte(g.entries[i].value[word] >> shift))
		}
		if pass := f.pass(); pass < least {
			best, least = f, pass
		}
	}
	return best
}

func (f *byteFilter) add(c byte) { f.has[c>>6] |= 1 << (c & 63) }

func (f *byteFilter) passes(c byte) bool {
	c &= f.mask
	return f.has[c>>6]>>(c&63)&1 != 0
}

// pass returns the share of all bytes that pass.
func (f *byteFilter) pass() float64 {
	n := 0
	for _, w := range f.has {
		n += bits.OnesCount64(w)
	}
	return math.Ldexp(float64(n), -bits.OnesCount8(f.mask))
}

// findBits returns what was stored with the value that id has, in the first
// shape in which it has one.
func findBits(shapes []bitsIndex, id []byte) (meta uint64, ok bool) {
	for i := range shapes {
		x := &shapes[i]
		if len(id) < x.minLen || len(id) > x.maxLen {
			continue
		}
		at := x.at
		if x.fromEnd {
			at = len(id) - at
		}
		if !x.filter.passes(id[at+x.filter.at]) {
			continue
		}
		first := wordAt(id, at) & x.mask[0]
		if x.values.words == 1 {
			meta, ok = x.values.find1(first)
		} else {
			meta, ok = x.findLong(id, at, first)
		}
		if ok {
			return meta, true
		}
	}
	return 0, false
}

// findLong looks up a window of more than one word.
func (x *bitsIndex) findLong(id []byte, at int, first uint64) (meta uint64, ok bool) {
	key := word256{first}
	for i := 1; i < x.values.words; i++ {
		key[i] = wordAt(id, at+8*i) & x.mask[i]
	}
	return x.values.find(&key)
}

func (x *bitsIndex) size() int { return 32*len(x.values.groups) + 8*len(x.values.entries) }

// A wordTable is a hash table with open addressing, from keys of one to four
// words to one word. Its slots are in groups of 8, of half a cache line each.
// A slot has 8 bits of the hash and the position of the entry; those bits of a
// group are compared all at once, so that a key that is absent is nearly always
// found out by reading one group, without a branch that depends on chance: with
// many shapes, such branches cost more than the memory does.
type wordTable struct {
	hash    wordHash
	words   int // of a key
	shift   int // 64 - log2(len(groups))
	groups  []slotGroup
	entries []uint64 // words of the key, and what is stored with it
}

// A slotGroup is 8 slots. The first word has a byte for each: 0 if the slot is
// empty, else slotUsed and 7 bits of the hash. The second has bits 16 to 23 of
// each position, and the others bits 0 to 15 of four each.
type slotGroup [4]uint64

const (
	slotUsed = 0x80
	slotTag  = 0x7f
	// eachSlot times a byte is that byte in all slots.
	eachSlot = 0x0101010101010101
	// maxWordTableEntries is how many entries the positions in slots reach.
	maxWordTableEntries = 1 << 24
)

// matching returns the slots that have the tag of hash, as slotUsed in their
// bytes. Rarely there are others among them, above one that has it.
func (g *slotGroup) matching(hash uint64) uint64 {
	different := g[0] ^ (slotUsed|hash&slotTag)*eachSlot
	return (different - eachSlot) &^ different & (slotUsed * eachSlot)
}

// empty returns the slots that are empty.
func (g *slotGroup) empty() uint64 { return ^g[0] & (slotUsed * eachSlot) }

// position returns the position in the first of the slots.
func (g *slotGroup) position(slots uint64) int {
	i := bits.TrailingZeros64(slots) / 8
	return int(g[1]>>(8*i)&0xff<<16 | g[2+i/4]>>(16*(i%4))&0xffff)
}

// set fills the first of the slots.
func (g *slotGroup) set(slots, hash uint64, position int) {
	i := bits.TrailingZeros64(slots) / 8
	g[0] |= (slotUsed | hash&slotTag) << (8 * i)
	g[1] |= uint64(position) >> 16 << (8 * i)
	g[2+i/4] |= uint64(position) & 0xffff << (16 * (i % 4))
}

// newWordTable returns a table with room for n entries with keys of that many
// words. It is at most half full, so that few groups are.
func newWordTable(words, n int, hash wordHash) wordTable {
	log := bits.Len(uint(max(n, 1)-1) / 4)
	return wordTable{
		hash:    hash,
		words:   words,
		shift:   64 - log,
		groups:  make([]slotGroup, 1<<log),
		entries: make([]uint64, 0, n*(words+1)),
	}
}

// insert stores meta with key, unless something is stored with it.
func (t *wordTable) insert(key *word256, meta uint64) {
	if _, ok := t.find(key); ok {
		return
	}
	position := len(t.entries) / (t.words + 1)
	t.entries = append(t.entries, key[:t.words]...)
	t.entries = append(t.entries, meta)
	h := t.hash.sum(key, t.words)
	i := h >> t.shift
	for t.group(i).empty() == 0 {
		i++
	}
	t.group(i).set(t.group(i).empty(), h, position)
}

// group returns the i-th group, counting round.
func (t *wordTable) group(i uint64) *slotGroup { return &t.groups[i&uint64(len(t.groups)-1)] }

// find returns what is stored with key.
func (t *wordTable) find(key *word256) (meta uint64, ok bool) {
	h := t.hash.sum(key, t.words)
	for i := h >> t.shift; ; i++ {
		g := t.group(i)
		for slots := g.matching(h); slots != 0; slots &= slots - 1 {
			if entry := t.entry(g.position(slots)); equalWords(entry, key) {
				return entry[len(entry)-1], true
			}
		}
		if g.empty() != 0 {
			return 0, false
		}
	}
}

// find1 is find for keys of one word, which most shapes have.
func (t *wordTable) find1(key uint64) (meta uint64, ok bool) {
	h := t.hash.sum1(key)
	for i := h >> t.shift; ; i++ {
		g := t.group(i)
		for slots := g.matching(h); slots != 0; slots &= slots - 1 {
			if p := 2 * g.position(slots); t.entries[p] == key {
				return t.entries[p+1], true
			}
		}
		if g.empty() != 0 {
			return 0, false
		}
	}
}

// entry returns the key and what is stored with it.
func (t *wordTable) entry(position int) []uint64 {
	stride := t.words + 1
	return t.entries[position*stride:][:stride]
}

func equalWords(entry []uint64, key *word256) bool {
	for i, w := range entry[:len(entry)-1] {
		if w != key[i] {
			return false
		}
	}
	return true
}

// A wordHash is a keyed hash of words: each round multiplies to 128 bits and
// folds these. It is no cryptographic hash. It need not be: nobody but the
// configuration inserts, so that all an attacker could gain from collisions is
// the longest run of full groups, and without the key, which is new in each
// table and never leaves the process, he cannot aim at that either.
type wordHash [3]uint64

func newWordHash() (h wordHash) {
	var seed [24]byte
	rand.Read(seed[:]) // never fails
	for i := range h {
		h[i] = binary.NativeEndian.Uint64(seed[8*i:]) | 1
	}
	return h
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func (h *wordHash) sum1(w uint64) uint64 { return fold(fold(w^h[0], h[1]), h[2]) }

func (h *wordHash) sum(key *word256, words int) uint64 {
	s := fold(key[0]^h[0], h[1])
	for i := 1; i < words; i++ {
		s = fold(key[i]^h[0]^s, h[1])
	}
	return fold(s, h[2])
}
