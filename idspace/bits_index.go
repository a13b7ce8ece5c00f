package idspace

// This file is hot: a balancer runs find for every ID that it sees, once for
// every shape. Budget: no allocation; a shape that does not match costs a few
// nanoseconds.

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// A bitsIndex finds the value of one shape that an ID has. It is immutable.
type bitsIndex struct {
	minLen, maxLen int
	at             int
	fromEnd        bool
	// fixedMask and fixedValue are the bits of the first word of the window
	// that are equal in all values. Shapes are disjoint, so it is common that
	// some bits tell all values of one shape from all of another.
	fixedMask, fixedValue uint64
	mask                  word256
	values                wordTable
}

func newBitsIndex(g *bitsGroup, hash wordHash, meta func(rule int32) uint64) bitsIndex {
	fixedMask, fixedValue := g.fixedBits()
	x := bitsIndex{
		minLen:     g.shape.minLen,
		maxLen:     g.shape.maxLen,
		at:         g.shape.at,
		fromEnd:    g.shape.fromEnd,
		fixedMask:  fixedMask[0],
		fixedValue: fixedValue[0],
		mask:       g.shape.mask,
		values:     newWordTable((g.shape.size+7)/8, len(g.entries), hash),
	}
	for i := range g.entries {
		x.values.insert(&g.entries[i].value, meta(g.entries[i].rule))
	}
	return x
}

// find returns what was stored with the value that id has.
func (x *bitsIndex) find(id []byte) (meta uint64, ok bool) {
	if len(id) < x.minLen || len(id) > x.maxLen {
		return 0, false
	}
	at := x.at
	if x.fromEnd {
		at = len(id) - at
	}
	first := wordAt(id, at) & x.mask[0]
	if first&x.fixedMask != x.fixedValue {
		return 0, false
	}
	if x.values.words == 1 {
		return x.values.find1(first)
	}
	key := word256{first}
	for i := 1; i < x.values.words; i++ {
		key[i] = wordAt(id, at+8*i) & x.mask[i]
	}
	return x.values.find(&key)
}

func (x *bitsIndex) size() int { return 4*len(x.values.slots) + 8*len(x.values.entries) }

// A wordTable is a hash table with open addressing, from keys of one to four
// words to one word. A slot holds 8 bits of the hash beside the position of
// the entry, so that a key that is absent is nearly always found out without
// touching the entries. The slots of a million entries take 8 MiB.
type wordTable struct {
	hash    wordHash
	words   int      // of a key
	shift   int      // 64 - log2(len(slots))
	slots   []uint32 // 0: empty; else tag<<24 | position of the entry + 1
	entries []uint64 // words of the key, and what is stored with it
}

const (
	slotTagShift = 24
	slotPosition = 1<<slotTagShift - 1
	// maxWordTableEntries is how many entries the positions in slots reach.
	maxWordTableEntries = slotPosition
)

// newWordTable returns a table with room for n entries with keys of that many
// words. It is at most half full, which keeps runs of occupied slots short.
func newWordTable(words, n int, hash wordHash) wordTable {
	log := bits.Len(uint(2*max(n, 1) - 1))
	return wordTable{
		hash:    hash,
		words:   words,
		shift:   64 - log,
		slots:   make([]uint32, 1<<log),
		entries: make([]uint64, 0, n*(words+1)),
	}
}

// insert stores meta with key, unless something is stored with it.
func (t *wordTable) insert(key *word256, meta uint64) {
	if _, ok := t.find(key); ok {
		return
	}
	t.entries = append(t.entries, key[:t.words]...)
	t.entries = append(t.entries, meta)
	position := uint32(len(t.entries) / (t.words + 1)) // at most maxWordTableEntries
	h := t.hash.sum(key, t.words)
	i := h >> t.shift
	for t.slots[i] != 0 {
		i = (i + 1) & uint64(len(t.slots)-1)
	}
	t.slots[i] = uint32(h)<<slotTagShift | position
}

// find returns what is stored with key.
func (t *wordTable) find(key *word256) (meta uint64, ok bool) {
	h := t.hash.sum(key, t.words)
	tag := uint32(h) << slotTagShift
	for i := h >> t.shift; ; i++ {
		slot := t.slots[i&uint64(len(t.slots)-1)]
		if slot == 0 {
			return 0, false
		}
		if slot&^slotPosition != tag {
			continue
		}
		if entry := t.entry(slot); equalWords(entry, key) {
			return entry[len(entry)-1], true
		}
	}
}

// find1 is find for keys of one word, which most shapes have.
func (t *wordTable) find1(key uint64) (meta uint64, ok bool) {
	h := t.hash.sum1(key)
	tag := uint32(h) << slotTagShift
	for i := h >> t.shift; ; i++ {
		slot := t.slots[i&uint64(len(t.slots)-1)]
		if slot == 0 {
			return 0, false
		}
		if slot&^slotPosition != tag {
			continue
		}
		if p := 2 * (slot&slotPosition - 1); t.entries[p] == key {
			return t.entries[p+1], true
		}
	}
}

// entry returns the key and what is stored with it.
func (t *wordTable) entry(slot uint32) []uint64 {
	stride := t.words + 1
	p := int(slot&slotPosition-1) * stride
	return t.entries[p : p+stride]
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
// the longest run of occupied slots, and without the key, which is new in each
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
