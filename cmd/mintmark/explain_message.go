package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// maxValue bounds what explain reads: the largest hello, in hexadecimal with
// separators, and some room. It stops a wrong file from filling the memory.
const maxValue = 4 * tlshello.MaxHello

// A message is what a person asked about.
type message struct {
	candidates []route.Candidate
	sni        string
	hello      *tlshello.Hello // nil: a bare ID
	http       bool            // of a listener of protocol http
	host, path string          // of an HTTP request
	notes      []string        // what else there is to say
	datagram   *datagram       // nil: no datagram and none of its IDs
}

// addTo adds to the facts what the message says.
func (m *message) addTo(f *route.Facts) {
	if m.datagram != nil {
		f.HashPort, f.Opening = true, m.datagram.opening
	}
	if h := m.hello; h != nil {
		f.OffersTLS13 = h.OffersTLS13
		f.HasTicket = len(h.Ticket) > 0 || h.NumPSK > 0
		f.EarlyData = h.EarlyData
	}
}

// readMessage reads the operand. field is FieldNone when the person did not
// say what it is.
func readMessage(stdin io.Reader, operand string, field idspace.Field) (*message, error) {
	data, raw, err := readOperand(stdin, operand)
	if err != nil {
		return nil, err
	}
	id := data
	switch {
	case isTextField(field):
		id = bytes.TrimRight(data, "\r\n")
	case !raw:
		if id, err = decodeValue(string(data)); err != nil {
			return nil, err
		}
	}
	if len(id) == 0 {
		return nil, usagef("the value is empty")
	}
	if field != idspace.FieldNone {
		return &message{candidates: []route.Candidate{{Field: field, ID: id}}}, nil
	}
	hello, err := parseHello(id)
	if err != nil || hello != nil {
		return helloMessage(hello), err
	}
	// Any of the fields; the order is that of a hello.
	return &message{candidates: []route.Candidate{
		{Field: idspace.FieldPSK, ID: id},
		{Field: idspace.FieldTicket, ID: id},
		{Field: idspace.FieldSessionID, ID: id},
	}}, nil
}

// readOperand returns what the operand stands for. raw says that it is bytes,
// not text that spells them.
func readOperand(stdin io.Reader, operand string) (data []byte, raw bool, err error) {
	switch name, isFile := strings.CutPrefix(operand, "@"); {
	case operand == "-":
		data, err = readBounded(stdin)
	case isFile:
		f, openErr := os.Open(name)
		if openErr != nil {
			return nil, false, openErr
		}
		defer f.Close()
		data, err = readBounded(f)
	default:
		return []byte(operand), false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the value: %w", err)
	}
	return data, !isText(data), nil
}

func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxValue+1))
	if err == nil && len(data) > maxValue {
		err = fmt.Errorf("it is longer than %d bytes", maxValue)
	}
	return data, err
}

// isText reports whether data can only be text: bytes of IDs and hellos
// practically always have some that are no letters.
func isText(data []byte) bool {
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

// decodeValue reads hexadecimal, as tools print it, or else base64.
func decodeValue(text string) ([]byte, error) {
	text = strings.Join(strings.Fields(text), "")
	bare := strings.ReplaceAll(strings.TrimPrefix(text, "0x"), ":", "")
	b, err := hex.DecodeString(bare)
	if err == nil {
		return b, nil
	}
	if errors.Is(err, hex.ErrLength) {
		return nil, usagef("the value has an odd number of hexadecimal digits: %s", quote(text))
	}
	unpadded := strings.TrimRight(text, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := encoding.Strict().DecodeString(unpadded); err == nil {
			return b, nil
		}
	}
	return nil, usagef("the value is neither hexadecimal nor base64: %s", quote(text))
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
		return nil, withHint(fmt.Errorf("the value begins like a ClientHello and is not one that is accepted: %s (%s)", refusal.Detail, refusal.Cause),
			"if it is an ID, say in which field: --field psk")
	}
	if err != nil {
		return nil, withHint(fmt.Errorf("the value begins like a ClientHello and ends before its end"),
			"give all of it; if it is an ID, say in which field: --field psk")
	}
	return h, nil
}

// helloMessage lists the candidates as the balancer does.
func helloMessage(h *tlshello.Hello) *message {
	if h == nil {
		return nil
	}
	m := &message{hello: h, sni: string(h.SNI)}
	for _, id := range h.Identities[:h.NumPSK] {
		m.candidates = append(m.candidates, route.Candidate{Field: idspace.FieldPSK, ID: id})
	}
	if len(h.Ticket) > 0 {
		m.candidates = append(m.candidates, route.Candidate{Field: idspace.FieldTicket, ID: h.Ticket})
	}
	if len(h.SessionID) > 0 {
		m.candidates = append(m.candidates, route.Candidate{Field: idspace.FieldSessionID, ID: h.SessionID})
	}
	return m
}
