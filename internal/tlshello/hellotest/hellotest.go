// Package hellotest builds ClientHellos and first answers of servers for
// tests: what tlshello reads, written down by the other hand.
//
// The builders produce well-formed messages from any combination of options,
// so that a test says only what matters to it; what is malformed on purpose is
// made by editing their output. Nothing here does cryptography: the hellos
// are good enough to be routed, not to complete a handshake. Builders panic
// when an option does not fit its length field, because in a test that is a
// mistake of the test.
package hellotest

import (
	"encoding/binary"
	"fmt"
)

// The extensions that the builders write by themselves.
const (
	ExtServerName        = 0  // RFC 6066, 3
	ExtALPN              = 16 // RFC 7301, 3.1
	ExtPadding           = 21 // RFC 7685
	ExtSessionTicket     = 35 // RFC 5077, 3.2
	ExtPreSharedKey      = 41 // RFC 8446, 4.2.11
	ExtEarlyData         = 42 // RFC 8446, 4.2.10
	ExtSupportedVersions = 43 // RFC 8446, 4.2.1
	extJunk              = 0xff20
)

// MaxRecord is the largest fragment of a record (RFC 8446, 5.1), and the
// record size of a builder that is not told another.
const MaxRecord = 1 << 14

// maxJunk is the size of one junk extension, header included. It is small
// enough that every amount of junk is several extensions.
const maxJunk = 1 << 12

// An Extension is one extension as it stands in a hello.
type Extension struct {
	Type uint16
	Data []byte
}

// Options say what a ClientHello offers. The zero Options make a small
// TLS 1.2 hello that offers nothing to resume.
type Options struct {
	SessionID []byte   // legacy_session_id, up to 32 bytes
	Ticket    []byte   // session_ticket; not nil but empty writes the empty extension
	PSKs      [][]byte // identities of pre_shared_key, which is written last
	Binders   int      // how many 32-byte binders; 0 means one for each identity

	SNI       string   // host_name
	ALPN      []string // protocol names, in order
	Versions  []uint16 // supported_versions, in order; nil writes none
	EarlyData bool     // early_data

	Junk       int         // bytes of unknown extensions, headers included; 0 or at least 4
	Extensions []Extension // written before pre_shared_key
	After      []Extension // written after pre_shared_key, where nothing may stand

	// PadTo pads the hello (RFC 7685) so that Build returns exactly that
	// many bytes, or Message exactly that many when it is called alone.
	PadTo int

	// RecordSize is how many bytes of the message Build puts into one
	// record; 0 means MaxRecord.
	RecordSize int
}

// TLS13 returns Options as a current client sends them: TLS 1.3 and 1.2
// offered, an invented session ID of 32 bytes, and an empty ticket extension.
func TLS13(psks ...[]byte) Options {
	id := make([]byte, 32)
	for i := range id {
		id[i] = byte(0xe0 + i)
	}
	return Options{
		SessionID: id,
		Ticket:    []byte{},
		PSKs:      psks,
		SNI:       "www.example.com",
		ALPN:      []string{"h2", "http/1.1"},
		Versions:  []uint16{0x2a2a, 0x0304, 0x0303},
	}
}

// Build returns the ClientHello in records, as a client sends it.
func Build(o Options) []byte {
	size := o.RecordSize
	if size == 0 {
		size = MaxRecord
	}
	if o.PadTo > 0 {
		o.PadTo = messageLength(o.PadTo, size)
	}
	return Records(Message(o), size)
}

// messageLength returns the length of a message that takes total bytes in
// records of the size given.
func messageLength(total, size int) int {
	records := (total + size + recordHeader - 1) / (size + recordHeader)
	length := total - records*recordHeader
	if length <= (records-1)*size {
		panic(fmt.Sprintf("hellotest: no message takes exactly %d bytes in records of %d", total, size))
	}
	return length
}

// Message returns the handshake message alone, as QUIC carries it.
func Message(o Options) []byte {
	extensions, psk := o.extensions()
	body := func(extensions []byte) []byte {
		var b builder
		b.u16(0x0303)
		b.raw(pattern(32, 0x51))
		b.vec8(o.SessionID)
		b.vec16([]byte{0x13, 0x01, 0x13, 0x02, 0xc0, 0x2b, 0xc0, 0x2f})
		b.vec8([]byte{0})
		if len(extensions) > 0 {
			b.vec16(extensions)
		}
		return b
	}
	if o.PadTo > 0 {
		room := o.PadTo - messageHeader - len(body(append([]byte{0, 0, 0, 0}, append(extensions, psk...)...)))
		if room < 0 {
			panic(fmt.Sprintf("hellotest: the hello is already longer than PadTo, %d", o.PadTo))
		}
		extensions = appendExtension(extensions, ExtPadding, make([]byte, room))
	}
	return message(1, body(append(extensions, psk...)))
}

// extensions returns what stands before pre_shared_key, and the rest.
func (o Options) extensions() (before, psk []byte) {
	if o.SNI != "" {
		var name, list builder
		name.u8(0)
		name.vec16([]byte(o.SNI))
		list.vec16(name)
		before = appendExtension(before, ExtServerName, list)
	}
	before = appendJunk(before, o.Junk)
	if len(o.ALPN) > 0 {
		var names, list builder
		for _, p := range o.ALPN {
			names.vec8([]byte(p))
		}
		list.vec16(names)
		before = appendExtension(before, ExtALPN, list)
	}
	if o.Versions != nil {
		var versions, list builder
		for _, v := range o.Versions {
			versions.u16(v)
		}
		list.vec8(versions)
		before = appendExtension(before, ExtSupportedVersions, list)
	}
	if o.Ticket != nil {
		before = appendExtension(before, ExtSessionTicket, o.Ticket)
	}
	if o.EarlyData {
		before = appendExtension(before, ExtEarlyData, nil)
	}
	for _, e := range o.Extensions {
		before = appendExtension(before, e.Type, e.Data)
	}
	if len(o.PSKs) > 0 {
		psk = appendExtension(psk, ExtPreSharedKey, PreSharedKey(o.PSKs, o.Binders))
	}
	for _, e := range o.After {
		psk = appendExtension(psk, e.Type, e.Data)
	}
	return before, psk
}

// PreSharedKey returns the data of a pre_shared_key extension with those
// identities and as many 32-byte binders as asked for, 0 meaning one for each.
func PreSharedKey(identities [][]byte, binders int) []byte {
	if binders == 0 {
		binders = len(identities)
	}
	var ids, bs, data builder
	for i, id := range identities {
		ids.vec16(id)
		ids.raw(binary.BigEndian.AppendUint32(nil, uint32(0x01020304+i))) // obfuscated_ticket_age
	}
	for i := range binders {
		bs.vec8(pattern(32, byte(i)))
	}
	data.vec16(ids)
	data.vec16(bs)
	return data
}

func appendJunk(b []byte, n int) []byte {
	for i := 0; n > 0; i++ {
		size := min(n, maxJunk)
		if rest := n - size; rest > 0 && rest < 4 {
			size -= 4 // what is left over must have room for a header
		}
		if size < 4 {
			panic(fmt.Sprintf("hellotest: %d bytes of junk have no room for an extension", n))
		}
		b = appendExtension(b, uint16(extJunk+i), pattern(size-4, byte(i)))
		n -= size
	}
	return b
}

func appendExtension(b []byte, kind uint16, data []byte) []byte {
	e := builder(b)
	e.u16(kind)
	e.vec16(data)
	return e
}
