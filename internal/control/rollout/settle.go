package rollout

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/sealed"
)

func compareNames(a, b ServerName) int { return strings.Compare(string(a), string(b)) }

// settle takes all steps that have become possible. Each of them may make
// another possible, and each changes the plan or a record for good, so the
// loop ends.
func (p *Pool) settle(key sealed.Key, at time.Time) error {
	if err := p.follow(key, at); err != nil {
		return err
	}
	if p.plan == nil {
		return nil
	}
	for {
		p.stopRemoved(at)
		if err := p.grant(at); err != nil {
			return err
		}
		started, err := p.startMinting(at)
		if err != nil {
			return err
		}
		p.assign(at)
		buried, err := p.bury(at)
		if err != nil {
			return err
		}
		if !started && !buried {
			return nil
		}
		// What could not be done for want of room may be possible now.
		if err := p.follow(sealed.Key{}, at); err != nil {
			return err
		}
	}
}

// follow brings the plan to what is wanted, as far as it goes.
func (p *Pool) follow(key sealed.Key, at time.Time) error {
	w := p.s.Wanted
	if p.plan == nil {
		if len(w.Members) == 0 {
			return nil
		}
		plan, err := idspace.NextPlan(nil, idspace.Change{
			At: at, SessionLifetime: w.SessionLifetime, Scheme: &w.Scheme.Scheme, Members: p.members(),
			Open: &idspace.OpenGeneration{Key: p.keyFor(key)},
		})
		if err != nil {
			return err
		}
		p.adopt(plan, at)
		p.s.RotatedAt, p.s.Behind = at, false
		return nil
	}
	if p.s.Behind {
		if err := p.catchUp(key, at); err != nil {
			return err
		}
	}
	if p.s.Rotate == "" || p.prepared() >= 0 || w.Scheme.Kind == idspace.SchemeSealed && key.IsZero() {
		return nil
	}
	plan, err := p.openGeneration(key, at)
	if err != nil {
		p.problem(err, at)
		return nil
	}
	p.adopt(plan, at)
	p.s.Rotate, p.s.RotatedAt, p.s.Problem = "", at, ""
	return nil
}

// problem notes why the plan could not follow, for people.
func (p *Pool) problem(err error, at time.Time) {
	if text := err.Error(); text != p.s.Problem {
		p.s.Problem, p.s.Since = text, at
	}
}

// catchUp takes the members that are wanted into the plan. When the reserve
// does not hold what they need, a generation is opened in which it is divided
// anew; when none can be opened yet, that is a problem that passes.
func (p *Pool) catchUp(key sealed.Key, at time.Time) error {
	w := p.s.Wanted
	plan, err := idspace.NextPlan(p.plan, idspace.Change{
		At: at, SessionLifetime: w.SessionLifetime, Scheme: &w.Scheme.Scheme, Members: p.members(),
	})
	if err == nil {
		p.adopt(plan, at)
		p.s.Behind, p.s.Problem = false, ""
		return nil
	}
	if _, full := errors.AsType[*idspace.ReserveError](err); !full {
		return err
	}
	if p.prepared() >= 0 || w.Scheme.Kind == idspace.SchemeSealed {
		p.problem(err, at)
		return nil
	}
	if plan, err = p.openGeneration(key, at); err != nil {
		p.problem(err, at)
		return nil
	}
	p.adopt(plan, at)
	p.s.Behind, p.s.Problem, p.s.RotatedAt, p.s.Rotate = false, "", at, ""
	return nil
}

// adopt makes plan the one that balancers must have, if it is another, and
// brings the records of spaces and servers in line with it.
func (p *Pool) adopt(plan *idspace.Plan, at time.Time) {
	if p.plan != nil && plan.Revision() == p.plan.Revision() {
		return
	}
	p.plan = plan
	p.s.Version++
	values := make(map[SpaceID]uint64)
	for _, sp := range plan.Spaces() {
		if sp.State != idspace.SpaceReserve {
			values[SpaceID{Owner: sp.Owner, Generation: sp.Generation}] += sp.Values
		}
	}
	for id, n := range values {
		r, known := p.s.Spaces[id]
		if !known || n > r.Values {
			r.RoutedSince, r.Since = p.s.Version, at
		}
		r.Values = n
		p.s.Spaces[id] = r
	}
	owners := make(map[ServerName]bool)
	for id := range p.s.Spaces {
		if _, still := values[id]; !still {
			delete(p.s.Spaces, id)
			continue
		}
		owners[id.Owner] = true
	}
	for name, s := range p.s.Servers {
		if s.RemovedAt != 0 && !owners[name] {
			delete(p.s.Servers, name)
		}
	}
}

func (p *Pool) wants(name ServerName) bool {
	return slices.ContainsFunc(p.s.Wanted.Members, func(m Member) bool { return m.Name == name })
}

// everybodyHas returns the newest version that every balancer that is waited
// for has acknowledged.
func (p *Pool) everybodyHas() uint64 {
	version := uint64(math.MaxUint64)
	for _, b := range p.s.Balancers {
		if b.Ignored || p.order.ignoreStarting && b.Acked == 0 {
			continue
		}
		version = min(version, b.Acked)
	}
	return version
}

// stopRemoved notes of servers that left that nothing reaches them any more.
func (p *Pool) stopRemoved(at time.Time) {
	all := p.everybodyHas()
	for id, sp := range p.s.Spaces {
		s := p.s.Servers[id.Owner]
		if s.RemovedAt != 0 && (all >= s.RemovedAt || p.order.reuseRemovedAtOnce) && sp.StoppedAt.IsZero() {
			sp.StoppedAt = at
			if p.order.reuseRemovedAtOnce {
				sp.Buried = true
			}
			p.s.Spaces[id] = sp
		}
	}
}

