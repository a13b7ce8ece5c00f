package tlshello

import "encoding/binary"

// A reader takes fields off the front of a message. Its methods report
// whether the field was all there; after a false one the reader is of no use.
type reader []byte

func (r *reader) take(n int) (b []byte, ok bool) {
	if len(*r) < n {
		return nil, false
	}
	// The capacity ends with the field, so that an append to a view cannot
	// write over what comes after it.
	b = (*r)[:n:n]
	*r = (*r)[n:]
	return b, true
}

func (r *reader) u8() (v int, ok bool) {
	if len(*r) < 1 {
		return 0, false
	}
	v = int((*r)[0])
	*r = (*r)[1:]
	return v, true
}

func (r *reader) u16() (v int, ok bool) {
	if len(*r) < 2 {
		return 0, false
	}
	v = int(binary.BigEndian.Uint16(*r))
	*r = (*r)[2:]
	return v, true
}

// vec8 takes a vector with a length of one byte (RFC 8446, 3.4).
func (r *reader) vec8() (b []byte, ok bool) {
	n, ok := r.u8()
	if !ok {
		return nil, false
	}
	return r.take(n)
}

// vec16 takes a vector with a length of two bytes.
func (r *reader) vec16() (b []byte, ok bool) {
	n, ok := r.u16()
	if !ok {
		return nil, false
	}
	return r.take(n)
}

// uint24 is the length field of a handshake message.
func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }
