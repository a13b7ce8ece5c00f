package rollout

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/sealed"
)

// An order is the rules of the package as switches. The zero order is the
// right one; each field breaks a rule, for tests that show that they notice.
type order struct {
	grantBeforeAcks    bool // a server may mint before balancers can route
	forgetAtStop       bool // a space is dead as soon as its server stopped
	trustSilence       bool // balancers that have not reported saw nothing
	trustRestarts      bool // a balancer's restart hides nothing that it saw
	stopUnproven       bool // a server has stopped as soon as it was told to
	encryptBeforeHold  bool // a group's key is used before its partners hold it
	ignoreStarting     bool // a balancer that has acknowledged nothing is not waited for
	reuseRemovedAtOnce bool // a removed server's values are free at once
}

// Apply returns the state after e. The error says why e was refused; nothing
// has changed then. An event that tells nothing new returns p itself.
func (p *Pool) Apply(e Event) (*Pool, error) {
	n := p.clone()
	var err error
	var key sealed.Key
	switch e := e.(type) {
	case Configure:
		key = e.Key
		err = n.configure(e)
	case BalancerJoined:
		n.s.Balancers[e.Name] = balancer{Since: e.At, SeenUpTo: e.At}
	case BalancerLeft:
		delete(n.s.Balancers, e.Name)
	case BalancerAcked:
		err = n.acked(e)
	case BalancerSaw:
		err = n.saw(e)
	case AgentReported:
		err = n.reported(e)
	case AgentLeft:
		if s, ok := n.s.Servers[e.Server]; ok {
			s.Agent = false
			n.s.Servers[e.Server] = s
		}
	case Rotate:
		key = e.Key
		err = n.rotate(e)
	case Override:
		err = n.override(e)
	case Tick:
		key = e.Key
		n.tick(e)
	default:
		err = fmt.Errorf("unknown event %T", e)
	}
	if err != nil {
		return nil, err
	}
	if err := n.settle(key, e.at()); err != nil {
		return nil, err
	}
	return n, nil
}

func (p *Pool) configure(e Configure) error {
	seen := make(map[ServerName]bool, len(e.Members))
	for _, m := range e.Members {
		if seen[m.Name] {
			return fmt.Errorf("server %q is given twice", m.Name)
		}
		seen[m.Name] = true
	}
	if p.plan != nil {
		if len(e.Members) == 0 {
			return errors.New("a planned pool keeps at least one server: add another before removing the last, or delete the pool")
		}
		if kind := p.plan.Kind(); e.Scheme.Kind != kind {
			return fmt.Errorf("the pool's scheme is %s and cannot become %s: its IDs could not be routed any more; make a new pool", kind, e.Scheme.Kind)
		}
	}
	if e.SessionLifetime < 0 || e.RotateEvery < 0 {
		return errors.New("session_lifetime and rotate_every cannot be negative")
	}
	e.Members = slices.Clone(e.Members)
	slices.SortFunc(e.Members, func(a, b Member) int { return compareNames(a.Name, b.Name) })
	p.s.Wanted, p.s.Behind = e.Configuration, true
	p.leaveGroups(seen)
	p.remove(seen, e.At)
	for _, m := range e.Members {
		s := p.s.Servers[m.Name]
		if s.RemovedAt != 0 {
			p.comesBack(m.Name)
		}
		s.RemovedAt, s.RemovedSince, s.Group = 0, time.Time{}, m.Group
		p.s.Servers[m.Name] = s
	}
	if e.Plan != nil {
		return p.takeOver(e.Plan, seen, e.At)
	}
	return nil
}

