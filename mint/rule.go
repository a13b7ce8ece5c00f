package mint

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/idspace/quiclb"
)

// A QUICLB is a server's part of a QUIC-LB configuration: what it mints
// connection IDs with. In JSON it is
//
//	{"config_id": 1, "server_id": "31441a", "nonce_length": 5, "key": "fdf726a9893ec05c0632d3956680baf0"}
//
// and without a key the algorithm is plaintext. The key is written there on
// purpose; nothing else shows it.
type QUICLB struct {
	Config   quiclb.Config
	ServerID quiclb.ServerID
}

// quicLBDocument is a QUICLB in JSON.
type quicLBDocument struct {
	ConfigID    uint8           `json:"config_id"`
	ServerID    quiclb.ServerID `json:"server_id"`
	NonceLength int             `json:"nonce_length"`
	Key         string          `json:"key,omitempty"`
}

// MarshalJSON writes q with its key.
func (q QUICLB) MarshalJSON() ([]byte, error) {
	doc := quicLBDocument{ConfigID: uint8(q.Config.ID), ServerID: q.ServerID, NonceLength: q.Config.NonceLength}
	if !q.Config.Key.IsZero() {
		octets := q.Config.Key.Octets()
		doc.Key = hex.EncodeToString(octets[:])
	}
	return json.Marshal(doc)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (q *QUICLB) UnmarshalJSON(text []byte) error {
	var doc quicLBDocument
	if err := unmarshalStrictly(text, &doc); err != nil {
		return err
	}
	next := QUICLB{ServerID: doc.ServerID, Config: quiclb.Config{
		ID: quiclb.ConfigID(doc.ConfigID), ServerIDLength: doc.ServerID.Len(), NonceLength: doc.NonceLength,
	}}
	if doc.Key != "" {
		var err error
		if next.Config.Key, err = quiclb.ParseKey(doc.Key); err != nil {
			return err
		}
	}
	*q = next
	return nil
}

// equal reports whether q and other mint the same connection IDs, nonces
// apart.
func (q *QUICLB) equal(other *QUICLB) bool {
	if q == nil || other == nil {
		return q == other
	}
	a, b := q.Config, other.Config
	return a.ID == b.ID && a.ServerIDLength == b.ServerIDLength && a.NonceLength == b.NonceLength &&
		a.Key.Equal(b.Key) && q.ServerID == other.ServerID
}

// A Bits is a server's space in which some bits of an ID have a value and all
// others are free: a rule of kind bits with one value. In JSON it is
//
//	{"offset": 1, "mask": "ffffffff", "value": "c000020a"}
//
// and without a mask all bits of the value count.
type Bits struct {
	// Offset is where Mask and Value begin, in octets from the start of the ID.
	Offset int
	// Mask has the bits set that count. It is as long as Value.
	Mask []byte
	// Value is what they are; its other bits are zero.
	Value []byte
}

// bitsDocument is a Bits in JSON.
type bitsDocument struct {
	Offset int    `json:"offset,omitempty"`
	Mask   string `json:"mask,omitempty"`
	Value  string `json:"value"`
}

// MarshalJSON writes b in hexadecimal.
func (b Bits) MarshalJSON() ([]byte, error) {
	return json.Marshal(bitsDocument{Offset: b.Offset, Mask: hex.EncodeToString(b.Mask), Value: hex.EncodeToString(b.Value)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (b *Bits) UnmarshalJSON(text []byte) error {
	var doc bitsDocument
	if err := unmarshalStrictly(text, &doc); err != nil {
		return err
	}
	value, err := hex.DecodeString(doc.Value)
	if err != nil {
		return fmt.Errorf("value %q is not hexadecimal: %w", doc.Value, err)
	}
	mask := bytes.Repeat([]byte{0xff}, len(value))
	if doc.Mask != "" {
		if mask, err = hex.DecodeString(doc.Mask); err != nil {
			return fmt.Errorf("mask %q is not hexadecimal: %w", doc.Mask, err)
		}
	}
	*b = Bits{Offset: doc.Offset, Mask: mask, Value: value}
	return nil
}

// validate returns what is wrong with b, or nil.
func (b *Bits) validate() error {
	switch {
	case b.Offset < 0 || b.end() > quiclb.MaxLength:
		return fmt.Errorf("bits reach from octet %d to %d; a connection ID has at most %d", b.Offset, b.end(), quiclb.MaxLength)
	case len(b.Value) == 0:
		return errors.New("bits have no value")
	case len(b.Mask) != len(b.Value):
		return fmt.Errorf("the mask has %d octets and the value %d; they are equally long", len(b.Mask), len(b.Value))
	}
	for i := range b.Value {
		if b.Value[i]&^b.Mask[i] != 0 {
			return fmt.Errorf("octet %d of the value has bits outside the mask", i)
		}
	}
	return nil
}

// end is the length of the shortest ID that b fits into.
func (b *Bits) end() int { return b.Offset + len(b.Value) }

// set gives id the value of b. id is end octets long at least.
func (b *Bits) set(id []byte) {
	for i, mask := range b.Mask {
		at := b.Offset + i
		id[at] = id[at]&^mask | b.Value[i]
	}
}

func unmarshalStrictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
