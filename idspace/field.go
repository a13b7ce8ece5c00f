package idspace

import (
	"fmt"
	"strings"
)

// Field says where in a message an ID stood. The names are those of the
// configuration file, the metrics and the access log.
type Field uint8

// The fields, in the order in which the glossary lists them.
const (
	// FieldNone is a message without an ID. No rule is bound to it.
	FieldNone Field = iota
	// FieldPSK is an identity of the TLS 1.3 pre_shared_key extension (RFC 8446, 4.2.11).
	FieldPSK
	// FieldTicket is the TLS 1.2 session_ticket extension (RFC 5077, 3.2).
	FieldTicket
	// FieldSessionID is the session_id of a ClientHello (RFC 5246, 7.4.1.2).
	FieldSessionID
	// FieldCIDShort is the destination connection ID of a QUIC short header (RFC 8999, 5.2).
	FieldCIDShort
	// FieldCIDLong is the destination connection ID of a QUIC long header (RFC 8999, 5.1).
	FieldCIDLong
	// FieldDTLSCID is a DTLS connection ID (RFC 9146 and RFC 9147, 4).
	FieldDTLSCID
	// FieldCookie is the value of an HTTP cookie.
	FieldCookie
	// FieldHeader is the value of an HTTP header.
	FieldHeader
	// FieldQuery is the value of a parameter of an HTTP request's query.
	FieldQuery
	// FieldPath is a segment of an HTTP request's path.
	FieldPath
	// FieldJSON is a top-level string of a JSON request body.
	FieldJSON
	// FieldBytes is a run of bytes at a configured offset of a datagram or stream.
	FieldBytes

	fieldCount
)

// NumFields is the number of fields, FieldNone included. It sizes tables
// that are indexed by Field.
const NumFields = int(fieldCount)

//nolint:gochecknoglobals // a constant table: Go has no constant arrays
var fieldNames = [fieldCount]string{
	"none", "psk", "ticket", "session_id", "cid_short", "cid_long", "dtls_cid",
	"cookie", "header", "query", "path", "json", "bytes",
}

// String returns the name of f as the configuration file writes it.
func (f Field) String() string {
	if f >= fieldCount {
		return fmt.Sprintf("field(%d)", uint8(f))
	}
	return fieldNames[f]
}

// ParseField returns the field with that name, and false if there is none.
// "none" is not a field that can be asked for.
func ParseField(name string) (Field, bool) {
	for f := FieldPSK; f < fieldCount; f++ {
		if fieldNames[f] == name {
			return f, true
		}
	}
	return FieldNone, false
}

// A FieldSet is a set of fields. The zero FieldSet, as the binding of a rule,
// means any field.
type FieldSet uint16

// Fields returns the set of the fields given.
func Fields(fields ...Field) FieldSet {
	var s FieldSet
	for _, f := range fields {
		s |= 1 << f
	}
	return s
}

// everyField is what the zero FieldSet stands for.
const everyField FieldSet = 1<<fieldCount - 1<<FieldPSK

// Has reports whether f is in s, where the zero set holds every field.
func (s FieldSet) Has(f Field) bool { return s == 0 || s&(1<<f) != 0 }

// Intersects reports whether s and t have a field in common, where the zero
// set holds every field.
func (s FieldSet) Intersects(t FieldSet) bool { return s == 0 || t == 0 || s&t != 0 }

// String lists the names of the fields in s, and "any" for the zero set.
func (s FieldSet) String() string {
	if s == 0 {
		return "any"
	}
	var names []string
	for f := range Field(16) {
		if s&(1<<f) != 0 {
			names = append(names, f.String())
		}
	}
	return strings.Join(names, ", ")
}

// intersection returns the fields that are in both s and t, which must
// intersect; it is the zero set if both are.
func (s FieldSet) intersection(t FieldSet) FieldSet {
	switch {
	case s == 0:
		return t
	case t == 0:
		return s
	default:
		return s & t
	}
}
