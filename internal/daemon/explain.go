package daemon

import (
	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/dgram"
	"github.com/mintmark/mintmark/internal/dtlsrec"
	"github.com/mintmark/mintmark/internal/explain"
	"github.com/mintmark/mintmark/internal/quicpkt"
	"github.com/mintmark/mintmark/internal/route"
)

// ReadDatagram reads a value as a listener for datagrams would: a whole datagram,
// or the ID of one. field is FieldNone when the person did not say what it is.
func ReadDatagram(data []byte, field idspace.Field, lc *config.Listener) (*explain.Message, error) {
	m := &explain.Message{Datagram: &explain.Datagram{Opening: field == idspace.FieldCIDLong}}
	if field == idspace.FieldNone {
		field = fieldOfID(data, lc)
	}
	if field != idspace.FieldNone {
		m.Candidates = []route.Candidate{{Field: field, ID: data}}
		return m, nil
	}
	reader, err := dgram.NewReader(ReaderConfig(lc))
	if err != nil {
		return nil, err
	}
	m.Datagram.Whole = true
	var read dgram.Message
	if err := reader.Read(data, &read); err != nil {
		m.Datagram.Refusal, m.Datagram.Cause = err, string(dgram.CauseOf(err))
		return m, nil // a refusal is an answer
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

// Read implements webui.Source.
func (s *localSource) Read(listener, value string, field idspace.Field) (*explain.Message, error) {
	lc, _ := s.d.listenerConfig(route.ListenerName(listener))
	if lc == nil || !lc.Protocol.Datagrams() {
		return explain.Read([]byte(value), false, field)
	}
	data, err := explain.Decode(value)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return explain.Read(nil, true, field) // says so
	}
	return ReadDatagram(data, field, lc)
}
