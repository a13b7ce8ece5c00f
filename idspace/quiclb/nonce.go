package quiclb

import (
	"crypto/aes"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
)

// ErrExhausted says that a source has no nonce left. Its configuration cannot
// mint any more: the server needs another one, and until it has it may mint
// unroutable IDs ([AppendUnroutable]).
var ErrExhausted = errors.New("quiclb: nonces are used up")

// A NonceRange is a run of nonces that nobody else uses under the same key and
// server ID. It is plain data: a program that mints in several processes splits
// one range among them, and a program that is to go on after a restart stores
// what is left of its range.
type NonceRange struct {
	// First is the first nonce of the range. Its length is the nonce length. Nonces
	// are counted upwards from it, as unsigned big-endian numbers that wrap round.
	First []byte
	// Count is how many nonces the range holds, at most NonceSpace of the length.
	Count uint64
	// Scatter, if set, is the key of a permutation that every nonce is sent
	// through. Nonces then do not look like a counter, and still never repeat.
	// Plaintext configurations need it, because there everybody sees the nonces.
	// Ranges that are disjoint must have the same Scatter to have disjoint nonces.
	Scatter Key
}

// NonceSpace returns how many nonces of that length there are, and MaxUint64
// for 8 octets and more, where no program reaches the end.
func NonceSpace(length int) uint64 {
	if length >= 8 {
		return math.MaxUint64
	}
	return 1 << (8 * max(length, 0))
}

// RandomRange returns the range of all nonces of that length, beginning at a
// random one, as the draft advises. With scatter it has a random Scatter key.
func RandomRange(length int, scatter bool) NonceRange {
	r := NonceRange{First: make([]byte, length), Count: NonceSpace(length)}
	_, _ = rand.Read(r.First) // never fails: it ends the program instead
	if scatter {
		var key [KeyLength]byte
		_, _ = rand.Read(key[:])
		r.Scatter = keyOf(key)
	}
	return r
}

// Split cuts r into its first count nonces and the rest.
func (r NonceRange) Split(count uint64) (head, rest NonceRange, err error) {
	if count > r.Count {
		return head, rest, fmt.Errorf("quiclb: range holds %d nonces; %d were asked of it", r.Count, count)
	}
	var first [MaxNonceLength]byte
	if len(r.First) > len(first) {
		return head, rest, nonceLengthError(len(r.First))
	}
	addNonce(first[:len(r.First)], r.First, count)
	head, rest = r, r
	head.Count = count
	rest.First, rest.Count = append([]byte(nil), first[:len(r.First)]...), r.Count-count
	return head, rest, nil
}

// addNonce sets dst to first plus count, wrapping round. Both have one length.
func addNonce(dst, first []byte, count uint64) {
	carry := uint64(0)
	for i := len(first) - 1; i >= 0; i-- {
		sum := uint64(first[i]) + count&0xff + carry
		dst[i], carry, count = byte(sum), sum>>8, count>>8
	}
}

func nonceLengthError(length int) error {
	return fmt.Errorf("quiclb: nonce has %d octets; it has %d to %d", length, MinNonceLength, MaxNonceLength)
}

// Nonces hands out each nonce of a range once. It is safe for concurrent use and
// takes no lock.
type Nonces struct {
	// Immutable after NewNonces.
	span    NonceRange
	scatter fourPass   // block is nil without a Scatter key
	pool    *sync.Pool // of *scratch

	used atomic.Uint64 // at most a few more than span.Count
}

// NewNonces returns a source of the nonces of r, of which there must be one at least.
func NewNonces(r NonceRange) (*Nonces, error) {
	n := len(r.First)
	if n < MinNonceLength || n > MaxNonceLength {
		return nil, nonceLengthError(n)
	}
	if r.Count == 0 || r.Count > NonceSpace(n) {
		return nil, fmt.Errorf("quiclb: range holds %d nonces; with %d octets it holds 1 to %d", r.Count, n, NonceSpace(n))
	}
	s := &Nonces{span: r, pool: newScratchPool()}
	s.span.First = append([]byte(nil), r.First...)
	if !r.Scatter.IsZero() {
		block, err := aes.NewCipher(r.Scatter.reveal()[:])
		if err != nil {
			return nil, fmt.Errorf("quiclb: expanding the scatter key: %w", err)
		}
		s.scatter = newFourPass(block, n)
	}
	return s, nil
}

// Len returns the length of a nonce in octets.
func (s *Nonces) Len() int { return len(s.span.First) }

// Append appends the next nonce to dst. The error is ErrExhausted.
func (s *Nonces) Append(dst []byte) ([]byte, error) {
	// The load keeps used from running away: calls after the end do not add.
	if s.used.Load() >= s.span.Count {
		return dst, ErrExhausted
	}
	index := s.used.Add(1) - 1
	if index >= s.span.Count {
		return dst, ErrExhausted
	}
	var nonce [MaxNonceLength]byte
	n := len(s.span.First)
	addNonce(nonce[:n], s.span.First, index)
	if s.scatter.block != nil {
		scratch := s.pool.Get().(*scratch)
		copy(scratch.text[:], nonce[:n])
		s.scatter.encrypt(scratch)
		copy(nonce[:n], scratch.text[:])
		s.pool.Put(scratch)
	}
	return append(dst, nonce[:n]...), nil
}

// Left returns how many nonces are left.
func (s *Nonces) Left() uint64 { return s.span.Count - min(s.used.Load(), s.span.Count) }

// Rest returns the range of the nonces that are left; its Count may be 0. A
// program that stores it must not use s after it, or must first Split off and
// store away what it is going to use.
func (s *Nonces) Rest() NonceRange {
	// Split cannot fail: the length was checked, and used is bounded here.
	_, rest, _ := s.span.Split(min(s.used.Load(), s.span.Count))
	return rest
}
