package explain

import (
	"encoding/hex"
	"fmt"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

// An Explanation is the answer of `mintmark explain`, and the JSON contract of
// its --json.
type Explanation struct {
	Field      string        `json:"field"`      // of the ID that decided, or of the first; "none" without an ID
	Rule       *string       `json:"rule"`       // where it is written, and what it says
	Owner      *string       `json:"owner"`      // server or group
	Generation *uint8        `json:"generation"` // of the space
	RoutedBy   string        `json:"routed_by"`
	Server     *string       `json:"server"`
	Reason     string        `json:"reason"`
	Cause      string        `json:"cause"`
	Listener   string        `json:"listener"`
	Pool       *string       `json:"pool"` // null when no route takes the name
	SNI        string        `json:"sni"`
	Candidates []ExplainedID `json:"candidates"`
	Steps      []string      `json:"steps"`
	Notes      []string      `json:"notes"`
	QUICLB     *ExplainedCID `json:"quic_lb,omitempty"`
	// Address is the server's, for people.
	Address string `json:"-"`
}

// An ExplainedID is one of the IDs of a message.
type ExplainedID struct {
	Field      string  `json:"field"`
	ID         string  `json:"id"` // hexadecimal
	Rule       *string `json:"rule"`
	Owner      *string `json:"owner"`
	Generation *uint8  `json:"generation"`
	Skipped    bool    `json:"skipped"` // may be random: it is not looked up
}

// NoRoute says that no pool takes the message.
func (x *Explanation) NoRoute() {
	x.RoutedBy = route.ByRefused.String()
	x.Cause = string(route.CauseNoRoute)
	x.Reason = "no route of the listener takes the name, and it has no pool for the rest"
}

// Decide asks the pool. scheme is that of its spaces, for people.
func (x *Explanation) Decide(p *route.Pool, scheme Scheme, m *Message, facts *route.Facts) {
	name := string(p.Config.Name)
	x.Pool = &name
	d, steps := p.ExplainSteps(m.Candidates, facts)
	x.Steps = steps
	x.Field = d.Field.String()
	if d.HasMatch {
		x.Rule, x.Owner, x.Generation = describe(p.Config.Table, scheme, d.Match)
	}
	x.RoutedBy, x.Cause = d.RoutedBy.String(), string(d.Cause)
	if d.Server != nil {
		server := string(d.Server.Config.Name)
		x.Server, x.Address = &server, d.Server.Config.Address.String()
	}
	x.Reason = reason(d, &p.Config)
	if m.Datagram != nil {
		x.noteDatagram(d, scheme, m)
	}
	x.list(p, scheme, m, facts)
	if m.Hello != nil && m.Hello.SkippedPSK > 0 {
		x.Notes = append(x.Notes, fmt.Sprintf("%d more PSK identities of the hello are not looked at", m.Hello.SkippedPSK))
	}
}

// list adds all candidates, also those after the one that decided.
func (x *Explanation) list(p *route.Pool, scheme Scheme, m *Message, facts *route.Facts) {
	for i := range m.Candidates {
		c := &m.Candidates[i]
		id := ExplainedID{Field: c.Field.String(), ID: hex.EncodeToString(c.ID)}
		id.Skipped = p.Explain(m.Candidates[i:i+1], facts).Skipped > 0
		if t := p.Config.Table; t != nil && !id.Skipped {
			if match, ok := t.Lookup(c.Field, c.ID); ok {
				id.Rule, id.Owner, id.Generation = describe(t, scheme, match)
			}
		}
		x.Candidates = append(x.Candidates, id)
	}
	x.Notes = append(x.Notes, m.Notes...)
	if m.Hello != nil || m.HTTP || m.Datagram != nil || len(m.Candidates) == 0 {
		return
	}
	if len(m.Candidates) > 1 {
		x.Notes = append(x.Notes, "the value was looked up as psk, ticket and session_id; --field narrows that")
	}
	last := m.Candidates[len(m.Candidates)-1:]
	modern := *facts
	modern.OffersTLS13 = true
	if last[0].Field == idspace.FieldSessionID && p.Explain(last, &modern).Skipped > p.Explain(last, facts).Skipped {
		x.Notes = append(x.Notes,
			"as a session_id it is not looked up in hellos that offer TLS 1.3 or a ticket, because it may be random (random_ids: auto)")
	}
}

// describe says whose the ID is, and by which rule.
func describe(t *idspace.Table, scheme Scheme, m idspace.Match) (rule, owner *string, generation *uint8) {
	written := "function of the scheme " + scheme.Kind
	if m.Rule >= 0 {
		r := t.Rules()[m.Rule]
		written = r.Source + ": " + r.String()
	}
	name := string(t.Owners()[m.Owner])
	return &written, &name, &m.Generation
}

// reason says in words why.
func reason(d route.Decision, p *route.PoolConfig) string {
	by := ""
	if d.RoutedBy == route.ByBalance {
		by = fmt.Sprintf("; the policy %v chose, and may choose another server next time", p.Policy)
		if p.Policy == route.Hash {
			by = "; the policy hash chose by the client's address"
		}
	}
	switch d.Cause {
	case route.CauseOwner:
		return "the owner of the ID takes traffic"
	case route.CauseOwnerDraining:
		return "the owner of the ticket is draining, and a partner in its group accepts it"
	case route.CauseLearned:
		return "the server was seen to assign the ID"
	case route.CauseOwnerDown:
		return fmt.Sprintf("the owner of the ID does not take traffic, and when_owner_down is %v%s", p.WhenOwnerDown, by)
	case route.CauseUnknownID:
		return fmt.Sprintf("the ID is nobody's, and unknown_ids is %v%s", p.UnknownIDs, by)
	case route.CauseNoID:
		return fmt.Sprintf("there is no ID that is looked up, and unknown_ids is %v%s", p.UnknownIDs, by)
	case route.CauseLimit:
		return "the connection limit is reached"
	case route.CauseNoServer:
		return "no server takes new traffic"
	case route.CauseEarlyData:
		return "the hello carries early data, its owner is away, and every other server could accept it"
	case route.CauseTwoOwners:
		return "there are two IDs where there should be one, and they have different owners"
	case route.CauseNoRoute:
		return "no route takes the name"
	}
	return string(d.Cause)
}

// Complete makes lists that are missing empty, so that scripts need not ask.
func (x *Explanation) Complete() {
	if x.Candidates == nil {
		x.Candidates = []ExplainedID{}
	}
	if x.Steps == nil {
		x.Steps = []string{}
	}
	if x.Notes == nil {
		x.Notes = []string{}
	}
}
