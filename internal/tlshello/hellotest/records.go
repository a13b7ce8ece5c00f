package hellotest

import (
	"encoding/binary"
	"fmt"
)

const (
	recordHeader  = 5
	messageHeader = 4
)

// Content types of records (RFC 8446, B.1).
const (
	TypeChangeCipherSpec = 20
	TypeAlert            = 21
	TypeHandshake        = 22
	TypeApplicationData  = 23
)

// Records cuts handshake messages into records of size bytes each; the last
// may be shorter.
func Records(messages []byte, size int) []byte {
	var b []byte
	for len(messages) > 0 {
		n := min(size, len(messages))
		b = append(b, Record(TypeHandshake, messages[:n])...)
		messages = messages[n:]
	}
	return b
}

// RecordsOf cuts handshake messages into records of the sizes given, one
// after the other, and begins again with the first size when they are used up.
func RecordsOf(messages []byte, sizes ...int) []byte {
	var b []byte
	for i := 0; len(messages) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(messages))
		b = append(b, Record(TypeHandshake, messages[:n])...)
		messages = messages[n:]
	}
	return b
}

// Record returns one record.
func Record(kind byte, fragment []byte) []byte {
	var b builder
	b.u8(kind)
	b.u16(0x0303)
	b.vec16(fragment)
	return b
}

func message(kind byte, body []byte) []byte {
	if len(body) >= 1<<24 {
		panic(fmt.Sprintf("hellotest: a message of %d bytes", len(body)))
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(kind)<<24|uint32(len(body)))
	return append(b, body...)
}

// pattern returns n bytes that are easy to recognise in a dump.
func pattern(n int, start byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = start + byte(i)
	}
	return b
}

// A builder appends the presentation language of RFC 8446, 3.
type builder []byte

func (b *builder) u8(v byte)    { *b = append(*b, v) }
func (b *builder) u16(v uint16) { *b = binary.BigEndian.AppendUint16(*b, v) }
func (b *builder) raw(v []byte) { *b = append(*b, v...) }

func (b *builder) vec8(v []byte) {
	if len(v) > 0xff {
		panic(fmt.Sprintf("hellotest: %d bytes in a vector of up to 255", len(v)))
	}
	b.u8(byte(len(v)))
	b.raw(v)
}

func (b *builder) vec16(v []byte) {
	if len(v) > 0xffff {
		panic(fmt.Sprintf("hellotest: %d bytes in a vector of up to 65535", len(v)))
	}
	b.u16(uint16(len(v)))
	b.raw(v)
}