// takeOver goes on from a plan that was rolled out by hand. Its servers mint
// by it, so their spaces count as offered, and what retires has stopped when
// the agents show so.
func (p *Pool) takeOver(plan *idspace.Plan, members map[ServerName]bool, at time.Time) error {
	switch {
	case p.plan != nil:
		return errors.New("the pool has a plan, and another cannot take its place: IDs in use would not be routed")
	case plan.Kind() != p.s.Wanted.Scheme.Kind:
		return fmt.Errorf("the plan has the scheme %s, and the pool %s", plan.Kind(), p.s.Wanted.Scheme.Kind)
	}
	states := make(map[uint64]idspace.GenerationState)
	for _, g := range plan.Generations() {
		states[g.Number] = g.State
	}
	for _, sp := range plan.Spaces() {
		if sp.State != idspace.SpaceReserve && !members[sp.Owner] {
			return fmt.Errorf("the plan still has a space of %s, which is no server of the pool: when none of its IDs is left, say so with `mintmark plan --dead %s`",
				sp.Owner, sp.Owner)
		}
	}
	p.adopt(plan, at)
	p.s.RotatedAt = at
	for id, sp := range p.s.Spaces {
		switch states[id.Generation] {
		case idspace.StateMinting:
			sp.Offered = true
		case idspace.StateRetiring:
			sp.Offered, sp.Moved = true, 1
		case idspace.StatePrepared:
			continue
		}
		p.s.Spaces[id] = sp
	}
	return nil
}

// leaveGroups asks for new keys where a server leaves a group whose keys it
// holds. Servers that are not in stays leave the pool.
func (p *Pool) leaveGroups(stays map[ServerName]bool) {
	group := make(map[ServerName]string)
	for _, m := range p.s.Wanted.Members {
		group[m.Name] = m.Group
	}
	for _, name := range p.sortedServers() {
		s := p.s.Servers[name]
		if s.RemovedAt == 0 && s.Group != "" && (!stays[name] || group[name] != s.Group) && len(p.partners(name)) > 0 {
			p.s.Rotate = fmt.Sprintf("server %s left group %s, whose keys it holds", name, s.Group)
		}
	}
}

// remove notes which servers have left: the routes no longer have them.
func (p *Pool) remove(stays map[ServerName]bool, at time.Time) {
	for _, name := range p.sortedServers() {
		if s := p.s.Servers[name]; s.RemovedAt == 0 && !stays[name] {
			p.s.Version++
			s.RemovedAt, s.RemovedSince = p.s.Version, at
			p.s.Servers[name] = s
		}
	}
}

// comesBack takes up again what a server left: whatever it was thought to have
// stopped minting, because nothing reached it, it may still mint.
func (p *Pool) comesBack(name ServerName) {
	for id, sp := range p.s.Spaces {
		if id.Owner == name {
			sp.StoppedAt = time.Time{}
			p.s.Spaces[id] = sp
		}
	}
}

func (p *Pool) acked(e BalancerAcked) error {
	b, ok := p.s.Balancers[e.Name]
	if !ok {
		return fmt.Errorf("balancer %q is not known: it has to join", e.Name)
	}
	if e.Version > p.s.Version {
		return fmt.Errorf("balancer %q acknowledges version %d; the newest is %d", e.Name, e.Version, p.s.Version)
	}
	b.Acked = max(b.Acked, e.Version)
	b.Ignored = b.Ignored && b.Acked < p.s.Version
	p.s.Balancers[e.Name] = b
	return nil
}

func (p *Pool) saw(e BalancerSaw) error {
	b, ok := p.s.Balancers[e.Name]
	if !ok {
		return fmt.Errorf("balancer %q is not known: it has to join", e.Name)
	}
	if e.Since.After(b.SeenUpTo) && !p.order.trustRestarts {
		// It was away and cannot tell: it may have seen anything.
		for id := range p.s.Spaces {
			p.see(id, e.Since)
		}
	}
	for id, t := range e.Spaces {
		p.see(id, t)
	}
	if e.At.After(b.SeenUpTo) {
		b.SeenUpTo = e.At
	}
	p.s.Balancers[e.Name] = b
	return nil
}

// see notes that an ID of a space was seen.
func (p *Pool) see(id SpaceID, at time.Time) {
	if sp, ok := p.s.Spaces[id]; ok && at.After(sp.LastSeen) {
		sp.LastSeen = at
		p.s.Spaces[id] = sp
	}
}

// Limits of what makes a space grow: a server that lies gets no more than a
// bounded part of the plan, and not at once.
const (
	maxGrowth   = 6
	growthPause = time.Hour
)

