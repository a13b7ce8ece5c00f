package idspace

import (
	"bytes"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// genWord draws numbers with runs of equal bytes.
func genWord() *rapid.Generator[word256] {
	return rapid.Map(genBytes(32), load256)
}

func bigOf(w word256) *big.Int { return new(big.Int).SetBytes(w.bytes(32)) }

// TestWord compares arithmetic with that of big numbers.
func TestWord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := genWord().Draw(t, "a"), genWord().Draw(t, "b")
		if rapid.Bool().Draw(t, "similar") {
			b = a.xor(oneBit(rapid.IntRange(0, 255).Draw(t, "bit")))
		}
		x, y := bigOf(a), bigOf(b)
		all := bigOf(word256{}.not())
		bitLen := func(w word256) int { return word256Bits - bigOf(w).BitLen() }
		n := rapid.IntRange(0, 256).Draw(t, "n")
		tail := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(256-n)), big.NewInt(1))
		shift := rapid.IntRange(-40, 40).Draw(t, "shift")
		shifted := new(big.Int).Rsh(x, uint(8*max(0, -shift)))
		shifted.Lsh(shifted, uint(8*max(0, shift))).And(shifted, all)
		for name, pair := range map[string][2]*big.Int{
			"and":       {bigOf(a.and(b)), new(big.Int).And(x, y)},
			"or":        {bigOf(a.or(b)), new(big.Int).Or(x, y)},
			"xor":       {bigOf(a.xor(b)), new(big.Int).Xor(x, y)},
			"not":       {bigOf(a.not()), new(big.Int).Xor(x, all)},
			"firstBits": {bigOf(firstBits(n)), new(big.Int).Xor(tail, all)},
			"shift":     {bigOf(a.shift(shift)), shifted},
		} {
			if pair[0].Cmp(pair[1]) != 0 {
				t.Fatalf("%s of %x and %x (%d, %d): got %x; want %x", name, x, y, n, shift, pair[0], pair[1])
			}
		}
		if got, want := a.compare(b), x.Cmp(y); got != want {
			t.Fatalf("compare(%x, %x) = %d; want %d", x, y, got, want)
		}
		if got, want := a.firstBit(), bitLen(a); got != want {
			t.Fatalf("firstBit(%x) = %d; want %d", x, got, want)
		}
		last := -1
		if x.Sign() != 0 {
			last = 255 - int(x.TrailingZeroBits())
		}
		if got := a.lastBit(); got != last {
			t.Fatalf("lastBit(%x) = %d; want %d", x, got, last)
		}
		if got, want := a.isZero(), x.Sign() == 0; got != want {
			t.Fatalf("isZero(%x) = %v", x, got)
		}
		ones := 0
		for i := range 256 {
			ones += int(x.Bit(i))
		}
		if got := a.onesCount(); got != ones {
			t.Fatalf("onesCount(%x) = %d; want %d", x, got, ones)
		}
	})
}

// TestWordAt reads words at all positions of strings of all lengths.
func TestWordAt(t *testing.T) {
	t.Parallel()
	text := []byte("abcdefghijklmnopqrstuvwxyz0123456789")
	padded := append(bytes.Clone(text), make([]byte, 100)...)
	for length := range len(text) + 1 {
		clear(padded[length:])
		copy(padded, text[:length])
		for pos := range 60 {
			want := new(big.Int).SetBytes(padded[pos : pos+8]).Uint64()
			if got := wordAt(text[:length], pos); got != want {
				t.Errorf("%d bytes at %d: got %016x; want %016x", length, pos, got, want)
			}
		}
		if got := load256(text[:length]).bytes(32); !bytes.Equal(got, padded[:32]) {
			t.Errorf("load256 of %d bytes: got %q; want %q", length, got, padded[:32])
		}
	}
}
