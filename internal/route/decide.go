package route

// Hot file: one decision for each connection, request or flow. Budget: no
// allocation; one table lookup for each candidate up to the one that decides.

import (
	"net/netip"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

// A Candidate is a value of a message that may be its ID.
type Candidate struct {
	Field idspace.Field
	ID    []byte // an empty one is as good as none
	// Source tells apart where in the message candidates were found; 0 is a
	// place of its own. Of one source there should be one: with PreferFirst,
	// two that have different owners are refused. Candidates of one source
	// stand together.
	Source uint8
}

// Precedence says which of several candidates decides.
type Precedence uint8

// The precedences.
const (
	// PreferLive is that of TLS: the first candidate whose owner takes
	// traffic; if there is none, the first that has an owner.
	PreferLive Precedence = iota
	// PreferFirst is that of HTTP: the first candidate that has an owner.
	PreferFirst
)

// Facts is what the decision uses besides the candidates.
type Facts struct {
	Client      netip.AddrPort // for the policy hash; the zero value is a client without an address
	HashPort    bool           // the policy hash tells ports of a client apart, as for datagrams
	OffersTLS13 bool
	HasTicket   bool // a non-empty ticket or a PSK was offered
	EarlyData   bool
	// Now decides whether a drain has timed out. The zero time is before
	// every timeout.
	Now        time.Time
	Exclude    []*Server // tried already: connect failed
	Precedence Precedence
	// Opening is a datagram that may open a session: it has no ID yet, or one
	// that its client invented. UnknownRefuse does not apply to it, because
	// otherwise no session could ever begin.
	Opening bool
}

// Decision is the answer. Server is nil exactly when RoutedBy is ByRefused.
type Decision struct {
	Server    *Server
	RoutedBy  RoutedBy
	Cause     Cause
	Field     idspace.Field // field of the ID that decided, or of the first candidate; FieldNone without an ID
	Match     idspace.Match
	HasMatch  bool
	Candidate int // index of the candidate that decided, -1
	Skipped   int // random session IDs not looked up
}

// Pick decides and takes a connection slot on the server chosen; the caller
// must call Release on that server when the connection has ended.
func (p *Pool) Pick(c []Candidate, f *Facts) Decision {
	q := query{f: f, now: nanos(f.Now), take: true}
	return p.decide(c, &q, nil)
}

// Explain decides like Pick and changes nothing.
func (p *Pool) Explain(c []Candidate, f *Facts) Decision {
	q := query{f: f, now: nanos(f.Now)}
	return p.decide(c, &q, nil)
}

// ExplainSteps is Explain, and also returns the steps of the decision, one
// line of text each, for people.
func (p *Pool) ExplainSteps(c []Candidate, f *Facts) (Decision, []string) {
	q := query{f: f, now: nanos(f.Now)}
	var t trace
	d := p.decide(c, &q, &t)
	return d, t.lines
}

// decide goes through the steps of the package comment. t is nil unless
// somebody wants to read them.
func (p *Pool) decide(c []Candidate, q *query, t *trace) Decision {
	d := Decision{RoutedBy: ByRefused, Candidate: -1}
	skip := p.skipsSessionID(q.f)
	absent := -1 // the first candidate whose owner does not take traffic
	var absentMatch idspace.Match
	sawPSK := false
	used := q.now
	if !q.take {
		used = 0 // explaining an ID is no use of it
	}
	for i := range c {
		match, ok := p.lookup(c, i, skip, used, &d, t)
		if c[i].Field == idspace.FieldPSK && !sawPSK {
			sawPSK = true
			if ok && p.keepsEarlyData(q.f) {
				// nil for a group's own space: each member is its owner.
				q.bound = p.owners[match.Owner].server
			}
		}
		if !ok {
			continue
		}
		if q.f.Precedence == PreferFirst && p.disputed(c, i, match, t) {
			d.decidedBy(c, i, match)
			d.settle(nil, ByRefused, CauseTwoOwners)
			return d
		}
		if p.toOwner(c[i].Field, match, q, &d, t) {
			d.decidedBy(c, i, match)
			return d
		}
		if absent < 0 {
			absent, absentMatch = i, match
		}
		if q.f.Precedence == PreferFirst {
			break
		}
	}
	if absent >= 0 {
		d.decidedBy(c, absent, absentMatch)
		p.ownerDown(p.owners[absentMatch.Owner], q, &d, t)
		return d
	}
	if p.Config.Learned != nil && p.learned(c, q, &d, t) {
		return d
	}
	p.unknown(q, &d, t)
	return d
}

func (d *Decision) decidedBy(c []Candidate, i int, m idspace.Match) {
	d.Field, d.Match, d.HasMatch, d.Candidate = c[i].Field, m, true, i
}

// settle makes s the decision, or refuses with cause when s is nil.
func (d *Decision) settle(s *Server, by RoutedBy, cause Cause) {
	if s == nil {
		by = ByRefused
	}
	d.Server, d.RoutedBy, d.Cause = s, by, cause
}

// skipsSessionID says whether a session_id is not worth a lookup.
func (p *Pool) skipsSessionID(f *Facts) bool {
	switch p.Config.RandomIDs {
	case RandomRoute:
		return false
	case RandomSkip:
		return true
	default:
		return !p.sparse && (f.OffersTLS13 || f.HasTicket)
	}
}

// keepsEarlyData says whether f has early data that only its owner may accept.
func (p *Pool) keepsEarlyData(f *Facts) bool {
	return f.EarlyData && p.Config.EarlyData == EarlyOwnerOnly
}

// lookup finds the owner of candidate i.
func (p *Pool) lookup(c []Candidate, i int, skip bool, used int64, d *Decision, t *trace) (idspace.Match, bool) {
	id := &c[i]
	if len(id.ID) == 0 {
		return idspace.Match{}, false
	}
	if skip && id.Field == idspace.FieldSessionID {
		d.Skipped++
		if t != nil {
			t.skipped(i, id)
		}
		return idspace.Match{}, false
	}
	if d.Field == idspace.FieldNone {
		d.Field = id.Field
	}
	if p.Config.Table == nil {
		if t != nil {
			t.unmatched(i, id)
		}
		return idspace.Match{}, false
	}
	m, ok := p.Config.Table.Lookup(id.Field, id.ID)
	if ok && p.seen != nil {
		p.seen[m.Owner].see(m.Generation, used)
	}
	if t != nil {
		if ok {
			t.matched(i, id, p, m)
		} else {
			t.unmatched(i, id)
		}
	}
	return m, ok
}

// disputed says whether a later candidate of the same source as candidate i,
// whose owner was found, has another owner.
func (p *Pool) disputed(c []Candidate, i int, m idspace.Match, t *trace) bool {
	for j := i + 1; j < len(c) && c[j].Source == c[i].Source && c[i].Source != 0; j++ {
		if len(c[j].ID) == 0 {
			continue
		}
		other, ok := p.Config.Table.Lookup(c[j].Field, c[j].ID)
		if ok && other.Owner != m.Owner {
			if t != nil {
				t.matched(j, &c[j], p, other)
				t.addf("two IDs where there should be one, of two owners -> refused, %s", CauseTwoOwners)
			}
			return true
		}
	}
	return false
}

// Assigned reports whether some candidate lies in a space of p, so that no
// later one counts with PreferFirst.
func (p *Pool) Assigned(c []Candidate) bool {
	if p.Config.Table == nil {
		return false
	}
	for i := range c {
		if len(c[i].ID) == 0 {
			continue
		}
		if _, ok := p.Config.Table.Lookup(c[i].Field, c[i].ID); ok {
			return true
		}
	}
	return false
}

// toOwner is step 1. It returns false when the owner does not take traffic.
func (p *Pool) toOwner(field idspace.Field, m idspace.Match, q *query, d *Decision, t *trace) bool {
	o := p.owners[m.Owner]
	if o.group != nil {
		return o.group.toMember(q, d, t)
	}
	s := o.server
	if s == nil {
		return false // it has left the pool
	}
	if !s.takes(q.now, q.f.Exclude) || q.bars(s) {
		if t != nil {
			t.away(s, q)
		}
		return false
	}
	if s.group != nil && s.drainStart() != 0 && renews(field) {
		// There is none for early data of s, which q bars from its partners.
		if partner := s.group.partner(q, needSteady); partner != nil {
			d.settle(partner, ByGroup, CauseOwnerDraining)
			if t != nil {
				t.addf("server %s drains, its partner %s takes its tickets -> %s", s.Config.Name, partner.Config.Name, d.outcome())
			}
			return true
		}
	}
	if q.claim(s) {
		d.settle(s, ByMint, CauseOwner)
	} else {
		d.settle(nil, ByRefused, CauseLimit)
	}
	if t != nil {
		t.addf("server %s takes traffic -> %s", s.Config.Name, d.outcome())
	}
	return true
}

// renews says whether the IDs of a field are replaced by new ones each time
// they are used.
func renews(f idspace.Field) bool {
	return f == idspace.FieldPSK || f == idspace.FieldTicket
}

// toMember is step 1 for a space of the group's own.
func (g *group) toMember(q *query, d *Decision, t *trace) bool {
	s := g.partner(q, needAny)
	cause := CauseOwner
	if s == nil {
		q.need = needAny
		cause = g.chooser.whyNone(q)
		q.need = needNew
	}
	if s == nil && cause != CauseLimit {
		if t != nil {
			t.addf("no member of group %s takes traffic", g.name)
		}
		return false
	}
	d.settle(s, ByMint, cause)
	if t != nil {
		t.addf("policy %v of group %s -> %s", g.chooser.policy, g.name, d.outcome())
	}
	return true
}

// partner returns a member of g for an ID whose state the members share: one
// that takes new traffic, and if there is none, one that meets need at least.
// A server that does not take the message (the owner that is away) is never
// returned.
func (g *group) partner(q *query, atLeast need) *Server {
	s := g.chooser.choose(q)
	if s == nil {
		q.need = atLeast
		s = g.chooser.choose(q)
		q.need = needNew
	}
	return s
}

// ownerDown is step 2.
func (p *Pool) ownerDown(o owner, q *query, d *Decision, t *trace) {
	switch p.Config.WhenOwnerDown {
	case OwnerDownRefuse:
		d.settle(nil, ByRefused, CauseOwnerDown)
		if t != nil {
			t.addf("when_owner_down refuse -> %s", d.outcome())
		}
		return
	case OwnerDownGroup:
		// A group whose own space it is has been asked already.
		if o.server != nil && o.server.group != nil {
			if s := o.server.group.partner(q, needAny); s != nil {
				d.settle(s, ByGroup, CauseOwnerDown)
				if t != nil {
					t.addf("when_owner_down group, policy %v of group %s -> %s", o.server.group.chooser.policy, o.server.group.name, d.outcome())
				}
				return
			}
		}
		if t != nil {
			t.addf("when_owner_down group: there is no partner for it")
		}
	case OwnerDownBalance:
	}
	p.balance(CauseOwnerDown, q, d, t)
}

// learned is step 3. It returns false when the list has no server for the
// message, or one that does not take traffic: the list is an overlay only.
func (p *Pool) learned(c []Candidate, q *query, d *Decision, t *trace) bool {
	for i := range c {
		if len(c[i].ID) == 0 {
			continue
		}
		// Also a session_id that step 1 skipped: the list holds whole IDs, and
		// a random one is not among them.
		name, ok := p.Config.Learned.Server(c[i].Field, c[i].ID)
		if !ok {
			continue
		}
		s := p.byName[name]
		if s == nil || !s.takes(q.now, q.f.Exclude) {
			continue
		}
		d.Field, d.Candidate = c[i].Field, i
		if q.claim(s) {
			d.settle(s, ByLearned, CauseLearned)
		} else {
			d.settle(nil, ByRefused, CauseLimit)
		}
		if t != nil {
			t.addf("candidate %d was assigned by server %s -> %s", i+1, name, d.outcome())
		}
		return true
	}
	return false
}

// unknown is step 4.
func (p *Pool) unknown(q *query, d *Decision, t *trace) {
	cause := CauseUnknownID
	if d.Field == idspace.FieldNone {
		cause = CauseNoID
	}
	if p.Config.UnknownIDs == UnknownRefuse && !q.f.Opening {
		d.settle(nil, ByRefused, cause)
		if t != nil {
			t.addf("unknown_ids refuse -> %s", d.outcome())
		}
		return
	}
	p.balance(cause, q, d, t)
}

// balance sends the message to any server, by the pool's policy.
func (p *Pool) balance(cause Cause, q *query, d *Decision, t *trace) {
	s := p.chooser.choose(q)
	if s == nil {
		cause = p.chooser.whyNone(q)
	}
	d.settle(s, ByBalance, cause)
	if t != nil {
		t.addf("policy %v of the pool -> %s", p.Config.Policy, d.outcome())
	}
}
