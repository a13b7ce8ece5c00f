package main

import (
	"fmt"
	"io"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/daemon"
	"github.com/mintmark/mintmark/internal/dgram"
	"github.com/mintmark/mintmark/internal/dtlsrec"
	"github.com/mintmark/mintmark/internal/explain"
	"github.com/mintmark/mintmark/internal/quicpkt"
	"github.com/mintmark/mintmark/internal/route"
)

// readDatagram reads the operand for a listener for datagrams: a whole datagram, or
// an ID.
func readDatagram(stdin io.Reader, operand string, field idspace.Field, lc *config.Listener) (*explain.Message, error) {
	data, raw, err := readOperand(stdin, operand)
	if err != nil {
		return nil, err
	}
	if !raw {
		if data, err = explain.Decode(string(data)); err != nil {
			return nil, inputError(err)
		}
	}
	if len(data) == 0 {
		return nil, usagef("the value is empty")
	}
	m := &explain.Message{Datagram: &explain.Datagram{Opening: field == idspace.FieldCIDLong}}
	if field == idspace.FieldNone {
		field = fieldOfID(data, lc)
	}
	if field != idspace.FieldNone {
		m.Candidates = []route.Candidate{{Field: field, ID: data}}
		return m, nil
	}
	reader, err := dgram.NewReader(daemon.ReaderConfig(lc))
	if err != nil {
		return nil, err
	}
	var read dgram.Message
	if m.Datagram.Refusal = reader.Read(data, &read); m.Datagram.Refusal != nil {
		return m, nil //nolint:nilerr // a refusal is an answer
	}
	m.Datagram.Opening = read.Opening
	if read.Field != idspace.FieldNone {
		m.Candidates = []route.Candidate{{Field: read.Field, ID: read.ID}}
	}
	return m, nil
}

// fieldOfID returns the field of a value that is an ID by its length, and FieldNone
// for a whole datagram.
func fieldOfID(value []byte, lc *config.Listener) idspace.Field {
	switch lc.Protocol {
	case config.ProtocolQUIC:
		if len(value) <= quicpkt.MaxIDLengthV1 {
			return idspace.FieldCIDShort
		}
	case config.ProtocolDTLS:
		if _, err := dtlsrec.FindID(value, lc.CIDLength); err != nil && len(value) == lc.CIDLength {
			return idspace.FieldDTLSCID
		}
	default:
		for _, b := range lc.Bytes {
			if len(value) == b.Length {
				return idspace.FieldBytes
			}
		}
	}
	return idspace.FieldNone
}

// refusedDatagram explains a datagram that nobody could read.
func refusedDatagram(x *explain.Explanation, err error) {
	x.RoutedBy = route.ByRefused.String()
	x.Cause = string(dgram.CauseOf(err))
	x.Reason = "no endpoint could read the datagram: " + err.Error()
}

// writeCID writes the ID's parts for people.
func writeCID(w io.Writer, c *explain.ExplainedCID) {
	fmt.Fprintf(w, "quic-lb\tconfiguration %d", c.Config)
	if c.Algorithm != "" {
		fmt.Fprintf(w, ", %s", c.Algorithm)
	}
	if c.ServerID != "" {
		fmt.Fprintf(w, ", server ID %s, nonce %s", c.ServerID, c.Nonce)
	}
	if c.Cause != "" {
		fmt.Fprintf(w, "; unroutable: %s", c.Cause)
	}
	fmt.Fprintln(w)
}
