package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

// A Phase is where a space is in its life.
type Phase string

// The phases, in order. A space that is gone is in no status any more.
const (
	PhasePrepared     Phase = "prepared"
	PhaseAcknowledged Phase = "acknowledged"
	PhaseMinting      Phase = "minting"
	PhaseRetiring     Phase = "retiring"
	PhaseDead         Phase = "dead"
)

// The kinds of waits.
const (
	// WaitBalancer: a balancer has not acknowledged the routes.
	WaitBalancer = "balancer"
	// WaitServer: a server has not done as its assignment says, or nobody
	// has said that it has.
	WaitServer = "server"
	// WaitSessions: sessions of a generation may be left. Its name is the
	// generation's number.
	WaitSessions = "sessions"
	// WaitReport: a balancer has not said which IDs it saw.
	WaitReport = "report"
	// WaitPlan: the plan cannot follow what is wanted.
	WaitPlan = "plan"
)

// A WaitID names a wait.
type WaitID struct {
	Kind string
	Name string
}

// A Wait is somebody or something that a step waits for.
type Wait struct {
	WaitID
	// Reason says what is waited for.
	Reason string
	// Since is when the wait began, and Until when it ends by itself; zero if
	// that is not known.
	Since, Until time.Time
	// Cost says what is lost when it is overridden; "": it cannot be.
	Cost string
}

// A SpaceStatus is a space of the plan, with its phase.
type SpaceStatus struct {
	idspace.Space
	Phase Phase
	Since time.Time
}

// A Status is a pool's rollout as people are shown it.
type Status struct {
	Version uint64
	Spaces  []SpaceStatus
	Waits   []Wait
}

// A CostError says what a step would end, which has to be accepted first.
type CostError struct{ Costs []string }

// Error lists the costs.
func (e *CostError) Error() string {
	return "this would end sessions: " + strings.Join(e.Costs, "; ")
}

// Status returns the state of the rollout at a time.
func (p *Pool) Status(at time.Time) Status {
	st := Status{Version: p.s.Version, Waits: p.waits(at)}
	if p.plan == nil {
		return st
	}
	for _, sp := range p.plan.Spaces() {
		s := SpaceStatus{Space: sp}
		if sp.State != idspace.SpaceReserve {
			id := SpaceID{Owner: sp.Owner, Generation: sp.Generation}
			r := p.s.Spaces[id]
			s.Phase, s.Since = p.phase(id, &r, at), r.Since
		}
		st.Spaces = append(st.Spaces, s)
	}
	return st
}

func (p *Pool) phase(id SpaceID, sp *spaceRecord, at time.Time) Phase {
	s := p.s.Servers[id.Owner]
	switch {
	case p.dead(sp, at):
		return PhaseDead
	case sp.Moved != 0 || !sp.StoppedAt.IsZero() || s.RemovedAt != 0:
		return PhaseRetiring
	case sp.Grant == nil:
		return PhasePrepared
	case s.Report.Verified && slices.Contains(s.Report.Minting, id.Generation):
		return PhaseMinting
	case sp.Offered && !s.Agent:
		return PhaseMinting // by its operator; nobody can say otherwise
	default:
		return PhaseAcknowledged
	}
}

