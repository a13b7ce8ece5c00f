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
// reports whether they are canonical. m is undefined if they are not.
func decodeText(m *Mark, text []byte) bool {
	if len(text) < TextSize {
		return false
	}
	// The last character has six bits and only two are left to say: of the
	// 16 characters with the same two, one is canonical.
	switch text[TextSize-1] {
	case 'A', 'Q', 'g', 'w':
	default:
		return false
	}
	// The decoder skips line breaks wherever they are, which would give a mark
	// many texts. One among exactly 22 characters leaves too few to fill it.
	n, err := base64.RawURLEncoding.Decode(m[:], text[:TextSize])
	return err == nil && n == Size
}

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
