package dgram

// Hot: Decide runs for every datagram. Budget: no allocation but for new flows; one
// table lookup and at most two map lookups.

import (
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

// Causes of a Verdict, besides those of package route.
const (
	// CauseFlow goes with ByBalance: the home of the client's addresses.
	CauseFlow route.Cause = "flow"
	// CauseFlowLimit refuses: there is no room for a flow whose client nobody knows.
	CauseFlowLimit route.Cause = "flow_limit"
)

// A Decider decides for the datagrams of one pool. It is not safe for concurrent
// use: each worker has its own.
type Decider struct {
	pool *route.Pool
	// owners is indexed by idspace.Match.Owner.
	owners []*route.Server
	// current finds the pool's servers by their live state. A flow may have a server
	// of an older configuration, or one that was removed.
	current map[*route.State]*route.Server

	// What is given to the pool. Here, because it would be allocated otherwise.
	candidate [1]route.Candidate
	facts     route.Facts
}

// NewDecider returns a Decider for a pool. The policy of the pool must be hash:
// replicas, and workers, would otherwise send one client to different servers. No
// group may own IDs, because the session that a datagram belongs to lives on one
// server.
func NewDecider(pool *route.Pool) (*Decider, error) {
	var problems []error
	if pool.Config.Policy != route.Hash {
		problems = append(problems, fmt.Errorf("its policy is %v; it must be %v", pool.Config.Policy, route.Hash))
	}
	d := &Decider{pool: pool, facts: route.Facts{HashPort: true}, current: make(map[*route.State]*route.Server, len(pool.Servers))}
	byName := make(map[idspace.Owner]*route.Server, len(pool.Servers))
	for _, s := range pool.Servers {
		byName[idspace.Owner(s.Config.Name)] = s
		d.current[s.State] = s
	}
	if table := pool.Config.Table; table != nil {
		for _, owner := range table.Owners() {
			s := byName[owner]
			if s == nil {
				problems = append(problems, fmt.Errorf("group %s owns IDs; give them to servers", owner))
			}
			d.owners = append(d.owners, s)
		}
	}
	if problems != nil {
		return nil, fmt.Errorf("deciding for the datagrams of pool %s: %w", pool.Config.Name, errors.Join(problems...))
	}
	return d, nil
}

// A Verdict says where a datagram goes.
type Verdict struct {
	// Flow is nil exactly when RoutedBy is ByRefused.
	Flow *Flow
	// Opened says that Flow is new: it needs a socket.
	Opened   bool
	RoutedBy route.RoutedBy
	Cause    route.Cause
	Field    idspace.Field
}

// Decide says where a datagram goes, and keeps flows up to date. It may close flows;
// see [Flows.Reap].
func (d *Decider) Decide(m *Message, tuple *Tuple, flows *Flows, now time.Time) Verdict {
	ownerDown := false
	if m.Field != idspace.FieldNone && d.pool.Config.Table != nil {
		if match, ok := d.pool.Config.Table.Lookup(m.Field, m.ID); ok {
			s := d.owners[match.Owner]
			if !s.TakesTraffic(now) {
				ownerDown = true
			} else if f := d.flow(tuple, s, flows); f != nil {
				flows.recognise(f)
				flows.Seen(f, now)
				return Verdict{Flow: f, RoutedBy: route.ByMint, Cause: route.CauseOwner, Field: m.Field}
			} else {
				// The pool minds the server's connection limit.
				return d.pick(m, tuple, flows, now)
			}
		}
	}
	if !ownerDown || d.pool.Config.WhenOwnerDown != route.OwnerDownRefuse {
		if home := d.home(tuple, flows, now); home != nil {
			flows.Seen(home, now)
			return Verdict{Flow: home, RoutedBy: route.ByBalance, Cause: CauseFlow, Field: m.Field}
		}
	}
	return d.pick(m, tuple, flows, now)
}

// flow returns the flow between a client and s, nil if there is none. One that goes
// to an address that is no longer the server's is closed.
func (d *Decider) flow(tuple *Tuple, s *route.Server, flows *Flows) *Flow {
	f := flows.Find(tuple, s)
	if f != nil && f.Server != s && f.Server.Config.Address != s.Config.Address {
		flows.close(f)
		return nil
	}
	return f
}

// home returns the home of a client if its server takes traffic.
func (d *Decider) home(tuple *Tuple, flows *Flows, now time.Time) *Flow {
	f := flows.Home(tuple)
	if f == nil {
		return nil
	}
	s := d.current[f.Server.State]
	if s == nil || !s.TakesTraffic(now) {
		return nil
	}
	return d.flow(tuple, s, flows)
}

// pick lets the pool decide, and finds or opens the flow.
func (d *Decider) pick(m *Message, tuple *Tuple, flows *Flows, now time.Time) Verdict {
	d.candidate[0] = route.Candidate{Field: m.Field, ID: m.ID}
	d.facts.Client, d.facts.Now, d.facts.Opening = tuple.ClientAddrPort(), now, m.Opening
	candidates := d.candidate[:]
	if m.Field == idspace.FieldNone {
		candidates = nil
	}
	decision := d.pool.Pick(candidates, &d.facts)
	d.candidate[0].ID = nil // it is the caller's buffer
	v := Verdict{RoutedBy: decision.RoutedBy, Cause: decision.Cause, Field: m.Field}
	s := decision.Server
	if s == nil {
		return v
	}
	minted := decision.RoutedBy == route.ByMint
	if v.Flow = d.flow(tuple, s, flows); v.Flow != nil {
		s.Release() // the flow has a slot already
		flows.Seen(v.Flow, now)
	} else if v.Flow = flows.open(tuple, s, minted, now); v.Flow != nil {
		v.Opened = true
	} else {
		s.Release()
		v.RoutedBy, v.Cause = route.ByRefused, CauseFlowLimit
		return v
	}
	if !minted {
		flows.settle(v.Flow)
	}
	return v
}
