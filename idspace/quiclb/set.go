package quiclb

// Hot: Set.Decode runs for every datagram of a QUIC listener. Budget as in
// codec.go.

import (
	"errors"
	"fmt"
)

// A Cause says why a connection ID has no server ID. Its names label metrics.
// That a server ID is given to nobody is a further reason for an ID to be
// unroutable; a Set does not know server IDs, so it is not among these.
type Cause uint8

// The causes.
const (
	// Decodable is no cause: there is a server ID.
	Decodable Cause = iota
	// Empty is a connection ID of no octets.
	Empty
	// Codepoint111 is an ID that begins with 0b111: its server says that it
	// cannot be routed, or its client invented it.
	Codepoint111
	// NoConfig is an ID whose configuration is not there.
	NoConfig
	// TooShort is an ID that is shorter than its configuration demands.
	TooShort
)

// NumCauses is the number of causes, Decodable included. It sizes arrays of
// counters that are indexed by Cause.
const NumCauses = int(TooShort) + 1

// String returns the name of c.
func (c Cause) String() string {
	switch c {
	case Decodable:
		return "decodable"
	case Empty:
		return "empty"
	case Codepoint111:
		return "codepoint_111"
	case NoConfig:
		return "no_config"
	case TooShort:
		return "too_short"
	default:
		return fmt.Sprintf("cause(%d)", uint8(c))
	}
}

// A Set decodes the connection IDs of up to MaxConfigs configurations that are
// live at the same time, each under its own codepoint. It is immutable and safe
// for concurrent use.
type Set struct {
	codecs [1 << (8 - configShift)]*Codec // by configuration ID; the last is always nil
}

// NewSet prepares configurations. The error joins those of all configurations
// that are wrong, or that use a codepoint twice. A Set of none decodes nothing.
func NewSet(configs ...Config) (*Set, error) {
	var set Set
	var problems []error
	for i, config := range configs {
		codec, err := New(config)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("quiclb: reading configuration %d of %d: %w", i+1, len(configs), err))
		case set.codecs[config.ID] != nil:
			problems = append(problems, fmt.Errorf("quiclb: configuration ID %d is used twice; each configuration has its own", config.ID))
		default:
			set.codecs[config.ID] = codec
		}
	}
	if problems != nil {
		return nil, errors.Join(problems...)
	}
	return &set, nil
}

// Codec returns the codec of a configuration, nil if the set does not have it.
func (s *Set) Codec(id ConfigID) *Codec {
	if id >= Unroutable {
		return nil
	}
	return s.codecs[id]
}

// Decoded is what a connection ID says.
type Decoded struct {
	ServerID ServerID
	// Config is the configuration under which the ID was minted.
	Config ConfigID
}

// Decode reads cid under the configuration that its first octet names. The
// Decoded has meaning only when the cause is Decodable. Decode does not keep or
// change cid.
//
// A short header does not say how long its connection ID is. There, cid is
// whatever follows the first octet of the datagram: what is too much is ignored.
func (s *Set) Decode(cid []byte) (Decoded, Cause) {
	if len(cid) == 0 {
		return Decoded{}, Empty
	}
	id := ConfigIDOf(cid[0])
	codec := s.codecs[id&7]
	if codec == nil {
		if id == Unroutable {
			return Decoded{}, Codepoint111
		}
		return Decoded{}, NoConfig
	}
	if len(cid) < codec.need {
		return Decoded{}, TooShort
	}
	return Decoded{ServerID: codec.decode(cid), Config: id}, Decodable
}

// An Explanation is a connection ID taken apart, for people.
type Explanation struct {
	// Cause is Decodable, or why there is no server ID.
	Cause Cause
	// Config is what the first octet names, Unroutable included.
	Config ConfigID
	// Low is the low five bits of the first octet. If the servers encode the
	// length there, it is the number of octets that follow the first.
	Low int
	// LowIsLength reports whether Low is the number of octets that do follow.
	// Random bits agree by accident, and some servers do not count their extra
	// octets.
	LowIsLength bool
	// Length is the number of octets of the connection ID.
	Length int
	// Algorithm of the configuration; 0 if there is none.
	Algorithm Algorithm
	// Need is the least number of octets that the configuration demands.
	Need int
	// ServerID, Nonce and Extra are set when Cause is Decodable. Extra is what
	// follows the block: octets that the server added, or, in a short header,
	// the rest of the datagram.
	ServerID ServerID
	Nonce    []byte
	Extra    []byte
}

func (e *Explanation) readFirstOctet(cid []byte) {
	e.Length = len(cid)
	if len(cid) > 0 {
		e.Config = ConfigIDOf(cid[0])
		e.Low = int(cid[0] & lowBits)
		e.LowIsLength = e.Low == len(cid)-1
	}
}

// Explain takes cid apart as Decode reads it. It is for people and may allocate.
func (s *Set) Explain(cid []byte) Explanation {
	if len(cid) > 0 {
		if codec := s.codecs[ConfigIDOf(cid[0])&7]; codec != nil {
			return codec.Explain(cid)
		}
	}
	_, cause := s.Decode(cid)
	e := Explanation{Cause: cause}
	e.readFirstOctet(cid)
	return e
}