// grant gives the right to mint what every balancer can route.
func (p *Pool) grant(at time.Time) error {
	all := p.everybodyHas()
	plans := make(map[uint64]*idspace.Plan) // by generation, the plan in which it is minted
	for _, g := range p.plan.Generations() {
		if g.State == idspace.StateMinting {
			plans[g.Number] = p.plan
		}
	}
	for id, sp := range p.s.Spaces {
		if sp.Grant != nil || sp.RoutedSince > all && !p.order.grantBeforeAcks || !p.mayMint(id.Owner) {
			continue
		}
		plan := plans[id.Generation]
		if plan == nil {
			if p.prepared() != int64(id.Generation) { //nolint:gosec // a counter
				continue // retiring: its time has passed
			}
			next, err := idspace.NextPlan(p.plan, idspace.Change{At: at, StartMinting: true})
			if err != nil {
				return err
			}
			plans[id.Generation] = next
			plan = next
		}
		a, err := plan.Mint(id.Owner)
		if errors.Is(err, idspace.ErrNothingToMint) || errors.Is(err, idspace.ErrNotMember) {
			continue
		}
		if err != nil {
			return err
		}
		sp.Grant, sp.Since = newGrant(a), at
		p.s.Spaces[id] = sp
	}
	return nil
}

// prefixBytes is the prefix that a server which puts a constant in front of its
// IDs is given: a TLS session ID of 32 bytes keeps 24 of its own, and it is as
// long as AWS_LBC_QUIC_SERVER_ID, which the adapter env writes.
const prefixBytes = 8

func newGrant(a *idspace.Assignment) *Grant {
	name := a.NewKeyName()
	g := &Grant{Name: name[:], Text: a.NewText()}
	if a.Kind == idspace.SchemeSealed {
		g.Number = uint32(a.Spaces[0].First) //nolint:gosec // a server number is below 2^16
		return g
	}
	if prefix, err := a.Prefix(prefixBytes); err == nil {
		g.Prefix = prefix
	}
	return g
}

// mayMint reports whether a server is in the pool and in the plan. One that
// was added while the plan had no room for it is not in the plan yet.
func (p *Pool) mayMint(name ServerName) bool {
	return p.s.Servers[name].RemovedAt == 0 &&
		slices.ContainsFunc(p.plan.Members(), func(m idspace.Member) bool { return m.Owner == name })
}

// startMinting lets the generation that is prepared be minted when all its
// members may.
func (p *Pool) startMinting(at time.Time) (bool, error) {
	n := p.prepared()
	if n < 0 {
		return false, nil
	}
	for id, sp := range p.s.Spaces {
		if int64(id.Generation) == n && sp.Grant == nil && p.mayMint(id.Owner) { //nolint:gosec // a counter
			return false, nil
		}
	}
	plan, err := idspace.NextPlan(p.plan, idspace.Change{At: at, StartMinting: true})
	if err != nil {
		return false, err
	}
	p.adopt(plan, at)
	return true, nil
}

// margin is added to the session lifetime, for clocks that differ.
const margin = time.Minute

// dead reports whether no ID of a space can be left.
func (p *Pool) dead(sp *spaceRecord, at time.Time) bool {
	if sp.Buried {
		return true
	}
	if sp.StoppedAt.IsZero() {
		return false
	}
	if sp.None || p.order.forgetAtStop {
		return true
	}
	until, bounded := p.deadAt(sp)
	if !bounded || at.Before(until) {
		return false
	}
	if p.order.trustSilence {
		return true
	}
	for _, b := range p.s.Balancers {
		if !b.Ignored && b.SeenUpTo.Before(until) {
			return false
		}
	}
	return true
}

// deadAt returns when a space whose server has stopped is dead if no ID of it
// is seen any more, and false if that cannot be told.
func (p *Pool) deadAt(sp *spaceRecord) (time.Time, bool) {
	last := sp.StoppedAt
	if sp.LastSeen.After(last) {
		last = sp.LastSeen
	}
	life := p.s.Wanted.SessionLifetime
	return last.Add(life + margin), life > 0
}

// bury takes out of the plan what is dead: whole generations, and what
// servers had that left.
func (p *Pool) bury(at time.Time) (bool, error) {
	change := idspace.Change{At: at}
	deadIn := make(map[uint64]bool)     // generations of which all is dead
	owners := make(map[ServerName]bool) // removed servers of which all is dead
	for _, g := range p.plan.Generations() {
		deadIn[g.Number] = g.State == idspace.StateRetiring
	}
	for name, s := range p.s.Servers {
		owners[name] = s.RemovedAt != 0 && !p.wants(name)
	}
	for _, id := range p.sortedSpaces() {
		sp := p.s.Spaces[id]
		if !p.dead(&sp, at) {
			deadIn[id.Generation] = false
			owners[id.Owner] = false
		}
	}
	for _, n := range slices.Sorted(maps.Keys(deadIn)) {
		if deadIn[n] {
			change.DeadGenerations = append(change.DeadGenerations, n)
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(owners), compareNames) {
		if owners[name] && p.hasRetired(name) {
			change.DeadOwners = append(change.DeadOwners, name)
		}
	}
	if change.DeadGenerations == nil && change.DeadOwners == nil {
		return false, nil
	}
	plan, err := idspace.NextPlan(p.plan, change)
	if err != nil {
		return false, err
	}
	p.adopt(plan, at)
	return true, nil
}

// hasRetired reports whether the plan holds a space of name that retired by
// itself, rather than with its generation.
func (p *Pool) hasRetired(name ServerName) bool {
	return slices.ContainsFunc(p.plan.Spaces(), func(sp idspace.Space) bool {
		return sp.Owner == name && sp.State == idspace.SpaceRetiring
	})
}
