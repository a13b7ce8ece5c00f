package idspace

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/mintmark/mintmark/idspace/sealed"
)

// Errors of Mint and of assignments.
var (
	// ErrNotMember is the error of an owner that may not mint.
	ErrNotMember = errors.New("it is no member of the plan")
	// ErrNothingToMint is the error of a member that has no space in the
	// generation that is minted, because its reserve was used up: its space is
	// in the generation that is prepared.
	ErrNothingToMint = errors.New("it has no space until the prepared generation is minted")
	// ErrNoPrefix is the error of asking for a prefix of which the owner does
	// not own all IDs.
	ErrNoPrefix = errors.New("no prefix of that length is the owner's alone")
)

// KeyNameSize is the size of the key name of a TLS session ticket (RFC 5077,
// section 4), with which the tickets of stock servers begin.
const KeyNameSize = 16

// An Assignment is what an owner must mint now. It is immutable and safe for
// concurrent use.
type Assignment struct {
	// Owner is whose it is.
	Owner Owner
	// Kind is the scheme of the plan.
	Kind SchemeKind
	// Generation is the number of the generation that is minted.
	Generation uint64
	// MarkBits is the length of marks in bits; 128 for sealed.
	MarkBits int
	// Spaces are the owner's spaces in it; there is at least one.
	Spaces []Space
	// Key is the mark key, of sealed. Who computes names for others keeps it.
	Key sealed.Key

	mask []byte // of ranges and bits
}

// Mint returns what owner must mint now. The error is ErrNotMember or
// ErrNothingToMint.
func (p *Plan) Mint(owner Owner) (*Assignment, error) {
	if !p.isMember(owner) {
		return nil, fmt.Errorf("minting for %q: %w", owner, ErrNotMember)
	}
	g := p.minting()
	a := &Assignment{Owner: owner, Kind: p.scheme.Kind, Generation: g.number, MarkBits: g.idBits(), Key: g.key}
	for _, s := range g.spans {
		if s.owner == owner && !s.retired {
			a.Spaces = append(a.Spaces, p.space(g, s, SpaceMinting))
		}
	}
	if len(a.Spaces) == 0 {
		return nil, fmt.Errorf("minting for %q: %w", owner, ErrNothingToMint)
	}
	if p.scheme.Kind != SchemeSealed {
		a.mask = g.mask()
	}
	return a, nil
}

// MarkBytes returns how many bytes a mark reaches into.
func (a *Assignment) MarkBytes() int { return (a.MarkBits + 7) / 8 }

// AppendMark appends a new mark of the owner, MarkBytes long: sealed, or a
// random one of its values, with random bits up to the end of the byte.
func (a *Assignment) AppendMark(b []byte) []byte {
	value := a.randomValue()
	if a.Kind == SchemeSealed {
		e, err := sealed.NewEncoder(a.Key, uint32(value))
		if err != nil {
			panic(fmt.Sprintf("idspace: internal error: an assignment without a key: %v", err))
		}
		return e.AppendRaw(b)
	}
	first := &a.Spaces[0]
	head := make([]byte, a.MarkBytes())
	_, _ = rand.Read(head) // never fails: it ends the program instead
	mark := markOf(first.Slot, a.MarkBits, value)
	for i := range head {
		head[i] = mark[i] | head[i]&^a.mask[i]
	}
	return append(b, head...)
}

// randomValue returns a random value of the owner, each with the same chance.
func (a *Assignment) randomValue() uint64 {
	var all uint64
	for i := range a.Spaces {
		all += a.Spaces[i].Values
	}
	n, err := rand.Int(rand.Reader, new(big.Int).SetUint64(all))
	if err != nil {
		panic(fmt.Sprintf("idspace: internal error: reading random bytes: %v", err))
	}
	at := n.Uint64()
	for i := range a.Spaces {
		s := &a.Spaces[i]
		if at < s.Values {
			return s.First + at
		}
		at -= s.Values
	}
	panic("idspace: internal error: a value beyond the last")
}

// NewKeyName returns a new name for a TLS session ticket key: a mark, and
// random bytes where there is room.
func (a *Assignment) NewKeyName() (name [KeyNameSize]byte) {
	_, _ = rand.Read(name[:]) // never fails: it ends the program instead
	copy(name[:], a.AppendMark(nil))
	return name
}

// NewText returns a new mark as the head of a text ID. A sealed mark is
// sealed.TextSize characters that are looked up as they are. Others are
// hexadecimal, and the ID has to be decoded before it is looked up.
func (a *Assignment) NewText() string {
	if a.Kind == SchemeSealed {
		return sealed.Mark(a.AppendMark(nil)).String()
	}
	return hex.EncodeToString(a.AppendMark(nil))
}

// Prefix returns n bytes such that all IDs that begin with them are the
// owner's: always the same ones, for servers that put a constant before their
// IDs. The error is ErrNoPrefix when the owner's space holds no such prefix.
func (a *Assignment) Prefix(n int) ([]byte, error) {
	if a.Kind == SchemeSealed {
		return nil, fmt.Errorf("sealed marks have nothing constant: %w", ErrNoPrefix)
	}
	if n >= a.MarkBytes() {
		// Any value will do, and zeros after it.
		return append(slices.Clone(a.Spaces[0].From), make([]byte, n-a.MarkBytes())...), nil
	}
	if n > 0 {
		// A prefix stands for a block of values, aligned to its size.
		block := uint64(1) << (a.MarkBits - 8*n)
		for i := range a.Spaces {
			s := &a.Spaces[i]
			first := (s.First + block - 1) / block * block
			if first+block <= s.First+s.Values {
				return markOf(s.Slot, a.MarkBits, first)[:n], nil
			}
		}
	}
	return nil, fmt.Errorf("%d bytes: %w", n, ErrNoPrefix)
}

// markOf returns the mark of a value in a slot, from the first bit on.
func markOf(slot uint8, markBits int, value uint64) []byte {
	m := (uint64(slot)<<(markBits-slotBits) | value) << (64 - markBits)
	return binary.BigEndian.AppendUint64(nil, m)[:(markBits+7)/8]
}
