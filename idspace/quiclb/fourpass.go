package quiclb

// Hot: runs for every datagram of a four-pass configuration. Budget: no
// allocation, three or four AES blocks, no loop over octets.

import (
	"crypto/cipher"
	"encoding/binary"
)

// A half is one half of the Feistel network, left-aligned in 16 octets that are
// held as two little-endian words: octets 0 to 7 in lo, octets 8 to 15 in hi.
// The longest half has 10 octets, so the last two octets of the AES input, block
// length and pass number, never meet it.
type half struct{ lo, hi uint64 }

func (a half) xor(b half) half { return half{a.lo ^ b.lo, a.hi ^ b.hi} }
func (a half) and(b half) half { return half{a.lo & b.lo, a.hi & b.hi} }
func (a half) or(b half) half  { return half{a.lo | b.lo, a.hi | b.hi} }

func loadHalf(b []byte) half {
	return half{binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:16])}
}

func (a half) store(b []byte) {
	binary.LittleEndian.PutUint64(b[:8], a.lo)
	binary.LittleEndian.PutUint64(b[8:16], a.hi)
}

// fourPass is the four-pass algorithm over blocks of one length. It is
// immutable after newFourPass.
//
// The two halves of an odd block share its middle octet: the left half has the
// high nibble, as the high nibble of its last octet, and the right half the low
// nibble, as the low nibble of its first octet. The masks express both that and
// the truncation of the AES output to the length of a half.
type fourPass struct {
	block  cipher.Block
	length int // of the block, in octets
	// right half starts here; the left one starts at 0
	rightAt   int
	leftMask  half
	rightMask half
}

// newFourPass prepares the algorithm for blocks of n octets, 4 to MaxBlockLength.
func newFourPass(block cipher.Block, n int) fourPass {
	h := (n + 1) / 2
	var left, right [16]byte
	for i := range h {
		left[i], right[i] = 0xff, 0xff
	}
	if n%2 == 1 {
		left[h-1], right[0] = 0xf0, 0x0f
	}
	return fourPass{
		block: block, length: n, rightAt: n - h,
		leftMask: loadHalf(left[:]), rightMask: loadHalf(right[:]),
	}
}

// round is the draft's round function before truncation: AES over the half, zero
// octets, the length of the block and the number of the pass.
func (f *fourPass) round(s *scratch, in half, pass byte) half {
	in.hi |= uint64(f.length)<<48 | uint64(pass)<<56
	in.store(s.in[:])
	f.block.Encrypt(s.out[:], s.in[:])
	return loadHalf(s.out[:])
}

// split cuts the block at the head of text, which has windowLength octets, into
// halves. What stands in text beyond the block does not matter.
func (f *fourPass) split(text []byte) (left, right half) {
	return loadHalf(text).and(f.leftMask), loadHalf(text[f.rightAt:]).and(f.rightMask)
}

// join writes the block of the two halves to the head of text, which has
// windowLength octets, and zeros behind it.
func (f *fourPass) join(text []byte, left, right half) {
	clear(text)
	left.store(text)
	// The halves overlap in the middle octet of an odd block, where each has
	// zeros for the nibble of the other.
	loadHalf(text[f.rightAt:]).or(right).store(text[f.rightAt:])
}

// encrypt encrypts the block at the head of s.text in place.
func (f *fourPass) encrypt(s *scratch) {
	left, right := f.split(s.text[:])
	right = right.xor(f.round(s, left, 1).and(f.rightMask))
	left = left.xor(f.round(s, right, 2).and(f.leftMask))
	right = right.xor(f.round(s, left, 3).and(f.rightMask))
	left = left.xor(f.round(s, right, 4).and(f.leftMask))
	f.join(s.text[:], left, right)
}

// decryptLeft undoes three of the four passes. That is all it takes to know the
// left half. text has windowLength octets, with the block at its head.
func (f *fourPass) decryptLeft(s *scratch, text []byte) (left, right half) {
	left, right = f.split(text)
	left = left.xor(f.round(s, right, 4).and(f.leftMask))
	right = right.xor(f.round(s, left, 3).and(f.rightMask))
	left = left.xor(f.round(s, right, 2).and(f.leftMask))
	return left, right
}

// decrypt writes what the block at the head of text, which has windowLength
// octets, decrypts to, to the head of s.text. The two may be the same.
func (f *fourPass) decrypt(s *scratch, text []byte) {
	left, right := f.decryptLeft(s, text)
	right = right.xor(f.round(s, left, 1).and(f.rightMask))
	f.join(s.text[:], left, right)
}
