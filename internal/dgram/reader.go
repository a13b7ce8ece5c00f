package dgram

// Hot: Read runs for every datagram. Budget: no allocation, 20 ns.

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/dtlsrec"
	"github.com/mintmark/mintmark/internal/quicpkt"
	"github.com/mintmark/mintmark/internal/route"
)

// A Protocol says what the datagrams of a listener are.
type Protocol uint8

// The protocols.
const (
	// QUIC of any version; the ID is the destination connection ID.
	QUIC Protocol = iota + 1
	// DTLS 1.2 and 1.3; the ID is the connection ID, where there is one.
	DTLS
	// UDP is anything; the ID is where BytesRules say.
	UDP
)

// Limits of the configuration.
const (
	// MaxBytesRules is how many BytesRules a listener may have: each is tried for
	// each datagram.
	MaxBytesRules = 8
	// MaxBytesOffset is the farthest that an ID or a condition may stand from the
	// start of a datagram: all that is sure to be in an unfragmented one.
	MaxBytesOffset = 1200
	// MaxBytesLength is the longest ID or condition.
	MaxBytesLength = 255
)

// A BytesRule says where the ID stands in a datagram of protocol UDP.
//
// WireGuard, whose responder says in a message of type 4 (data), 4 octets from the
// start, which of its peers it means:
//
//	BytesRule{Offset: 4, Length: 4, When: Condition{Offset: 0, Equals: []byte{4}}}
//
// GTP-U (3GPP TS 29.281), where a message of type 255 (G-PDU) carries the tunnel
// endpoint identifier that its receiver assigned:
//
//	BytesRule{Offset: 4, Length: 4, When: Condition{Offset: 1, Equals: []byte{255}}}
type BytesRule struct {
	// Offset and Length of the ID in octets.
	Offset, Length int
	// When must hold for the datagram. The zero Condition always holds.
	When Condition
}

// A Condition holds for datagrams that have certain octets at a place.
type Condition struct {
	Offset int
	Equals []byte
}

func (c *Condition) holds(datagram []byte) bool {
	return len(datagram) >= c.Offset+len(c.Equals) && bytes.Equal(datagram[c.Offset:c.Offset+len(c.Equals)], c.Equals)
}

// Causes for which a datagram is refused, besides those of packages quicpkt, dtlsrec
// and route.
const (
	// CauseVersionNegotiation is a Version Negotiation packet from a client. Only
	// servers send those (RFC 9000, 17.2.1).
	CauseVersionNegotiation quicpkt.Cause = "quic_version_negotiation"
)

// ReaderConfig says how to read the datagrams of a listener.
type ReaderConfig struct {
	Protocol Protocol
	// IDLength is the length of the servers' connection IDs in octets. For QUIC it may
	// be 0: the ID of a short header is then all that follows its first octet, which
	// does for QUIC-LB and for all rules that count from the start of an ID. For
	// DTLS 0 means that there are no connection IDs.
	IDLength int
	// Bytes, for UDP, are tried in order; the first whose condition holds and whose ID
	// is there decides.
	Bytes []BytesRule
}

// A Reader finds IDs in datagrams. It is immutable and safe for concurrent use.
type Reader struct {
	protocol Protocol
	idLength int
	rules    []BytesRule
}

