// Package dtlsrec reads the record headers of DTLS 1.2 (RFC 6347), with connection
// IDs (RFC 9146), and of DTLS 1.3 (RFC 9147), as far as they are in the clear. It
// also builds a ClientHello that a DTLS server answers without a handshake, for
// health checks.
//
// It decrypts nothing, joins no fragments, and does not follow sequence numbers.
//
// No record says how long its connection ID is: both ends know it from their
// handshake, and a balancer from its configuration. All servers of a pool must
// therefore mint IDs of one length.
//
// A datagram holds one record or several. They belong to one association: a sender
// must not mix associations, and a receiver must discard what follows the first
// record if its connection ID is that of another one (RFC 9147, 4). So the first
// connection ID in a datagram decides where it goes, and this package does not
// compare the others with it: a datagram that mixes them hurts its sender only.
//
// The package imports the standard library only. internal/dgram and explain use
// it.
package dtlsrec

// Hot: FindID runs for every datagram of a DTLS listener. Budget: no allocation,
// 15 ns a record.

import "encoding/binary"

// Limits.
const (
	// MaxIDLength is the longest connection ID in octets: the handshake's length of
	// it is one octet (RFC 9146, 3).
	MaxIDLength = 255
	// MaxRecords is how many records of a datagram FindID looks at. A datagram of
	// 64 KiB has room for thousands of empty records, each of which would cost us
	// time; a flight of a handshake has a handful.
	MaxRecords = 8
)

// A ContentType is what a record carries (RFC 9147, 4.1; RFC 9146, 4).
type ContentType uint8

// The content types.
const (
	ChangeCipherSpec ContentType = 20
	Alert            ContentType = 21
	Handshake        ContentType = 22
	ApplicationData  ContentType = 23
	Heartbeat        ContentType = 24
	// CID is a DTLS 1.2 record with a connection ID, called tls12_cid. What it carries
	// is encrypted.
	CID ContentType = 25
	// ACK acknowledges records of a DTLS 1.3 handshake.
	ACK ContentType = 26
	// Ciphertext stands for the unified header of DTLS 1.3, which has no content
	// type in the clear. It is never on the wire.
	Ciphertext ContentType = 0
)

// Versions on the wire. A DTLS 1.3 record that is not encrypted says 1.2.
const (
	Version10 uint16 = 0xfeff
	Version12 uint16 = 0xfefd
	// Version13 is only in extensions of the handshake.
	Version13 uint16 = 0xfefc

	versionMajor = 0xfe // of all versions of DTLS: 1.x complemented
)

// The header of DTLS 1.2 and of unencrypted DTLS 1.3 (RFC 6347, 4.1): type,
// version, epoch, sequence number of 6 octets, and, after the connection ID if there
// is one, length.
const (
	versionAt  = 1
	epochAt    = 3
	idAt       = 11
	lengthSize = 2
)

// The first octet of the unified header (RFC 9147, 4): 001CSLEE.
const (
	unifiedMask  = 0b1110_0000
	unifiedValue = 0b0010_0000
	unifiedID    = 0b0001_0000
	unifiedSeq16 = 0b0000_1000
	unifiedLen   = 0b0000_0100
	unifiedEpoch = 0b0000_0011
)

// A Cause says why octets are not a DTLS record. It is an error, and its value
// labels metrics.
type Cause string

// The causes.
const (
	// CauseEmpty is a datagram without octets.
	CauseEmpty Cause = "dtls_empty"
	// CauseNotDTLS is a first octet that begins no record, or the version of another
	// protocol.
	CauseNotDTLS Cause = "not_dtls"
	// CauseTruncated is a record that is longer than the datagram.
	CauseTruncated Cause = "dtls_truncated"
	// CauseUnexpectedID is a record with a connection ID where IDs have no octets.
	CauseUnexpectedID Cause = "dtls_unexpected_id"
)

// Error returns a message for people.
func (c Cause) Error() string {
	switch c {
	case CauseEmpty:
		return "dtlsrec: datagram is empty"
	case CauseNotDTLS:
		return "dtlsrec: not a DTLS record"
	case CauseTruncated:
		return "dtlsrec: record is longer than the datagram"
	case CauseUnexpectedID:
		return "dtlsrec: record has a connection ID, but the configured length is 0"
	default:
		return "dtlsrec: " + string(c)
	}
}

