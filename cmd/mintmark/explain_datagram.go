package main

import (
	"encoding/hex"
	"fmt"
	"io"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/daemon"
	"github.com/mintmark/mintmark/internal/dgram"
	"github.com/mintmark/mintmark/internal/dtlsrec"
	"github.com/mintmark/mintmark/internal/quicpkt"
	"github.com/mintmark/mintmark/internal/route"
)

// A datagram is what a person asked about where datagrams come.
type datagram struct {
	opening bool  // it may open a session
	refusal error // nobody could read it
}

// readDatagram reads the operand for a listener for datagrams: a whole datagram, or
// an ID.
func readDatagram(stdin io.Reader, operand string, field idspace.Field, lc *config.Listener) (*message, error) {
	data, raw, err := readOperand(stdin, operand)
	if err != nil {
		return nil, err
	}
	if !raw {
		if data, err = decodeValue(string(data)); err != nil {
			return nil, err
		}
	}
	if len(data) == 0 {
		return nil, usagef("the value is empty")
	}
	m := &message{datagram: &datagram{opening: field == idspace.FieldCIDLong}}
	if field == idspace.FieldNone {
		field = fieldOfID(data, lc)
	}
	if field != idspace.FieldNone {
		m.candidates = []route.Candidate{{Field: field, ID: data}}
		return m, nil
	}
	reader, err := dgram.NewReader(daemon.ReaderConfig(lc))
	if err != nil {
		return nil, err
	}
	var read dgram.Message
	if m.datagram.refusal = reader.Read(data, &read); m.datagram.refusal != nil {
		return m, nil //nolint:nilerr // a refusal is an answer
	}
	m.datagram.opening = read.Opening
	if read.Field != idspace.FieldNone {
		m.candidates = []route.Candidate{{Field: read.Field, ID: read.ID}}
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

// refused explains a datagram that nobody could read.
func (x *explanation) refusedDatagram(err error) {
	x.RoutedBy = route.ByRefused.String()
	x.Cause = string(dgram.CauseOf(err))
	x.Reason = "no endpoint could read the datagram: " + err.Error()
}

// noteDatagram adds what is peculiar to datagrams.
func (x *explanation) noteDatagram(d route.Decision, scheme config.Scheme, m *message) {
	if scheme.QUICLB != nil && len(m.candidates) > 0 {
		x.takeApart(scheme.QUICLB, m.candidates[0].ID, d.HasMatch)
	}
	if d.RoutedBy != route.ByBalance {
		return
	}
	x.Notes = append(x.Notes, "a client whose addresses have a flow stays with that server, which only a running balancer knows")
	if m.datagram.opening {
		x.Notes = append(x.Notes, "the datagram may open a session, so unknown_ids does not apply to it")
	}
}

// An explainedCID is a connection ID taken apart under QUIC-LB.
type explainedCID struct {
	Config    int    `json:"config"` // the first three bits; 7 says that the ID cannot be routed
	Algorithm string `json:"algorithm"`
	ServerID  string `json:"server_id"` // hexadecimal
	Nonce     string `json:"nonce"`     // hexadecimal
	Extra     string `json:"extra"`     // what the server appended, or the datagram goes on with; hexadecimal
	// Cause is why the ID cannot be routed; "" when it can.
	Cause string `json:"cause"`
}

// causeUnknownServerID is an ID that decodes to a server ID of nobody.
const causeUnknownServerID = "unknown_server_id"

// takeApart adds what QUIC-LB reads in the ID.
func (x *explanation) takeApart(set *quiclb.Set, id []byte, hasOwner bool) {
	e := set.Explain(id)
	cid := &explainedCID{Config: int(e.Config)}
	if e.Cause != quiclb.Decodable {
		cid.Cause = e.Cause.String()
	} else {
		cid.ServerID, cid.Nonce = e.ServerID.String(), hex.EncodeToString(e.Nonce)
		cid.Extra = hex.EncodeToString(e.Extra[:min(len(e.Extra), maxExtra)])
		if !hasOwner {
			cid.Cause = causeUnknownServerID
		}
	}
	if e.Algorithm != 0 {
		cid.Algorithm = e.Algorithm.String()
	}
	x.QUICLB = cid
}

// maxExtra is how much is shown of what follows an ID.
const maxExtra = 16

// write writes the ID's parts for people.
func (c *explainedCID) write(w io.Writer) {
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
