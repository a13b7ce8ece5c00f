package sealed

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
)

// An Encoder makes the marks of one server number under one key. It is safe
// for concurrent use and never makes the same mark twice: the nonce counts up
// from a random start and would need 2^64 marks to come round.
//
// Encoders of one server number and key do not know of each other (another
// process, the same one after a restart). Their counters start apart at
// random; that two of them ever meet while each makes n marks has a chance of
// about n / 2^63. A mark that is made twice routes like any other.
type Encoder struct {
	block  cipher.Block
	server uint32
	nonce  atomic.Uint64 // the last one used
}

// NewEncoder returns the encoder of a server number.
func NewEncoder(key Key, server uint32) (*Encoder, error) {
	var start [8]byte
	_, _ = rand.Read(start[:]) // never fails: it ends the program instead
	return newEncoder(key, server, binary.BigEndian.Uint64(start[:]))
}

// newEncoder returns an encoder that uses next as its first nonce.
func newEncoder(key Key, server uint32, next uint64) (*Encoder, error) {
	block, err := key.block()
	if err != nil {
		return nil, fmt.Errorf("making an encoder: %w", err)
	}
	e := &Encoder{block: block, server: server}
	e.nonce.Store(next - 1)
	return e, nil
}

// Server returns the number of the server whose marks e makes.
func (e *Encoder) Server() uint32 { return e.server }

// Next returns a mark that e has not made before.
func (e *Encoder) Next() Mark {
	return Mark(e.AppendRaw(nil)) // alloc: cipher.Block is an interface, so what it works on is on the heap
}

// AppendRaw appends a new mark in its raw form. It allocates only what b lacks.
func (e *Encoder) AppendRaw(b []byte) []byte {
	var plain [Size]byte
	putPlain(&plain, e.server, e.nonce.Add(1))
	b = append(b, plain[:]...)
	m := b[len(b)-Size:]
	e.block.Encrypt(m, m)
	return b
}

// AppendText appends a new mark in its text form, as the head of a text ID. It
// allocates only what b lacks.
func (e *Encoder) AppendText(b []byte) []byte {
	head := len(b)
	b = slices.Grow(b, TextSize)
	m := Mark(e.AppendRaw(b)[head:])
	b, _ = m.AppendText(b) // never fails
	return b
}
