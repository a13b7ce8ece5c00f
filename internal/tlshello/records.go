// This file is hot: every connection passes through it, once for each read
// of its socket. Budget: no allocation, and work in proportion to the new
// bytes.

package tlshello

import (
	"encoding/binary"
	"slices"
)

// MaxHello is the largest ClientHello accepted, records included. Clients
// send 0.2 to 2.3 KB today; the rest is room for post-quantum keys and many
// tickets. It stops a client from making the balancer hold, and read, as much
// as a 24-bit length can announce.
const MaxHello = 64 << 10

// maxKept is the largest buffer that a Parser keeps over Reset. It stops a
// wave of large hellos in small records from leaving 64 KiB with every pooled
// Parser for good.
const maxKept = 8 << 10

const (
	recordHeaderLen  = 5       // type, version, length
	maxRecordLen     = 1 << 14 // RFC 8446, 5.1: of a plaintext record
	messageHeaderLen = 4       // type, 24-bit length

	recordChangeCipherSpec = 20
	recordAlert            = 21
	recordHandshake        = 22

	messageClientHello = 1
)

// A Parser parses one ClientHello incrementally. The zero Parser is ready
// for use. It is not safe for concurrent use.
type Parser struct {
	// What has been walked: complete records only. The bytes of a record that
	// is still arriving are looked at again by the next call, but never more
	// than the first nine of them.
	walked  int // bytes of input
	records int
	got     int // bytes of the message in those records

	head   [messageHeaderLen]byte
	length int // of the message, its header included; 0 until known

	refusal *Error // sticky
	buf     []byte // the message, when it was spread over several records
}

// Parse reads buf, which holds all bytes received so far: each call passes
// the same bytes as the one before with more appended (the backing array may
// move). It returns nil when the hello is complete, ErrNeedMore, or *Error.
// Bytes after the hello's last record (early data) are not looked at.
//
// h is meaningful only when Parse returned nil. A refusal is final: further
// calls return it again.
func (p *Parser) Parse(buf []byte, h *Hello) error {
	if p.refusal != nil {
		return p.refusal
	}
	complete, refusal := p.walk(buf)
	if refusal == nil {
		if !complete {
			return ErrNeedMore
		}
		refusal = parseBody(p.message(buf)[messageHeaderLen:], h)
	}
	if refusal != nil {
		p.refusal = refusal
		return refusal
	}
	h.Length = p.walked
	return nil
}

// Reset makes p ready for another hello and keeps its buffer, unless a hello
// of unusual size has made it large. Views into that buffer end here.
func (p *Parser) Reset() {
	buf := p.buf[:0]
	if cap(buf) > maxKept {
		buf = nil
	}
	*p = Parser{buf: buf}
}

// walk goes over the records that arrived since the last call and reports
// whether the message is complete.
func (p *Parser) walk(buf []byte) (complete bool, refusal *Error) {
	for p.length == 0 || p.got < p.length {
		if len(buf) < p.walked {
			return false, nil // the caller took bytes back
		}
		rest := buf[p.walked:]
		if refusal := checkRecordHeader(rest, p.walked == 0); refusal != nil {
			return false, refusal
		}
		if len(rest) < recordHeaderLen {
			return false, nil
		}
		n := int(binary.BigEndian.Uint16(rest[3:]))
		rest = rest[recordHeaderLen:]
		if refusal := p.checkMessage(rest[:min(n, len(rest))], n); refusal != nil {
			return false, refusal
		}
		if len(rest) < n {
			return false, nil
		}
		p.walked += recordHeaderLen + n
		p.got += n
		p.records++
	}
	return len(buf) >= p.walked, nil
}

// checkRecordHeader refuses a record header as soon as one of its bytes is
// wrong. b begins with it and may be shorter.
//
// The minor version is ignored, as RFC 8446, 5.1, asks: clients write 3.1 or
// 3.3 there, whatever they speak. Empty handshake records are forbidden by
// the same section; refusing the first bounds them.
func checkRecordHeader(b []byte, first bool) *Error {
	switch {
	case len(b) >= 1 && b[0] != recordHandshake:
		if !first {
			return errRecordType
		}
		if b[0] >= 'A' && b[0] <= 'Z' {
			return errText
		}
		return errNotTLS // an SSLv2 hello too
	case len(b) >= 2 && b[1] != 3:
		if first {
			return errNotTLS
		}
		return errRecordVersion
	case len(b) >= 4 && int(b[3])<<8 > maxRecordLen,
		len(b) >= 5 && int(binary.BigEndian.Uint16(b[3:])) > maxRecordLen:
		return errRecordOverflow
	case len(b) >= 5 && b[3] == 0 && b[4] == 0:
		return errRecordEmpty
	}
	return nil
}

// checkMessage looks at the message's header, which may be spread over
// records too, and refuses a message as soon as it is known not to fit.
// fragment is what is there of the next record's n bytes.
func (p *Parser) checkMessage(fragment []byte, n int) *Error {
	if p.length == 0 {
		have := p.got + copy(p.head[p.got:], fragment)
		if have >= 1 && p.head[0] != messageClientHello {
			return errType
		}
		if have < messageHeaderLen {
			return nil
		}
		p.length = messageHeaderLen + uint24(p.head[1:])
	}
	// What is left after this record takes at least as many bytes again, and
	// a header for every 16 KiB.
	left := p.length - p.got - n
	if left < 0 {
		// RFC 8446, 5.1: a message before a change of keys ends its record.
		return errTrailing
	}
	headers := (left + maxRecordLen - 1) / maxRecordLen * recordHeaderLen
	if p.walked+recordHeaderLen+n+left+headers > MaxHello {
		return errTooLong
	}
	return nil
}

// message returns the complete message: a view into buf when one record
// holds it, otherwise gathered into p's own buffer. That happens once, here,
// and not while records arrive, so that a hello that never completes costs
// no memory beside the caller's.
func (p *Parser) message(buf []byte) []byte {
	if p.records == 1 {
		return buf[recordHeaderLen:p.walked:p.walked]
	}
	p.buf = slices.Grow(p.buf[:0], p.length)
	for rest := buf[:p.walked]; len(rest) > 0; {
		n := int(binary.BigEndian.Uint16(rest[3:]))
		p.buf = append(p.buf, rest[recordHeaderLen:recordHeaderLen+n]...)
		rest = rest[recordHeaderLen+n:]
	}
	return p.buf
}
