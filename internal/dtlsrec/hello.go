package dtlsrec

import (
	"crypto/rand"
	"encoding/binary"
)

// The header of a handshake message or of a fragment of one (RFC 6347, 4.2.2):
// type, length of 3 octets, message number of 2, fragment offset and fragment length
// of 3 each.
const (
	fragmentOffsetAt = 6
	fragmentLengthAt = 9
	handshakeHeader  = 12
)

// Types of handshake messages (RFC 6347, 4.3.2).
const (
	clientHello        = 1
	serverHello        = 2
	helloVerifyRequest = 3
)

// handshake returns type and body of the handshake message that r begins with, as
// far as its fragment goes, and false if there is none in the clear.
func (r *Record) handshake() (kind byte, fragment []byte, ok bool) {
	if r.Type != Handshake || r.Epoch != 0 || len(r.Content) < handshakeHeader {
		return 0, nil, false
	}
	length, offset := uint24(r.Content[1:]), uint24(r.Content[fragmentOffsetAt:])
	size := uint24(r.Content[fragmentLengthAt:])
	if offset+size > length || size > len(r.Content)-handshakeHeader {
		return 0, nil, false
	}
	return r.Content[0], r.Content[handshakeHeader : handshakeHeader+size], true
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// A Probe is a question that every DTLS server answers: a ClientHello. A server of
// DTLS 1.2 answers with a HelloVerifyRequest and keeps no state for it; one of DTLS
// 1.3 with a HelloRetryRequest, because the hello names no key. A server that can do
// nothing with what is offered answers with an alert, and shows thereby that it is
// there. Whether its certificate is in order, a probe does not say.
type Probe struct{ random [32]byte }

// NewProbe returns a probe with a random of its own.
func NewProbe() Probe {
	var p Probe
	_, _ = rand.Read(p.random[:]) // never fails: it ends the program instead
	return p
}

// Append appends the datagram of p to dst: one record with one ClientHello that
// offers DTLS 1.2 and 1.3, the common cipher suites, and no more than must be there
// for an answer.
func (p Probe) Append(dst []byte) []byte {
	suites := []uint16{
		0x1301, 0x1302, 0x1303, // TLS 1.3: AES-128-GCM, AES-256-GCM, ChaCha20
		0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, // ECDHE with ECDSA and RSA
		0xc0ae, 0xc0a8, 0x00a8, 0xccab, // CCM_8, as in CoAP, and pre-shared keys
		0xc009, 0xc013, 0x002f, // CBC, for old servers
	}
	dst = append(dst, byte(Handshake))
	dst = binary.BigEndian.AppendUint16(dst, Version10) // RFC 6347, 4.2.1: the first hello may say 1.0
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)           // epoch, sequence number
	return appendSized(dst, 2, func(b []byte) []byte {
		body := p.body(suites)
		b = append(b, clientHello)
		b = appendUint24(b, len(body))
		b = append(b, 0, 0) // message number
		b = appendUint24(b, 0)
		b = appendUint24(b, len(body))
		return append(b, body...)
	})
}

// body returns the ClientHello (RFC 6347, 4.2.1; RFC 9147, 5.3).
func (p Probe) body(suites []uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, Version12)
	b = append(b, p.random[:]...)
	b = append(b, 0) // no session ID
	b = append(b, 0) // no cookie
	b = appendSized(b, 2, func(b []byte) []byte { return appendUint16s(b, suites...) })
	b = append(b, 1, 0) // no compression
	return appendSized(b, 2, func(b []byte) []byte {
		b = appendExtension(b, 43, 1, Version13, Version12)                           // supported_versions
		b = appendExtension(b, 10, 2, 0x001d, 0x0017, 0x0018)                         // supported_groups: X25519, P-256, P-384
		b = appendExtension(b, 13, 2, 0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0807) // signature_algorithms
		b = appendExtension(b, 51, 2)                                                 // key_share without a key (RFC 8446, 4.2.8)
		b = append(b, 0, 11, 0, 2, 1, 0)                                              // ec_point_formats: uncompressed
		b = append(b, 0, 23, 0, 0)                                                    // extended_master_secret
		return append(b, 0xff, 1, 0, 1, 0)                                            // renegotiation_info
	})
}

// appendExtension appends an extension that is a list of 16-bit values, whose
// length takes sizeOfLength octets.
func appendExtension(b []byte, kind uint16, sizeOfLength int, list ...uint16) []byte {
	b = binary.BigEndian.AppendUint16(b, kind)
	return appendSized(b, 2, func(b []byte) []byte {
		return appendSized(b, sizeOfLength, func(b []byte) []byte { return appendUint16s(b, list...) })
	})
}

func appendUint16s(b []byte, list ...uint16) []byte {
	for _, v := range list {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

func appendUint24(b []byte, v int) []byte { return append(b, byte(v>>16), byte(v>>8), byte(v)) }

// appendSized appends what f appends, with its length in size octets before it.
func appendSized(b []byte, size int, f func([]byte) []byte) []byte {
	at := len(b)
	b = f(append(b, make([]byte, size)...))
	n := len(b) - at - size
	for i := range size {
		b[at+i] = byte(n >> (8 * (size - 1 - i)))
	}
	return b
}

// An Answer is what a server said to a probe.
type Answer uint8

// The answers.
const (
	// NoAnswer is a datagram that answers nothing.
	NoAnswer Answer = iota
	// AnswerVerify is a HelloVerifyRequest (RFC 6347, 4.2.1).
	AnswerVerify
	// AnswerHello is a ServerHello, or the HelloRetryRequest of DTLS 1.3, which is one.
	AnswerHello
	// AnswerAlert is an alert in the clear: a DTLS server, but not for us.
	AnswerAlert
)

const (
	minVerify = 2 + 1          // version, empty cookie
	minHello  = 2 + 32 + 1 + 3 // version, random, empty session ID, cipher suite and compression
)

// ParseAnswer says what a datagram is that came in return for a probe. The first
// record tells.
func ParseAnswer(datagram []byte) Answer {
	var r Record
	if Parse(datagram, 0, &r) != nil || r.Epoch != 0 {
		return NoAnswer
	}
	const warning, fatal = 1, 2 // RFC 8446, 6
	if r.Type == Alert && len(r.Content) == 2 && (r.Content[0] == warning || r.Content[0] == fatal) {
		return AnswerAlert
	}
	kind, fragment, ok := r.handshake()
	switch {
	case ok && kind == helloVerifyRequest && len(fragment) >= minVerify && len(fragment) == minVerify+int(fragment[2]):
		return AnswerVerify
	case ok && kind == serverHello && len(fragment) >= minHello:
		return AnswerHello
	default:
		return NoAnswer
	}
}
