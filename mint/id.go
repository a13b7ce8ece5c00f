package mint

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"

	"github.com/mintmark/mintmark/idspace/sealed"
)

// randomSize is how much of an ID nobody can guess, in bytes.
const randomSize = 16

// NewID returns a new ID for the application: its mark, then at least 128
// random bits. With the scheme sealed it is base64url, else hexadecimal. The
// error is ErrNothingToMint.
func (c *Client) NewID() (string, error) {
	k := c.state.Load().textKey()
	if k == nil {
		return "", ErrNothingToMint
	}
	var random [randomSize]byte
	_, _ = rand.Read(random[:]) // never fails, by its documentation
	if k.encoder == nil {
		return k.Text + hex.EncodeToString(random[:]), nil
	}
	return string(base64.RawURLEncoding.AppendEncode(k.encoder.AppendText(nil), random[:])), nil
}

// ID is NewID for the hooks of session libraries that take a func() string.
// Before there is an assignment it returns a random ID without a mark, which
// balancers treat as an ID of nobody. A server that must not mint such IDs
// waits for Ready before it takes requests.
func (c *Client) ID() string {
	id, err := c.NewID()
	if err != nil {
		return rand.Text()
	}
	return id
}

// AddMark returns an ID that the application made, behind a mark. The ID must
// have the 128 random bits or more that every session ID needs. The error is
// ErrNothingToMint.
func (c *Client) AddMark(id string) (string, error) {
	k := c.state.Load().textKey()
	switch {
	case k == nil:
		return "", ErrNothingToMint
	case k.encoder == nil:
		return k.Text + id, nil
	}
	return string(k.encoder.AppendText(nil)) + id, nil
}

// CutMark returns an ID without the mark that AddMark put before it, and false
// if it does not begin with a mark of this server.
func (c *Client) CutMark(id string) (string, bool) {
	for _, k := range c.state.Load().keys {
		if n := k.markSize(id); n > 0 {
			return id[n:], true
		}
	}
	return id, false
}

// Owns reports whether an ID begins with a mark of this server, of a generation
// that is still good. It says nothing about the ID's being genuine.
func (c *Client) Owns(id string) bool {
	_, ok := c.CutMark(id)
	return ok
}

// textKey returns the key that text IDs are minted with; nil: there is none, or
// it is for connection IDs alone.
func (s *state) textKey() *key {
	if k := s.mint; k != nil && (k.encoder != nil || k.Text != "") {
		return k
	}
	return nil
}

// markSize returns the size of the key's mark at the head of a text ID; 0:
// there is none.
func (k *key) markSize(id string) int {
	if k.encoder == nil {
		if n := len(k.Text); len(id) >= n && id[:n] == k.Text {
			return n
		}
		return 0
	}
	if server, _, ok := k.set.LookupText([]byte(id)); ok && server == k.ServerNumber {
		return sealed.TextSize
	}
	return 0
}
