package idspace

import (
	"cmp"
	"encoding/binary"
	"math/bits"
)

// A word256 is 32 bytes as a big-endian number: bit 0 is the most significant
// bit of the first element. Shorter strings are aligned left and filled with
// zero bits, so that comparing two as numbers compares them as strings.
type word256 [4]uint64

const word256Bits = 256

// load256 returns the first 32 bytes of b.
func load256(b []byte) (w word256) {
	for i := range w {
		w[i] = wordAt(b, 8*i)
	}
	return w
}

// wordAt returns the 8 bytes of b from position pos on as a big-endian number,
// with zeros for what is beyond the end of b.
func wordAt(b []byte, pos int) uint64 {
	if pos+8 <= len(b) {
		return binary.BigEndian.Uint64(b[pos:])
	}
	return lastWord(b, pos)
}

// lastWord is wordAt where fewer than 8 bytes are left. It is a function of
// its own to let wordAt be inlined.
func lastWord(b []byte, pos int) uint64 {
	if pos >= len(b) {
		return 0
	}
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b[len(b)-8:]) << (8 * (pos + 8 - len(b)))
	}
	var w uint64
	for _, c := range b[pos:] {
		w = w<<8 | uint64(c)
	}
	return w << (8 * (8 - (len(b) - pos)))
}

// bytes returns the first n bytes of w.
func (w word256) bytes(n int) []byte {
	b := make([]byte, 0, 32)
	for _, u := range w {
		b = binary.BigEndian.AppendUint64(b, u)
	}
	return b[:n]
}

func (w word256) compare(v word256) int {
	for i := range w {
		if c := cmp.Compare(w[i], v[i]); c != 0 {
			return c
		}
	}
	return 0
}

func (w word256) and(v word256) word256 {
	return word256{w[0] & v[0], w[1] & v[1], w[2] & v[2], w[3] & v[3]}
}

func (w word256) or(v word256) word256 {
	return word256{w[0] | v[0], w[1] | v[1], w[2] | v[2], w[3] | v[3]}
}

func (w word256) xor(v word256) word256 {
	return word256{w[0] ^ v[0], w[1] ^ v[1], w[2] ^ v[2], w[3] ^ v[3]}
}

func (w word256) not() word256 { return word256{^w[0], ^w[1], ^w[2], ^w[3]} }

func (w word256) isZero() bool { return w == word256{} }

// firstBit returns the position of the first bit that is set, 256 if none is.
func (w word256) firstBit() int {
	for i, u := range w {
		if u != 0 {
			return 64*i + bits.LeadingZeros64(u)
		}
	}
	return word256Bits
}

// lastBit returns the position of the last bit that is set, -1 if none is.
func (w word256) lastBit() int {
	for i := len(w) - 1; i >= 0; i-- {
		if w[i] != 0 {
			return 64*i + 63 - bits.TrailingZeros64(w[i])
		}
	}
	return -1
}

func (w word256) onesCount() int {
	n := 0
	for _, u := range w {
		n += bits.OnesCount64(u)
	}
	return n
}

// firstBits returns the number of which the first n bits are set, 0 <= n <= 256.
func firstBits(n int) (w word256) {
	for i := range w {
		// A shift by 64 or more gives zero.
		w[i] = ^(^uint64(0) >> max(0, n-64*i))
	}
	return w
}

// oneBit returns the number of which only the bit at position n is set.
func oneBit(n int) (w word256) {
	w[n/64] = 1 << (63 - n%64)
	return w
}

// shift moves w by that many bytes to the left, or to the right if n is
// negative. Bytes that leave are lost, and zeros enter.
func (w word256) shift(n int) (v word256) {
	if n <= -32 || n >= 32 {
		return v
	}
	words, part := n>>3, uint(8*(n&7)) // n>>3 rounds down, so part >= 0
	at := func(i int) uint64 {
		if i < 0 || i >= len(w) {
			return 0
		}
		return w[i]
	}
	for i := range v {
		v[i] = at(i+words)<<part | at(i+words+1)>>(64-part)
	}
	return v
}
