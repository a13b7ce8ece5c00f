package sealed

// This file is hot: a balancer calls a Set for every ID it sees. Budget: no
// allocation, 40 ns a generation.

import (
	"crypto/cipher"
	"fmt"
	"sync"
)

// MaxGenerations is how many generations a Set may hold. Each costs every
// lookup that does not hit before it one block of AES.
const MaxGenerations = 7

// A Generation is a mark key and what is known of the marks made with it.
type Generation struct {
	// ID is what lookups answer for a mark of this generation.
	ID uint8
	// Key is the generation's mark key.
	Key Key
	// Servers, if not 0, says that only the server numbers below it are in
	// use: a block that decrypts to another is no mark of this generation.
	// With more than one generation it should be set, because a mark of one
	// passes for a mark of another (of some server number or other) with a
	// chance of 1 / 2^32.
	Servers uint32
}

// A Set is the mark keys of the live generations of a pool. It is immutable
// and safe for concurrent use.
type Set struct {
	generations []generation
	// scratch keeps blocks for the cipher to work on: it is called through an
	// interface, so that blocks on the stack would move to the heap at each
	// lookup. A pool made that 10 ns (November 2026).
	scratch sync.Pool
}

type generation struct {
	block   cipher.Block
	highest uint32 // server number
	id      uint8
}

// scratch is the input and output of the cipher.
type scratch struct {
	in  Mark
	out [Size]byte
}

// NewSet returns the set of these generations, which are tried in the order
// given: the one that most IDs are of should be first. There must be at least
// one and at most MaxGenerations, all with different IDs and keys.
func NewSet(generations ...Generation) (*Set, error) {
	if len(generations) == 0 || len(generations) > MaxGenerations {
		return nil, fmt.Errorf("making a set of %d generations: want 1 to %d", len(generations), MaxGenerations)
	}
	s := &Set{}
	for i, g := range generations {
		for _, other := range generations[:i] {
			if other.ID == g.ID {
				return nil, fmt.Errorf("making a set: generation %d is given twice", g.ID)
			}
			if other.Key.Equal(g.Key) {
				return nil, fmt.Errorf("making a set: generations %d and %d have the same key", other.ID, g.ID)
			}
		}
		block, err := g.Key.block()
		if err != nil {
			return nil, fmt.Errorf("making a set: generation %d: %w", g.ID, err)
		}
		// Servers 0 wraps round to the highest number there is.
		s.generations = append(s.generations, generation{block: block, highest: g.Servers - 1, id: g.ID})
	}
	return s, nil
}

// Lookup reads the raw mark at the head of id. It returns the number of the
// server that made it and the generation, and false if there is none.
func (s *Set) Lookup(id []byte) (server uint32, generation uint8, ok bool) {
	if len(id) < Size {
		return 0, 0, false
	}
	w := s.work()
	copy(w.in[:], id)
	server, generation, ok = s.open(w)
	s.scratch.Put(w)
	return server, generation, ok
}

// LookupText reads the mark in text form at the head of id, as Lookup does.
func (s *Set) LookupText(id []byte) (server uint32, generation uint8, ok bool) {
	if len(id) < TextSize {
		return 0, 0, false
	}
	w := s.work()
	if decodeText(&w.in, id) {
		server, generation, ok = s.open(w)
	}
	s.scratch.Put(w)
	return server, generation, ok
}

// Generations returns in how many generations of s the number of a server may
// be found: of all 2^128 blocks, each takes 2^64 for a mark of it.
func (s *Set) Generations(server uint32) (n int) {
	for i := range s.generations {
		if server <= s.generations[i].highest {
			n++
		}
	}
	return n
}

func (s *Set) work() *scratch {
	if w, ok := s.scratch.Get().(*scratch); ok {
		return w
	}
	return new(scratch) // alloc: once a processor, and again when the collector empties the pool
}

// open tries the keys on w.in.
func (s *Set) open(w *scratch) (server uint32, generation uint8, ok bool) {
	for i := range s.generations {
		g := &s.generations[i]
		g.block.Decrypt(w.out[:], w.in[:])
		if n, ok := plainServer(&w.out); ok && n <= g.highest {
			return n, g.id, true
		}
	}
	return 0, 0, false
}
