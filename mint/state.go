package mint

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/idspace/sealed"
)

// secretSize is that of a ticket key: AES-256.
const secretSize = 32

// maxKeys is how many generations an assignment may have: those of a plan.
const maxKeys = 7

// A stateDocument is what the state file holds.
type stateDocument struct {
	Assignment Assignment `json:"assignment"`
	// Secrets are the ticket keys, by generation.
	Secrets map[uint32][]byte `json:"secrets"`
	// Nonces are what is left of those of quic-lb, by generation.
	Nonces map[uint32]nonceDocument `json:"nonces,omitempty"`
}

// A state is what a Client mints and accepts by. It never changes.
type state struct {
	doc  *stateDocument
	mint *key   // nil: nothing yet
	keys []*key // newest first
}

// A key is a Key made ready.
type key struct {
	Key
	aead    cipher.AEAD     // nil: there are no tickets of it
	encoder *sealed.Encoder // nil: marks are Name and Text
	set     *sealed.Set
	codec   *quiclb.Codec // nil: not of the scheme quic-lb
	bits    *Bits         // what connection IDs have in common; nil: codec or encoder makes them

	block atomic.Pointer[quiclb.Nonces] // of codec; nil: none taken yet
}

func newState(doc *stateDocument) (*state, error) {
	s := &state{doc: doc}
	if n := len(doc.Assignment.Keys); n > maxKeys {
		return nil, fmt.Errorf("%d generations are more than %d", n, maxKeys)
	}
	for _, k := range doc.Assignment.Keys {
		out, err := newKey(k, doc.Secrets[k.Generation])
		if err != nil {
			return nil, fmt.Errorf("%v: %w", k, err)
		}
		s.keys = append(s.keys, out)
		if k.Mint && s.mint == nil {
			s.mint = out
		}
	}
	return s, nil
}

// carryBlocks goes on with the nonces that were taken out of the state file.
func (s *state) carryBlocks(before *state) {
	for _, k := range s.keys {
		for _, old := range before.keys {
			if k.QUICLB != nil && k.QUICLB.equal(old.QUICLB) {
				k.block.Store(old.block.Load())
			}
		}
	}
}

func newKey(k Key, secret []byte) (*key, error) {
	out := &key{Key: k}
	if err := out.prepareConnectionIDs(); err != nil {
		return nil, err
	}
	if len(k.Name) == 0 && (k.QUICLB != nil || k.Bits != nil) {
		return out, nil
	}
	if len(k.Name) != NameSize {
		return nil, fmt.Errorf("a name of %d bytes; it has %d", len(k.Name), NameSize)
	}
	if len(secret) != secretSize {
		return nil, errors.New("it has no ticket key")
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	if out.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	if k.MarkKey == nil {
		return out, nil
	}
	mark, err := sealed.KeyFrom(k.MarkKey)
	if err != nil {
		return nil, err
	}
	if out.encoder, err = sealed.NewEncoder(mark, k.ServerNumber); err != nil {
		return nil, err
	}
	out.set, err = sealed.NewSet(sealed.Generation{Key: mark, Servers: k.ServerNumber + 1})
	return out, err
}

// prepareConnectionIDs says how the mark of k gets into connection IDs.
func (k *key) prepareConnectionIDs() (err error) {
	switch {
	case k.QUICLB != nil && k.Bits != nil:
		return errors.New("it has both quic_lb and bits; a connection ID has one mark")
	case k.QUICLB != nil:
		if got, want := k.QUICLB.ServerID.Len(), k.QUICLB.Config.ServerIDLength; got != want {
			return fmt.Errorf("a server ID of %d octets; its configuration has server IDs of %d", got, want)
		}
		k.codec, err = quiclb.New(k.QUICLB.Config)
		return err
	case k.Bits != nil:
		k.bits = k.Bits
		return k.bits.validate()
	}
	// A mark in hexadecimal text is the head of an ID. One that is none, or
	// too long, has no place in connection IDs, which is no fault of others.
	head, err := hex.DecodeString(k.Text)
	if err != nil || len(head) == 0 || len(head) > quiclb.MaxLength || k.MarkKey != nil {
		return nil //nolint:nilerr // see above
	}
	k.bits = &Bits{Mask: bytes.Repeat([]byte{0xff}, len(head)), Value: head}
	return nil
}

// readState reads the file at path. One that is not there is an empty one if
// mayBeNew.
func readState(path string, mayBeNew bool) (*stateDocument, error) {
	text, err := os.ReadFile(path)
	if mayBeNew && errors.Is(err, fs.ErrNotExist) {
		return &stateDocument{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mint: reading the state file: %w", err)
	}
	doc := new(stateDocument)
	if err := json.Unmarshal(text, doc); err != nil {
		return nil, fmt.Errorf("mint: the state file %s is damaged: %w", path, err)
	}
	return doc, nil
}

// writeState replaces the file at path in one step, on disk when it returns.
func writeState(path string, doc *stateDocument) error {
	text, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("mint: keeping the state: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("mint: keeping the state: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
