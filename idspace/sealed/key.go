package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// KeySize is the size of a mark key in bytes.
const KeySize = 16

// Errors of keys. Neither tells anything of what was read, which might be most
// of a key.
var (
	// ErrKey is the error of a mark key that is not one.
	ErrKey = errors.New("a mark key is 16 bytes, written as 32 hexadecimal digits")
	// ErrHidden is the error of writing a mark key without meaning to.
	ErrHidden = errors.New("a mark key is not written by accident; use Reveal")
)

// A Key is the mark key of one generation. The zero Key is no key.
//
// A Key does not show itself: not to fmt with any verb, not to log/slog, and
// encoders of text and JSON get an error. Reveal is the only way to its
// bytes. Keys are compared with Equal.
type Key struct {
	// The bytes are behind two pointers because fmt prints an unexported field
	// of somebody else's struct without asking our methods: it would print an
	// array, and with a verb that does not fit also what one pointer points to.
	// The second one it prints as an address. Never written after creation.
	secret *secret
}

type secret struct{ bytes *[KeySize]byte }

// NewKey returns a new random key.
func NewKey() Key {
	b := new([KeySize]byte)
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return Key{secret: &secret{bytes: b}}
}

// KeyFrom returns the key of these bytes, of which there must be KeySize.
func KeyFrom(b []byte) (Key, error) {
	if len(b) != KeySize {
		return Key{}, fmt.Errorf("reading %d bytes: %w", len(b), ErrKey)
	}
	own := [KeySize]byte(b)
	return Key{secret: &secret{bytes: &own}}, nil
}

// ParseKey returns the key that s writes in hexadecimal.
func ParseKey(s string) (Key, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		// Not wrapped: the cause quotes a character of what may be a key.
		return Key{}, ErrKey
	}
	return KeyFrom(b)
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k.secret == nil }

// Equal reports whether k and other are the same key, in a time that does not
// depend on their bytes.
func (k Key) Equal(other Key) bool {
	if k.secret == nil || other.secret == nil {
		return k.secret == other.secret
	}
	return subtle.ConstantTimeCompare(k.secret.bytes[:], other.secret.bytes[:]) == 1
}

// Reveal returns the bytes of k, a copy: what follows is the caller's
// responsibility. It returns nil for the zero Key.
func (k Key) Reveal() []byte {
	if k.secret == nil {
		return nil
	}
	return append([]byte(nil), k.secret.bytes[:]...)
}

func (k Key) hidden() string {
	if k.secret == nil {
		return "mark key (none)"
	}
	return "mark key (hidden)"
}

// String says that there is a key, not which.
func (k Key) String() string { return k.hidden() }

// GoString says that there is a key, not which.
func (k Key) GoString() string { return k.hidden() }

// Format says that there is a key, not which, whatever the verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.hidden()) }

// LogValue says that there is a key, not which.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.hidden()) }

// MarshalText returns ErrHidden: a document that is meant to hold a key calls
// Reveal, and one that is not should not be written in part.
func (k Key) MarshalText() ([]byte, error) { return nil, ErrHidden }

// block returns the cipher of k.
func (k Key) block() (cipher.Block, error) {
	if k.secret == nil {
		return nil, ErrKey
	}
	return aes.NewCipher(k.secret.bytes[:])
}