// A Record is the header of a record, and its content. Its slices are views into
// the datagram and are valid as long as that is.
type Record struct {
	// Type is Ciphertext for the unified header of DTLS 1.3.
	Type ContentType
	// Version is 0 in the unified header.
	Version uint16
	// Epoch is whole, or, in the unified header, its lowest two bits.
	Epoch uint16
	// Sequence is the sequence number of 48 bits. In the unified header it has 8 or
	// 16 bits and is encrypted, so that it says nothing.
	Sequence uint64
	// ID is the connection ID, empty if there is none.
	ID []byte
	// Content is what follows the header.
	Content []byte
	// Length is the length of the whole record in octets.
	Length int
}

// Parse reads the record at the head of datagram into r. The error is a Cause; r
// has no meaning then. The next record, if there is one, begins at
// datagram[r.Length:].
//
// idLength is how many octets the connection IDs of the servers have, 0 to
// MaxIDLength; 0 is for servers without them. A record without an ID is as good as
// one with it: handshakes have none, nor have associations whose client did not ask
// for it.
func Parse(datagram []byte, idLength int, r *Record) error {
	if len(datagram) == 0 {
		return CauseEmpty
	}
	first := datagram[0]
	switch {
	case first&unifiedMask == unifiedValue:
		return parseUnified(datagram, idLength, r)
	case first < byte(ChangeCipherSpec) || first > byte(ACK):
		return CauseNotDTLS
	case len(datagram) > versionAt && datagram[versionAt] != versionMajor:
		return CauseNotDTLS
	case len(datagram) < epochAt:
		return CauseTruncated
	}
	version := binary.BigEndian.Uint16(datagram[versionAt:])
	if ContentType(first) != CID {
		idLength = 0
	} else if version != Version12 { // RFC 9146, 4: for DTLS 1.2 only
		return CauseNotDTLS
	} else if idLength <= 0 { // RFC 9146, 3: an ID of no octets is not sent in CID records
		return CauseUnexpectedID
	}
	contentAt := idAt + idLength + lengthSize
	if len(datagram) < contentAt {
		return CauseTruncated
	}
	end := contentAt + int(binary.BigEndian.Uint16(datagram[contentAt-lengthSize:]))
	if len(datagram) < end {
		return CauseTruncated
	}
	r.Type, r.Version = ContentType(first), version
	r.Epoch = binary.BigEndian.Uint16(datagram[epochAt:])
	r.Sequence = binary.BigEndian.Uint64(datagram[epochAt:]) & (1<<48 - 1) // 2 octets of epoch, 6 of sequence
	r.ID = datagram[idAt : idAt+idLength : idAt+idLength]
	r.Content, r.Length = datagram[contentAt:end:end], end
	return nil
}

// parseUnified reads the header of an encrypted DTLS 1.3 record (RFC 9147, 4):
// flags, connection ID, sequence number, length, of which the last may be left out
// by the last record of a datagram.
func parseUnified(datagram []byte, idLength int, r *Record) error {
	flags := datagram[0]
	if flags&unifiedID == 0 {
		idLength = 0
	} else if idLength <= 0 {
		return CauseUnexpectedID
	}
	at := 1 + idLength
	sequenceEnd := at + 1
	if flags&unifiedSeq16 != 0 {
		sequenceEnd++
	}
	contentAt := sequenceEnd
	if flags&unifiedLen != 0 {
		contentAt += lengthSize
	}
	if len(datagram) < contentAt {
		return CauseTruncated
	}
	end := len(datagram)
	if flags&unifiedLen != 0 {
		end = contentAt + int(binary.BigEndian.Uint16(datagram[sequenceEnd:]))
		if len(datagram) < end {
			return CauseTruncated
		}
	}
	r.Type, r.Version, r.Epoch, r.Sequence = Ciphertext, 0, uint16(flags&unifiedEpoch), 0
	for _, octet := range datagram[at:sequenceEnd] {
		r.Sequence = r.Sequence<<8 | uint64(octet)
	}
	r.ID = datagram[1:at:at]
	r.Content, r.Length = datagram[contentAt:end:end], end
	return nil
}

// FindID returns the first connection ID of idLength octets in a datagram, a view
// into it, and no ID if none of the first MaxRecords records has one. It looks
// beyond the first record because the last flight of a DTLS 1.2 client has records
// without an ID before one with it, in one datagram. The error is about the first
// record and is a Cause: what stands behind it and is no record ends the search.
func FindID(datagram []byte, idLength int) ([]byte, error) {
	var r Record
	if err := Parse(datagram, idLength, &r); err != nil {
		return nil, err
	}
	for range MaxRecords - 1 {
		if len(r.ID) > 0 || r.Length == len(datagram) {
			break
		}
		datagram = datagram[r.Length:]
		if Parse(datagram, idLength, &r) != nil {
			r.ID = nil
			break
		}
	}
	return r.ID, nil
}