// NewReader returns a Reader. The error joins all that is wrong with config.
func NewReader(config ReaderConfig) (*Reader, error) {
	r := &Reader{protocol: config.Protocol, idLength: config.IDLength, rules: config.Bytes}
	var problems []error
	longest := 0
	switch config.Protocol {
	case QUIC:
		longest = quicpkt.MaxIDLengthV1
		if r.idLength == 0 {
			r.idLength = quicpkt.Undelimited
		}
	case DTLS:
		longest = dtlsrec.MaxIDLength
	case UDP:
	default:
		problems = append(problems, fmt.Errorf("protocol %d is not known", config.Protocol))
	}
	if config.IDLength < 0 || config.IDLength > longest {
		problems = append(problems, fmt.Errorf("connection IDs have %d octets; with this protocol they have 0 to %d", config.IDLength, longest))
	}
	if config.Protocol != UDP && len(config.Bytes) > 0 {
		problems = append(problems, errors.New("rules for bytes are for protocol udp"))
	}
	if len(config.Bytes) > MaxBytesRules {
		problems = append(problems, fmt.Errorf("there are %d rules for bytes; %d are allowed", len(config.Bytes), MaxBytesRules))
	}
	for i, rule := range config.Bytes {
		if !within(rule.Offset, rule.Length) || rule.Length == 0 {
			problems = append(problems, fmt.Errorf("rule %d: ID of %d octets at %d; write 1 to %d octets at 0 to %d",
				i+1, rule.Length, rule.Offset, MaxBytesLength, MaxBytesOffset))
		}
		if !within(rule.When.Offset, len(rule.When.Equals)) {
			problems = append(problems, fmt.Errorf("rule %d: condition of %d octets at %d; write up to %d octets at 0 to %d",
				i+1, len(rule.When.Equals), rule.When.Offset, MaxBytesLength, MaxBytesOffset))
		}
	}
	if problems != nil {
		return nil, fmt.Errorf("reading datagrams: %w", errors.Join(problems...))
	}
	return r, nil
}

func within(offset, length int) bool {
	return offset >= 0 && offset <= MaxBytesOffset && length >= 0 && length <= MaxBytesLength
}

// A Message is what a datagram says about where it belongs.
type Message struct {
	// Field is FieldNone when there is no ID.
	Field idspace.Field
	// ID is a view into the datagram. That of a short QUIC header may have more
	// octets than were minted.
	ID []byte
	// Opening is a datagram that may open a session: it has no ID that a server must
	// have minted.
	Opening bool
}

// Read says what datagram is. The error is a quicpkt.Cause or a dtlsrec.Cause, and
// means that nobody can do anything with the datagram; m has no meaning then.
func (r *Reader) Read(datagram []byte, m *Message) error {
	switch r.protocol {
	case QUIC:
		return r.readQUIC(datagram, m)
	case DTLS:
		return r.readDTLS(datagram, m)
	default:
		r.readUDP(datagram, m)
		return nil
	}
}

// CauseOf returns the label of an error of Read.
func CauseOf(err error) route.Cause {
	switch c := err.(type) { //nolint:errorlint // Read returns nothing else
	case quicpkt.Cause:
		return route.Cause(c)
	case dtlsrec.Cause:
		return route.Cause(c)
	default:
		return "unreadable"
	}
}

func (r *Reader) readQUIC(datagram []byte, m *Message) error {
	var h quicpkt.Header
	if err := quicpkt.Parse(datagram, r.idLength, &h); err != nil {
		return err
	}
	if h.IsVersionNegotiation() {
		return CauseVersionNegotiation
	}
	m.Field, m.ID, m.Opening = idspace.FieldCIDShort, h.DCID, false
	if h.Long {
		m.Field, m.Opening = idspace.FieldCIDLong, true
	}
	return nil
}

func (r *Reader) readDTLS(datagram []byte, m *Message) error {
	id, err := dtlsrec.FindID(datagram, r.idLength)
	if err != nil {
		return err
	}
	m.Field, m.ID, m.Opening = idspace.FieldDTLSCID, id, false
	if len(id) == 0 {
		m.Field, m.Opening = idspace.FieldNone, true
	}
	return nil
}

func (r *Reader) readUDP(datagram []byte, m *Message) {
	m.Field, m.ID, m.Opening = idspace.FieldNone, nil, true
	for i := range r.rules {
		rule := &r.rules[i]
		if end := rule.Offset + rule.Length; len(datagram) >= end && rule.When.holds(datagram) {
			m.Field, m.ID, m.Opening = idspace.FieldBytes, datagram[rule.Offset:end:end], false
			return
		}
	}
}
