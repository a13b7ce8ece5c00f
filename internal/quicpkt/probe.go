package quicpkt

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
)

const (
	// ProbeSize is the size of a probe in octets. Servers ignore an Initial packet in
	// a smaller datagram (RFC 9000, 14.1), and need not answer an unknown version in
	// one (RFC 9000, 6.1).
	ProbeSize = 1200
	// probeIDLength is the length of both connection IDs of a probe. An Initial
	// packet's destination has at least 8 octets (RFC 9000, 7.2).
	probeIDLength = 8
	// MaxAnswerSize is the size of the largest answer to a probe that is looked at.
	// It holds hundreds of versions; a server that lists more is not answering.
	MaxAnswerSize = 2048
)

// ReservedVersion returns a version of the form 0x?a?a?a?a, the open nibbles taken
// from r. Those are set aside to make servers negotiate (RFC 9000, 15): none will
// ever support one.
func ReservedVersion(r uint32) uint32 { return r&0xf0f0f0f0 | 0x0a0a0a0a }

// A Probe is a question to which every QUIC server answers with a Version
// Negotiation packet, at once and without keeping state: a packet of a version
// that nobody supports. It shows that a QUIC server listens, not that its
// certificate or its application is in order.
type Probe struct {
	version    uint32
	dcid, scid [probeIDLength]byte
}

// NewProbe returns a probe with a random reserved version and random connection
// IDs. An answer fits no other probe, so one that was late or forged by somebody who
// did not see the probe is not taken for it.
func NewProbe() Probe {
	var random [4]byte
	var p Probe
	_, _ = rand.Read(random[:]) // never fails: it ends the program instead
	_, _ = rand.Read(p.dcid[:])
	_, _ = rand.Read(p.scid[:])
	p.version = ReservedVersion(binary.BigEndian.Uint32(random[:]))
	return p
}

// Append appends the datagram of p to dst: ProbeSize octets that look like an
// Initial packet of version 1 but for the version.
func (p Probe) Append(dst []byte) []byte {
	end := len(dst) + ProbeSize
	dst = append(dst, longBit|fixedBit|0x03) // Initial, packet number of 4 octets
	dst = binary.BigEndian.AppendUint32(dst, p.version)
	dst = append(dst, probeIDLength)
	dst = append(dst, p.dcid[:]...)
	dst = append(dst, probeIDLength)
	dst = append(dst, p.scid[:]...)
	dst = append(dst, 0) // token length
	const twoOctets = 0x4000
	dst = binary.BigEndian.AppendUint16(dst, twoOctets|uint16(end-len(dst)-2)) // length of what follows
	return append(dst, make([]byte, end-len(dst))...)
}

// Answers reports whether datagram is a Version Negotiation packet in answer to
// p, which is what a server that is well sends (RFC 9000, 6 and 17.2.1): its
// connection IDs are those of p the other way round, and it lists versions, the
// one of p not among them.
func (p Probe) Answers(datagram []byte) bool {
	if len(datagram) > MaxAnswerSize {
		return false
	}
	var h Header
	if Parse(datagram, Undelimited, &h) != nil || !h.IsVersionNegotiation() {
		return false
	}
	if !bytes.Equal(h.DCID, p.scid[:]) || !bytes.Equal(h.SCID, p.dcid[:]) {
		return false
	}
	some := false
	for v := range h.Versions() {
		if v == p.version {
			return false
		}
		some = true
	}
	return some
}
