package quiclb

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// A ServerID names a server within a configuration: 1 to MaxServerIDLength
// octets, opaque, with no order. It is a comparable value of fixed size, so it
// serves as a map key without allocation. IDs of different lengths differ. The
// zero ServerID has no octets and names nobody.
//
// It is two words rather than an array because those travel in registers: it
// halves the time to decode a plaintext ID.
type ServerID struct {
	// lo holds octets 0 to 7, the first in the lowest bits. hi holds octets 8 to
	// 14 and, in its highest eight bits, the length. Octets beyond the length are
	// zero, so that == is equality of IDs.
	lo, hi uint64
}

const (
	lengthShift = 56
	octetsOfHi  = 1<<lengthShift - 1
)

// NewServerID returns the server ID with those octets, of which there must be
// 1 to MaxServerIDLength.
func NewServerID(octets []byte) (ServerID, error) {
	if len(octets) < MinServerIDLength || len(octets) > MaxServerIDLength {
		return ServerID{}, fmt.Errorf("quiclb: server ID has %d octets; it has %d to %d",
			len(octets), MinServerIDLength, MaxServerIDLength)
	}
	var all [16]byte
	copy(all[:], octets)
	return serverIDOf(loadHalf(all[:]), len(octets)), nil
}

// serverIDOf returns the server ID of the first length octets of h, beyond which
// there are zeros.
func serverIDOf(h half, length int) ServerID {
	return ServerID{lo: h.lo, hi: h.hi&octetsOfHi | uint64(length)<<lengthShift}
}

// octets returns the octets of id, of which the first Len have meaning.
func (id ServerID) octets() (b [16]byte) {
	binary.LittleEndian.PutUint64(b[:8], id.lo)
	binary.LittleEndian.PutUint64(b[8:], id.hi&octetsOfHi)
	return b
}

// ParseServerID reads a server ID from hexadecimal digits, or from the form of
// the draft's YANG model with a colon between octets.
func ParseServerID(text string) (ServerID, error) {
	octets, err := parseHex(text)
	if err != nil {
		return ServerID{}, fmt.Errorf("quiclb: server ID %q is not hexadecimal: %w", text, err)
	}
	return NewServerID(octets)
}

// Len returns the number of octets.
func (id ServerID) Len() int { return int(id.hi >> lengthShift) }

// AppendTo appends the octets of id to b.
func (id ServerID) AppendTo(b []byte) []byte {
	octets := id.octets()
	return append(b, octets[:id.Len()]...)
}

// String returns the octets as hexadecimal digits.
func (id ServerID) String() string {
	octets := id.octets()
	return hex.EncodeToString(octets[:id.Len()])
}

// MarshalText returns the octets as hexadecimal digits.
func (id ServerID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what ParseServerID reads.
func (id *ServerID) UnmarshalText(text []byte) error {
	parsed, err := ParseServerID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
