// Package explain says where a message would go, and why, in words: for people
// who have an ID or a captured hello and a question. The decision is package
// route's own.
package explain

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// MaxValue bounds what is explained: the largest hello, in hexadecimal with
// separators, and some room. It stops a wrong file from filling the memory.
const MaxValue = 4 * tlshello.MaxHello

// An InputError says that what a person gave is nothing that can be explained.
// Hint is what to do about it, or "".
type InputError struct{ Reason, Hint string }

// Error returns the reason.
func (e *InputError) Error() string { return e.Reason }

func inputf(format string, args ...any) error {
	return &InputError{Reason: fmt.Sprintf(format, args...)}
}

// A Message is what a person asked about.
type Message struct {
	Candidates []route.Candidate
	SNI        string
	Hello      *tlshello.Hello // nil: a bare ID
	HTTP       bool            // it is for a listener of protocol http
	Host, Path string          // of an HTTP request
	Notes      []string        // what else there is to say
	Datagram   *Datagram       // nil: no datagram and none of its IDs
}

// AddTo adds to the facts what the message says.
func (m *Message) AddTo(f *route.Facts) {
	if m.Datagram != nil {
		f.HashPort, f.Opening = true, m.Datagram.Opening
	}
	if h := m.Hello; h != nil {
		f.OffersTLS13 = h.OffersTLS13
		f.HasTicket = len(h.Ticket) > 0 || h.NumPSK > 0
		f.EarlyData = h.EarlyData
	}
}

// Read reads a value: raw bytes, or else text that spells them in hexadecimal
// or base64, or, for a field of text, is the ID. field is FieldNone when the
// person did not say what it is.
func Read(data []byte, raw bool, field idspace.Field) (*Message, error) {
	id := data
	var err error
	switch {
	case isTextField(field):
		id = bytes.TrimRight(data, "\r\n")
	case !raw:
		if id, err = Decode(string(data)); err != nil {
			return nil, err
		}
	}
	if len(id) == 0 {
		return nil, inputf("the value is empty")
	}
	if field != idspace.FieldNone {
		return &Message{Candidates: []route.Candidate{{Field: field, ID: id}}}, nil
	}
	hello, err := parseHello(id)
	if err != nil || hello != nil {
		return helloMessage(hello), err
	}
	// Any of the fields; the order is that of a hello.
	return &Message{Candidates: []route.Candidate{
		{Field: idspace.FieldPSK, ID: id},
		{Field: idspace.FieldTicket, ID: id},
		{Field: idspace.FieldSessionID, ID: id},
	}}, nil
}

// IsText reports whether data can only be text: bytes of IDs and hellos
// practically always have some that are no letters.
func IsText(data []byte) bool {
	if !utf8.Valid(data) {
		return false
	}
	return bytes.IndexFunc(data, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }) < 0
}

func isTextField(f idspace.Field) bool {
	switch f {
	case idspace.FieldCookie, idspace.FieldHeader, idspace.FieldQuery, idspace.FieldPath, idspace.FieldJSON:
		return true
	default:
		return false
	}
}

// Decode reads hexadecimal, as tools print it, or else base64.
func Decode(text string) ([]byte, error) {
	text = strings.Join(strings.Fields(text), "")
	bare := strings.ReplaceAll(strings.TrimPrefix(text, "0x"), ":", "")
	b, err := hex.DecodeString(bare)
	if err == nil {
		return b, nil
	}
	if errors.Is(err, hex.ErrLength) {
		return nil, inputf("the value has an odd number of hexadecimal digits: %s", strconv.Quote(clip(text)))
	}
	unpadded := strings.TrimRight(text, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := encoding.Strict().DecodeString(unpadded); err == nil {
			return b, nil
		}
	}
	return nil, inputf("the value is neither hexadecimal nor base64: %s", strconv.Quote(clip(text)))
}

// parseHello parses a ClientHello with or without its record header. It
// returns nil when id is none.
func parseHello(id []byte) (*tlshello.Hello, error) {
	const recordHandshake, messageClientHello = 22, 1
	h := new(tlshello.Hello)
	var err error
	switch {
	case len(id) >= 3 && id[0] == recordHandshake && id[1] == 3:
		err = new(tlshello.Parser).Parse(id, h)
	case len(id) >= 4 && id[0] == messageClientHello && int(id[1])<<16|int(id[2])<<8|int(id[3]) == len(id)-4:
		err = tlshello.ParseMessage(id, h)
	default:
		return nil, nil //nolint:nilnil // no hello, and no error
	}
	if refusal, ok := errors.AsType[*tlshello.Error](err); ok {
		return nil, &InputError{
			fmt.Sprintf("the value begins like a ClientHello and is not one that is accepted: %s (%s)", refusal.Detail, refusal.Cause),
			"if it is an ID, say in which field: --field psk",
		}
	}
	if err != nil {
		return nil, &InputError{
			"the value begins like a ClientHello and ends before its end",
			"give all of it; if it is an ID, say in which field: --field psk",
		}
	}
	return h, nil
}

// helloMessage lists the candidates as the balancer does.
func helloMessage(h *tlshello.Hello) *Message {
	if h == nil {
		return nil
	}
	m := &Message{Hello: h, SNI: string(h.SNI)}
	for _, id := range h.Identities[:h.NumPSK] {
		m.Candidates = append(m.Candidates, route.Candidate{Field: idspace.FieldPSK, ID: id})
	}
	if len(h.Ticket) > 0 {
		m.Candidates = append(m.Candidates, route.Candidate{Field: idspace.FieldTicket, ID: h.Ticket})
	}
	if len(h.SessionID) > 0 {
		m.Candidates = append(m.Candidates, route.Candidate{Field: idspace.FieldSessionID, ID: h.SessionID})
	}
	return m
}

// clip bounds a text that an error repeats.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