// waits returns what is waited for, sorted, each wait once.
func (p *Pool) waits(at time.Time) []Wait {
	var all []Wait
	add := func(w Wait) {
		for i := range all {
			if all[i].WaitID == w.WaitID && all[i].Reason == w.Reason {
				if w.Since.Before(all[i].Since) {
					all[i].Since = w.Since
				}
				if w.Until.After(all[i].Until) {
					all[i].Until = w.Until
				}
				return
			}
		}
		all = append(all, w)
	}
	if p.s.Problem != "" {
		add(Wait{WaitID: WaitID{WaitPlan, "plan"}, Reason: p.s.Problem, Since: p.s.Since})
	}
	for _, id := range p.sortedSpaces() {
		sp := p.s.Spaces[id]
		s := p.s.Servers[id.Owner]
		switch {
		case sp.Buried:
		case s.RemovedAt != 0 && sp.StoppedAt.IsZero():
			p.waitForAcks(s.RemovedAt, s.RemovedSince, fmt.Sprintf("routes without server %s", id.Owner), add)
		case s.RemovedAt == 0 && sp.Grant == nil && sp.StoppedAt.IsZero():
			p.waitForAcks(sp.RoutedSince, sp.Since, fmt.Sprintf("routes with generation %d", id.Generation), add)
		case !sp.StoppedAt.IsZero():
			p.waitForDeath(id, &sp, at, add)
		default:
			p.waitForServer(id, &sp, add)
		}
	}
	slices.SortStableFunc(all, func(a, b Wait) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return all
}

func (p *Pool) waitForAcks(version uint64, since time.Time, what string, add func(Wait)) {
	for _, name := range p.sortedBalancers() {
		b := p.s.Balancers[name]
		if b.Ignored || b.Acked >= version {
			continue
		}
		begun := since
		if b.Since.After(begun) {
			begun = b.Since
		}
		add(Wait{
			WaitID: WaitID{WaitBalancer, name}, Reason: "has not acknowledged " + what, Since: begun,
			Cost: fmt.Sprintf("balancer %s, if it runs, routes by what it had: sessions that servers mint from now on are balanced there, not routed", name),
		})
	}
}

func (p *Pool) waitForDeath(id SpaceID, sp *spaceRecord, at time.Time, add func(Wait)) {
	if p.dead(sp, at) {
		return // the rest of its generation is waited for
	}
	until, bounded := p.deadAt(sp)
	w := Wait{
		WaitID: WaitID{WaitSessions, strconv.FormatUint(id.Generation, 10)},
		Reason: "sessions may be left", Since: sp.StoppedAt, Until: until,
		Cost: fmt.Sprintf("sessions of generation %d that are left are balanced, not routed", id.Generation),
	}
	if !bounded {
		w.Reason, w.Until = "sessions may be left, and the pool has no session_lifetime: the server or an operator has to say that none is", time.Time{}
	}
	if !bounded || at.Before(until) {
		add(w)
		return
	}
	for _, name := range p.sortedBalancers() {
		if b := p.s.Balancers[name]; !b.Ignored && b.SeenUpTo.Before(until) {
			add(Wait{
				WaitID: WaitID{WaitReport, name}, Reason: "has not said which IDs it saw since " + b.SeenUpTo.UTC().Format(time.RFC3339),
				Since: until, Cost: w.Cost,
			})
		}
	}
}

func (p *Pool) waitForServer(id SpaceID, sp *spaceRecord, add func(Wait)) {
	s := p.s.Servers[id.Owner]
	name := string(id.Owner)
	switch {
	case sp.Moved != 0:
		reason := fmt.Sprintf("has not shown that it stopped minting generation %d", id.Generation)
		if !s.Agent {
			reason = fmt.Sprintf("has no agent that could say that it stopped minting generation %d", id.Generation)
		}
		if s.Report.Problem != "" {
			reason += ": " + s.Report.Problem
		}
		add(Wait{
			WaitID: WaitID{WaitServer, name}, Reason: reason, Since: sp.Since,
			Cost: fmt.Sprintf("sessions that server %s still mints under generation %d are balanced, not routed, once the generation is forgotten", name, id.Generation),
		})
	case sp.Offered && s.Agent && !slices.Contains(s.Report.Minting, id.Generation):
		reason := fmt.Sprintf("was told to mint generation %d and has not said that it does", id.Generation)
		if s.Report.Problem != "" {
			reason += ": " + s.Report.Problem
		}
		add(Wait{WaitID: WaitID{WaitServer, name}, Reason: reason, Since: sp.Since})
	case !sp.Offered && id.Generation == p.mintingGeneration():
		for _, partner := range p.partners(id.Owner) {
			q := p.s.Servers[partner]
			if _, ok := slices.BinarySearchFunc(q.Report.Held, id, SpaceID.compare); ok || !q.Agent || q.Ignored {
				continue
			}
			add(Wait{
				WaitID: WaitID{WaitServer, string(partner)}, Since: sp.Since,
				Reason: fmt.Sprintf("does not hold the key of server %s of generation %d yet", name, id.Generation),
				Cost:   fmt.Sprintf("server %s cannot take over sessions of server %s until it holds its key", partner, name),
			})
		}
	}
}

// override ends waits.
func (p *Pool) override(e Override) error {
	var open []Wait
	for _, id := range e.Waits {
		n := len(open)
		for _, w := range p.waits(e.At) {
			if w.WaitID == id {
				open = append(open, w)
			}
		}
		if len(open) == n {
			return fmt.Errorf("nothing waits for %s %s (rollout status lists the waits)", id.Kind, id.Name)
		}
	}
	costs := Costs(open)
	for _, w := range open {
		if w.Cost == "" {
			return fmt.Errorf("the wait for %s %s cannot be overridden: it %s", w.Kind, w.Name, w.Reason)
		}
	}
	if !slices.Equal(costs, slices.Compact(slices.Sorted(slices.Values(e.Costs)))) {
		return &CostError{Costs: costs}
	}
	for _, w := range open {
		switch w.Kind {
		case WaitBalancer, WaitReport:
			b := p.s.Balancers[w.Name]
			b.Ignored = true
			p.s.Balancers[w.Name] = b
		case WaitServer:
			p.overrideServer(ServerName(w.Name), e.At)
		case WaitSessions:
			p.overrideSessions(w.Name)
		}
	}
	return nil
}

// Costs returns what overriding waits would lose, sorted, each once.
func Costs(waits []Wait) []string {
	var all []string
	for _, w := range waits {
		if w.Cost != "" {
			all = append(all, w.Cost)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (p *Pool) overrideServer(name ServerName, at time.Time) {
	s := p.s.Servers[name]
	s.Ignored = true
	p.s.Servers[name] = s
	for id, sp := range p.s.Spaces {
		if id.Owner == name && sp.Moved != 0 && sp.StoppedAt.IsZero() {
			sp.StoppedAt = at
			p.s.Spaces[id] = sp
		}
	}
}

func (p *Pool) overrideSessions(generation string) {
	for id, sp := range p.s.Spaces {
		if strconv.FormatUint(id.Generation, 10) == generation && !sp.StoppedAt.IsZero() {
			sp.Buried = true
			p.s.Spaces[id] = sp
		}
	}
}

// RotationCosts returns which sessions a rotation would end now, because a
// server's product does not keep enough keys; nil if none.
func (p *Pool) RotationCosts(at time.Time) []string {
	var costs []string
	for _, name := range p.Servers() {
		s := p.s.Servers[name]
		kept := int(s.Report.KeysKept)
		if kept == 0 || !s.Agent {
			continue
		}
		// Each member of the group will have one key more.
		more := 1 + len(p.partners(name))
		ends := min(len(s.Uses)+more-kept, len(s.Uses))
		for i := len(s.Uses) - 1; ends > 0 && i >= 0; i, ends = i-1, ends-1 {
			id := s.Uses[i].Space
			if sp := p.s.Spaces[id]; p.dead(&sp, at) {
				continue
			}
			product := ""
			if s.Report.Adapter != "" {
				product = " (" + s.Report.Adapter + ")"
			}
			costs = append(costs, fmt.Sprintf("server %s%s keeps %d keys: sessions of generation %d end there", name, product, kept, id.Generation))
		}
	}
	return costs
}

// Stale reports whether a server says that it mints a generation which is
// gone: it was away too long. It should get no new traffic until it has caught
// up, because nobody could route what it mints.
func (p *Pool) Stale(name ServerName) bool {
	s, ok := p.s.Servers[name]
	if !ok || !s.Agent {
		return false
	}
	return slices.ContainsFunc(s.Report.Minting, func(g uint64) bool {
		_, live := p.s.Spaces[SpaceID{Owner: name, Generation: g}]
		return !live
	})
}

// A BalancerStatus is what is known of a balancer.
type BalancerStatus struct {
	Name     string
	Acked    uint64
	SeenUpTo time.Time
	Ignored  bool
}

// Balancers returns the balancers that are waited for, in order.
func (p *Pool) Balancers() []BalancerStatus {
	var all []BalancerStatus
	for _, name := range p.sortedBalancers() {
		b := p.s.Balancers[name]
		all = append(all, BalancerStatus{Name: name, Acked: b.Acked, SeenUpTo: b.SeenUpTo, Ignored: b.Ignored})
	}
	return all
}

// A ServerStatus is what is known of a server in the pool.
type ServerStatus struct {
	Name    ServerName
	Group   string
	Agent   bool
	Version uint64
	Report  Report
	At      time.Time
	Stale   bool
}

// ServerStatus returns what is known of the servers in the pool, in order.
func (p *Pool) ServerStatus() []ServerStatus {
	var all []ServerStatus
	for _, name := range p.Servers() {
		s := p.s.Servers[name]
		all = append(all, ServerStatus{
			Name: name, Group: s.Group, Agent: s.Agent, Version: s.Version, Report: s.Report, At: s.At, Stale: p.Stale(name),
		})
	}
	return all
}

// Retiring reports whether any space is on its way out, so that it matters
// which IDs are seen.
func (p *Pool) Retiring() bool {
	for id, sp := range p.s.Spaces {
		if sp.Moved != 0 || !sp.StoppedAt.IsZero() || p.s.Servers[id.Owner].RemovedAt != 0 {
			return true
		}
	}
	return false
}
