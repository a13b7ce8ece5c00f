package quiclb

import (
	"crypto/aes"
	"math/big"
	"testing"
)

// slowFourPass is the four-pass algorithm as the draft words it, over numbers: a
// block of n octets is a number of 8n bits, whose halves have 4n bits each. It
// shares nothing with the fast one but AES.
func slowFourPass(t testing.TB, key [KeyLength]byte, text []byte, passes []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key[:])
	if err != nil {
		t.Fatal(err)
	}
	n := len(text)
	bits := uint(4 * n)
	octets := (n + 1) / 2
	spare := uint(8*octets) - bits // 4 when n is odd, else 0

	whole := new(big.Int).SetBytes(text)
	left := new(big.Int).Rsh(whole, bits)
	right := new(big.Int).Sub(whole, new(big.Int).Lsh(left, bits))

	// "expand": the left half is aligned to the left, the right one to the right.
	expand := func(h *big.Int, isLeft bool, pass byte) []byte {
		in := make([]byte, 16)
		if isLeft {
			h = new(big.Int).Lsh(h, spare)
		}
		h.FillBytes(in[:octets])
		in[14], in[15] = byte(n), pass
		return in
	}
	// "truncate": a left half is the first bits of the octets, a right one the last.
	truncate := func(out []byte, isLeft bool) *big.Int {
		v := new(big.Int).SetBytes(out[:octets])
		if isLeft {
			return v.Rsh(v, spare)
		}
		return v.Mod(v, new(big.Int).Lsh(big.NewInt(1), bits))
	}
	for _, pass := range passes {
		out := make([]byte, 16)
		if fromLeft := pass%2 == 1; fromLeft {
			block.Encrypt(out, expand(left, true, pass))
			right.Xor(right, truncate(out, false))
		} else {
			block.Encrypt(out, expand(right, false, pass))
			left.Xor(left, truncate(out, true))
		}
	}
	joined := new(big.Int).Lsh(left, bits)
	return joined.Or(joined, right).FillBytes(make([]byte, n))
}

// slowEncode and slowDecode are a whole codec that is obviously right.
func slowEncode(t testing.TB, c Config, low byte, id, nonce []byte) []byte {
	t.Helper()
	text := append(append([]byte{}, id...), nonce...)
	switch c.Algorithm() {
	case Plaintext:
	case SinglePass:
		text = slowAES(t, c.Key.Octets(), text, true)
	case FourPass:
		text = slowFourPass(t, c.Key.Octets(), text, []byte{1, 2, 3, 4})
	}
	return append([]byte{byte(c.ID)*32 + low}, text...)
}

func slowDecode(t testing.TB, c Config, cid []byte) (id, nonce []byte) {
	t.Helper()
	text := append([]byte{}, cid[1:1+c.ServerIDLength+c.NonceLength]...)
	switch c.Algorithm() {
	case Plaintext:
	case SinglePass:
		text = slowAES(t, c.Key.Octets(), text, false)
	case FourPass:
		text = slowFourPass(t, c.Key.Octets(), text, []byte{4, 3, 2, 1})
	}
	return text[:c.ServerIDLength], text[c.ServerIDLength:]
}

func slowAES(t testing.TB, key [KeyLength]byte, text []byte, encrypt bool) []byte {
	t.Helper()
	block, err := aes.NewCipher(key[:])
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, len(text))
	if encrypt {
		block.Encrypt(out, text)
	} else {
		block.Decrypt(out, text)
	}
	return out
}