func (p *Pool) reported(e AgentReported) error {
	s, ok := p.s.Servers[e.Server]
	if !ok {
		return fmt.Errorf("server %q is not in the pool", e.Server)
	}
	r := e.Report
	if r.Version > s.Version {
		return fmt.Errorf("server %q reports version %d of its assignment; the newest is %d", e.Server, r.Version, s.Version)
	}
	if r.Version < s.Report.Version {
		return nil // overtaken by a later one
	}
	slices.SortFunc(r.Held, SpaceID.compare)
	s.Agent, s.Report, s.At, s.Ignored = true, r, e.At, false
	if r.RunsOut && s.Growth < maxGrowth && e.At.Sub(s.GrownAt) >= growthPause {
		s.Growth++
		s.GrownAt, p.s.Behind = e.At, true
	}
	p.s.Servers[e.Server] = s
	for id, sp := range p.s.Spaces {
		if id.Owner != e.Server {
			continue
		}
		switch {
		case slices.Contains(r.Minting, id.Generation):
			// Whatever was said before: it does mint, up to now.
			sp.StoppedAt, sp.None = time.Time{}, false
		case sp.Moved != 0 && r.Version >= sp.Moved && sp.StoppedAt.IsZero() && r.OldWorkersGone && r.Verified:
			sp.StoppedAt = e.At
		}
		if !sp.StoppedAt.IsZero() && slices.Contains(r.NoSessions, id.Generation) {
			sp.None = true
		}
		p.s.Spaces[id] = sp
	}
	return nil
}

func (p *Pool) rotate(e Rotate) error {
	if p.plan == nil {
		return errors.New("there is nothing to rotate: the pool has no plan yet")
	}
	if g := p.prepared(); g >= 0 {
		return fmt.Errorf("generation %d is being prepared: let it be minted first (rollout status says what it waits for)", g)
	}
	if costs := p.RotationCosts(e.At); len(costs) > 0 && !e.EndSessions {
		return &CostError{Costs: costs}
	}
	next, err := p.openGeneration(e.Key, e.At)
	if err != nil {
		return err
	}
	p.adopt(next, e.At)
	p.s.Rotate, p.s.RotatedAt = "", e.At
	return nil
}

func (p *Pool) tick(e Tick) {
	w := p.s.Wanted
	if p.plan != nil && w.RotateEvery > 0 && p.s.Rotate == "" && p.prepared() < 0 &&
		!e.At.Before(p.s.RotatedAt.Add(w.RotateEvery)) && len(p.RotationCosts(e.At)) == 0 {
		p.s.Rotate = "scheduled"
	}
}

// openGeneration returns the plan with a generation that is prepared.
func (p *Pool) openGeneration(key sealed.Key, at time.Time) (*idspace.Plan, error) {
	return idspace.NextPlan(p.plan, idspace.Change{
		At: at, SessionLifetime: p.s.Wanted.SessionLifetime, Scheme: &p.s.Wanted.Scheme.Scheme, Members: p.members(),
		Open: &idspace.OpenGeneration{Key: p.keyFor(key), Prepared: true},
	})
}

// keyFor returns key if the scheme has mark keys.
func (p *Pool) keyFor(key sealed.Key) sealed.Key {
	if p.s.Wanted.Scheme.Kind != idspace.SchemeSealed {
		return sealed.Key{}
	}
	return key
}

// members returns what the plan's members shall be.
func (p *Pool) members() []idspace.Member {
	all := make([]idspace.Member, 0, len(p.s.Wanted.Members))
	for _, m := range p.s.Wanted.Members {
		share := max(m.Share, 1)
		grown := min(uint64(share)<<p.s.Servers[m.Name].Growth, idspace.MaxPlanShare)
		all = append(all, idspace.Member{Owner: m.Name, Share: max(share, uint32(grown))}) //nolint:gosec // at most MaxPlanShare
	}
	return all
}

// prepared returns the number of the generation that is prepared, -1 if none is.
func (p *Pool) prepared() int64 {
	if p.plan == nil {
		return -1
	}
	for _, g := range p.plan.Generations() {
		if g.State == idspace.StatePrepared {
			return int64(g.Number) //nolint:gosec // a counter
		}
	}
	return -1
}
