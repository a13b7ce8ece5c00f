package explain

import (
	"encoding/hex"

	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/internal/route"
)

// A Datagram is what a person asked about where datagrams come.
type Datagram struct {
	Opening bool   // it may open a session
	Whole   bool   // it is one, not only the ID of one
	Refusal error  // nobody could read it
	Cause   string // of the refusal, as metrics have it
}

// Unreadable says that no endpoint could read the datagram.
func (x *Explanation) Unreadable(d *Datagram) {
	x.RoutedBy = route.ByRefused.String()
	x.Cause = d.Cause
	x.Reason = "no endpoint could read the datagram: " + d.Refusal.Error()
}

// A Scheme is what there is to say of how the pool's spaces are made.
type Scheme struct {
	Kind   string
	QUICLB *quiclb.Set // nil: another kind
}

// noteDatagram adds what is peculiar to datagrams.
func (x *Explanation) noteDatagram(d route.Decision, scheme Scheme, m *Message) {
	if scheme.QUICLB != nil && len(m.Candidates) > 0 {
		x.takeApart(scheme.QUICLB, m.Candidates[0].ID, d.HasMatch)
	}
	if d.RoutedBy != route.ByBalance {
		return
	}
	x.Notes = append(x.Notes, "a client whose addresses have a flow stays with that server, which only a running balancer knows")
	if m.Datagram.Opening {
		x.Notes = append(x.Notes, "the datagram may open a session, so unknown_ids does not apply to it")
	}
}

// An ExplainedCID is a connection ID taken apart under QUIC-LB.
type ExplainedCID struct {
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
func (x *Explanation) takeApart(set *quiclb.Set, id []byte, hasOwner bool) {
	e := set.Explain(id)
	cid := &ExplainedCID{Config: int(e.Config)}
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
