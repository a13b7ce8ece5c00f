package quiclb

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// KeyLength is the length of a key in octets: the draft knows AES-128 only.
const KeyLength = 16

// A Key is the AES-128 key of an encrypted configuration. The zero Key is no
// key at all, which makes a configuration plaintext; it is not the key of
// sixteen zero octets.
//
// A Key shows itself to nobody by accident: fmt and slog print a placeholder,
// and the octets are inside a function, so that even a struct that holds a Key in
// an unexported field, whose methods fmt cannot call, prints an address and no
// key. (A pointer would not do: fmt follows it for a verb that does not fit.)
// [Key.Octets] is the one way to get at the octets, and [Key.Equal] compares.
type Key struct{ reveal func() *[KeyLength]byte }

// NewKey returns the key with those octets, of which there must be KeyLength.
func NewKey(octets []byte) (Key, error) {
	if len(octets) != KeyLength {
		return Key{}, fmt.Errorf("quiclb: key has %d octets; a key has %d", len(octets), KeyLength)
	}
	return keyOf([KeyLength]byte(octets)), nil
}

func keyOf(octets [KeyLength]byte) Key {
	return Key{reveal: func() *[KeyLength]byte { return &octets }}
}

// ParseKey reads a key from 32 hexadecimal digits, or from the form of the
// draft's YANG model with a colon between octets. Its error never shows the text.
func ParseKey(text string) (Key, error) {
	octets, err := parseHex(text)
	if err != nil {
		return Key{}, errors.New("quiclb: key is not hexadecimal; write 32 hex digits")
	}
	return NewKey(octets)
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k.reveal == nil }

// Equal reports, in constant time, whether k and other are the same key or both
// no key.
func (k Key) Equal(other Key) bool {
	if k.IsZero() || other.IsZero() {
		return k.IsZero() == other.IsZero()
	}
	return subtle.ConstantTimeCompare(k.reveal()[:], other.reveal()[:]) == 1
}

// Octets returns a copy of the key, for whoever must store or send it. It is
// the zero array when k is no key.
func (k Key) Octets() [KeyLength]byte {
	if k.IsZero() {
		return [KeyLength]byte{}
	}
	return *k.reveal()
}

// String says whether there is a key, and never which.
func (k Key) String() string {
	if k.IsZero() {
		return "none"
	}
	return "[redacted]"
}

// Format prints what String returns, whatever the verb and flags: %x of a key
// must not show it either.
func (k Key) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, k.String()) // fmt keeps the error of its writer
}

// LogValue is what slog prints.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// ErrHidden is what marshaling a Key returns. A key that was left out without a
// word would turn an encrypted configuration into a plaintext one.
var ErrHidden = errors.New("quiclb: a key does not marshal itself: store its octets on purpose")

// MarshalText returns ErrHidden, or no text when k is no key.
func (k Key) MarshalText() ([]byte, error) {
	if k.IsZero() {
		return nil, nil
	}
	return nil, ErrHidden
}

// parseHex decodes "0a0b0c" and "0a:0b:0c".
func parseHex(text string) ([]byte, error) {
	if strings.Contains(text, ":") {
		for i := 2; i < len(text); i += 3 {
			if text[i] != ':' || i == len(text)-1 {
				return nil, errors.New("a colon stands between two octets")
			}
		}
		text = strings.ReplaceAll(text, ":", "")
	}
	return hex.DecodeString(text)
}
