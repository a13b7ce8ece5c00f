package route

// Hot file: a choice costs no allocation; round-robin, random-two and hash
// look at a few servers, least-connections at each.

import (
	"math/rand/v2"
	"sync/atomic"
)

// A chooser chooses among some servers by a policy.
type chooser struct {
	policy  Policy
	members []*Server // in written order
	// schedule holds indexes of members, each as often as its weight says.
	schedule []uint16
	maglev   []uint16       // the table of the policy hash, indexes of members
	turn     *atomic.Uint64 // how many turns were taken; shared with the pools before and after
}

func newChooser(policy Policy, members []*Server, turn *atomic.Uint64) chooser {
	if turn == nil {
		turn = new(atomic.Uint64)
	}
	c := chooser{policy: policy, members: members, schedule: newSchedule(members), turn: turn}
	if policy == Hash {
		c.maglev = newMaglev(members)
	}
	return c
}

// A need says what a message needs of a server.
type need uint8

const (
	needNew    need = iota // the server takes new traffic
	needSteady             // it takes traffic and does not drain; its weight does not count
	needAny                // it takes traffic
)

// A query asks for a server for one message.
type query struct {
	f    *Facts
	now  int64 // f.Now in Unix nanoseconds
	need need
	take bool // take a connection slot; otherwise nothing changes
	// bound is the server to which the message's early data is bound. No other
	// server of its group may be chosen.
	bound *Server
}

// allows says whether s may be chosen, its connection limit aside.
func (q *query) allows(s *Server) bool {
	if !s.takes(q.now, q.f.Exclude) || q.bars(s) {
		return false
	}
	switch q.need {
	case needNew:
		return s.takesNew()
	case needSteady:
		return s.drainStart() == 0
	default:
		return true
	}
}

// bars says whether s must not see the message because it could accept early
// data that is bound to another server.
func (q *query) bars(s *Server) bool {
	return q.bound != nil && s != q.bound && s.group != nil && s.group == q.bound.group
}

// claim takes s for the message, and returns false when s is at its limit.
func (q *query) claim(s *Server) bool {
	if q.take {
		return s.acquire()
	}
	return !s.full()
}

// choose returns the server for q, nil when none is allowed and below its
// limit.
func (c *chooser) choose(q *query) *Server {
	// First, so that a search that must fail neither walks through a whole
	// table nor uses up turns.
	if !c.any(q) {
		return nil
	}
	if q.need != needNew {
		// Turns, schedules and tables go by weight, which does not count here.
		return c.chooseSpare(q)
	}
	switch c.policy {
	case LeastConnections:
		return c.least(q)
	case RandomTwo:
		return c.randomTwo(q)
	case Hash:
		if q.f.Client.IsValid() {
			return c.hashed(q)
		}
	case RoundRobin:
	}
	return c.roundRobin(q)
}

// any says whether some server is allowed and below its limit.
func (c *chooser) any(q *query) bool {
	for _, s := range c.members {
		if q.allows(s) && !s.full() {
			return true
		}
	}
	return false
}

func (c *chooser) roundRobin(q *query) *Server {
	n := uint64(len(c.schedule))
	turn := c.turn.Load()
	for range n {
		// A server that is passed over uses up its turn. It is as if it were
		// not in the schedule, and no neighbour gets its share besides its own.
		if q.take {
			turn = c.turn.Add(1) - 1
		}
		if s := c.members[c.schedule[turn%n]]; q.allows(s) && q.claim(s) {
			return s
		}
		turn++
	}
	// Other goroutines took the turns of the servers that are left.
	return c.least(q)
}

// least returns the server with the fewest connections for its weight. Among
// equals the turn decides, so that idle servers are used alike.
func (c *chooser) least(q *query) *Server {
	n := len(c.members)
	turn := c.turn.Load()
	if q.take {
		c.turn.Add(1)
	}
	start := int(turn % uint64(n))
	// A claim fails when the server has just reached its limit, and then the
	// next round passes over it: n rounds are enough.
	for range n {
		var best *Server
		for i := range n {
			s := c.members[(start+i)%n]
			if q.allows(s) && !s.full() && (best == nil || s.lighter(best)) {
				best = s
			}
		}
		if best == nil {
			return nil
		}
		if q.claim(best) {
			return best
		}
	}
	return nil
}

// lighter says whether s would have fewer connections for its weight than t,
// each with one more than now. A weight of zero, which takes no new traffic
// but may get that of a partner, counts as one.
func (s *Server) lighter(t *Server) bool {
	return (s.State.Conns.Load()+1)*max(t.weight, 1) < (t.State.Conns.Load()+1)*max(s.weight, 1)
}

func (c *chooser) randomTwo(q *query) *Server {
	a := c.draw(q, nil)
	if a == nil {
		return c.least(q)
	}
	b := c.draw(q, a)
	if b == nil {
		return c.least(q)
	}
	if b.lighter(a) {
		a, b = b, a
	}
	if q.claim(a) {
		return a
	}
	if q.claim(b) {
		return b
	}
	return c.least(q)
}

// draws is how often draw tries to find a server that is allowed.
const draws = 8

// draw returns a random server, by weight, that is allowed and is not other;
// nil when it has no luck, which is likely only where few servers take nearly
// all of the weight or most servers are down.
func (c *chooser) draw(q *query, other *Server) *Server {
	for range draws {
		s := c.members[c.schedule[rand.IntN(len(c.schedule))]]
		if s != other && q.allows(s) {
			return s
		}
	}
	return nil
}

func (c *chooser) hashed(q *query) *Server {
	n := len(c.maglev)
	at := slotOf(q.f, n)
	for range n {
		if s := c.members[c.maglev[at]]; q.allows(s) && q.claim(s) {
			return s
		}
		if at++; at == n {
			at = 0
		}
	}
	return nil
}

// chooseSpare chooses for an ID whose owner's state the members share, when
// none of them takes new traffic.
func (c *chooser) chooseSpare(q *query) *Server {
	if c.policy != Hash || !q.f.Client.IsValid() {
		return c.least(q)
	}
	n := len(c.members)
	start := slotOf(q.f, n)
	for i := range n {
		if s := c.members[(start+i)%n]; q.allows(s) && q.claim(s) {
			return s
		}
	}
	return nil
}

// whyNone returns why choose found no server for q.
func (c *chooser) whyNone(q *query) Cause {
	cause := CauseNoServer
	open := *q
	open.bound = nil
	for _, s := range c.members {
		if !open.allows(s) {
			continue
		}
		if !q.bars(s) {
			return CauseLimit
		}
		cause = CauseEarlyData
	}
	return cause
}
