package sealed

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
)

const (
	// Size is the size of a raw mark in bytes: one block of AES.
	Size = 16
	// TextSize is the size of the text form in characters.
	TextSize = 22
)

// ErrText is the error of text that is not the text form of a mark.
var ErrText = errors.New("the text form of a mark is 22 base64url characters, the last of them A, Q, g or w")

// A Mark is a sealed mark. It is comparable, and any 16 bytes may be one: only
// a Set can tell.
type Mark [Size]byte

// AppendText appends the text form of m, TextSize characters. It never fails.
func (m Mark) AppendText(b []byte) ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(b, m[:]), nil
}

// MarshalText returns the text form of m. It never fails.
func (m Mark) MarshalText() ([]byte, error) { return m.AppendText(nil) }

// String returns the text form of m.
func (m Mark) String() string { return base64.RawURLEncoding.EncodeToString(m[:]) }

// UnmarshalText sets m to the mark of which text is the text form.
func (m *Mark) UnmarshalText(text []byte) error {
	if len(text) != TextSize {
		return ErrText
	}
	if !decodeText(m, text) {
		return ErrText
	}
	return nil
}

// decodeText sets m to what the first TextSize characters of text say, and
// reports false if these are not the text form of a mark: exactly one text
// stands for each mark. encoding/base64, which does not know the length
// beforehand and skips line breaks, takes half as long again.
func decodeText(m *Mark, text []byte) bool {
	if len(text) < TextSize {
		return false
	}
	text = text[:TextSize]
	var bad byte // of a character that is none, the first bit is set
	for i, j := 0, 0; i < TextSize-2; i, j = i+4, j+3 {
		a, b := sextets[text[i]], sextets[text[i+1]]
		c, d := sextets[text[i+2]], sextets[text[i+3]]
		bad |= a | b | c | d
		m[j], m[j+1], m[j+2] = a<<2|b>>4, b<<4|c>>2, c<<6|d
	}
	a, b := sextets[text[TextSize-2]], sextets[text[TextSize-1]]
	m[Size-1] = a<<2 | b>>4
	// The last character has four bits that no mark uses: they are 0.
	return (bad|a|b)&0x80 == 0 && b&0xf == 0
}

// sextets is what each character of base64url stands for (RFC 4648, 5); 0xff
// is none.
const sextets = "" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3e\xff\xff" +
	"\x34\x35\x36\x37\x38\x39\x3a\x3b\x3c\x3d\xff\xff\xff\xff\xff\xff" +
	"\xff\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e" +
	"\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\xff\xff\xff\xff\x3f" +
	"\xff\x1a\x1b\x1c\x1d\x1e\x1f\x20\x21\x22\x23\x24\x25\x26\x27\x28" +
	"\x29\x2a\x2b\x2c\x2d\x2e\x2f\x30\x31\x32\x33\xff\xff\xff\xff\xff" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"

// The plaintext of a mark: server number, zero, nonce.
const (
	zeroAt  = 4
	nonceAt = 8
)

// putPlain writes the plaintext of a mark.
func putPlain(b *[Size]byte, server uint32, nonce uint64) {
	binary.BigEndian.PutUint32(b[:], server)
	binary.BigEndian.PutUint32(b[zeroAt:], 0)
	binary.BigEndian.PutUint64(b[nonceAt:], nonce)
}

// plainServer returns the server number of the plaintext of a mark, and false
// if b is not one.
func plainServer(b *[Size]byte) (uint32, bool) {
	return binary.BigEndian.Uint32(b[:]), binary.BigEndian.Uint32(b[zeroAt:]) == 0
}
