package rollout

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

// The safety of the rollout is tested by schedules: random histories of a
// control plane, balancers and servers that crash, restart, and get messages
// late, twice, in another order or not at all. The control plane is the
// production state machine and its document; what is modelled is the clock,
// the transport and the disks.
//
// After each step it must hold that
//
//   - every ID that a server may mint now, by what is on its disk or was ever
//     sent to it and is not known to be replaced, is routed to it by every live
//     balancer;
//   - every ID that has not expired is still routed to its server by every
//     live balancer, as long as the server is in the pool.
//
// Then all faults end, and the rollout must come to rest.

// schedules is how many random histories TestSchedules runs. A replay of one
// is -schedules=1 -schedule-seed=N, which a failure prints.
var (
	schedules    = flag.Int("schedules", defaultSchedules, "how many random histories of a rollout are run")
	scheduleSeed = flag.Uint64("schedule-seed", 1, "the first of them")
)

const (
	lifetime = 10 * time.Minute
	steps    = 60
)

// A world is everything outside the state machine, and the document in it.
type world struct {
	rng *rand.Rand
	now time.Time

	doc       *Pool // what the store holds
	wanted    []Member
	balancers map[string]*modelBalancer
	servers   map[ServerName]*modelServer
	minted    []mintedID
	mail      []func() // what is on the wire, in any order
	calm      bool     // the wire is good: such histories come further
	order     order
	traced    bool
	trace     []string
	routes    map[uint64]*routes // by revision of the plan
	encrypts  map[ServerName]SpaceID
}

// A modelBalancer has a disk and may be running.
type modelBalancer struct {
	joined  bool
	live    bool // it has synced since it started
	disk    *routes
	version uint64
	started time.Time
	seen    map[SpaceID]time.Time
}

// A modelServer has an agent with a disk, and processes that may be older
// than what is on it.
type modelServer struct {
	version uint64 // of the assignment on disk
	mints   *modelKey
	old     *modelKey // of processes that are not gone yet
	held    []SpaceID
}

type modelKey struct {
	space SpaceID
	name  string
}

// A mintedID is an ID that a client may hold.
type mintedID struct {
	modelKey
	used time.Time
}

// routes are what a balancer knows: whose a key name is.
type routes struct {
	spaces []idspace.Space
}

func (r *routes) owner(name string) ServerName {
	if r == nil {
		return ""
	}
	for i := range r.spaces {
		s := &r.spaces[i]
		n := len(s.From)
		if s.Owner != "" && name[:n] >= string(s.From) && name[:n] <= string(s.To) {
			return s.Owner
		}
	}
	return ""
}

func newWorld(seed uint64, o order, traced bool) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 2)), now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		balancers: make(map[string]*modelBalancer), servers: make(map[ServerName]*modelServer),
		doc: &Pool{order: o}, order: o, traced: traced, routes: make(map[uint64]*routes), encrypts: make(map[ServerName]SpaceID),
	}
	w.calm = w.rng.IntN(2) == 0
	for i := range 2 + w.rng.IntN(2) {
		w.add(serverName(i))
	}
	w.balancers["x"] = &modelBalancer{}
	w.balancers["y"] = &modelBalancer{}
	w.join("x")
	w.configure()
	return w
}

func serverName(i int) ServerName { return ServerName(rune('a' + i)) }

func (w *world) add(name ServerName) {
	w.wanted = append(w.wanted, Member{Name: name, Group: []string{"", "g"}[w.rng.IntN(2)]})
	if w.servers[name] == nil {
		w.servers[name] = &modelServer{}
	}
	// One that was forgotten joins again, and begins with nothing: what an
	// agent had is of no use once its certificate was revoked.
	if s := w.servers[name]; w.doc.s.Servers[name].Version == 0 {
		s.mints, s.old, s.held = nil, nil, nil
	}
}

func (w *world) note(format string, args ...any) {
	if !w.traced {
		return
	}
	w.trace = append(w.trace, w.now.Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

// A violation is the end of a schedule: what must hold does not.
type violation string

func (w *world) fail(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

// apply commits one step, or notes that it was refused.
func (w *world) apply(e Event) {
	next, err := w.doc.Apply(e)
	if err != nil {
		w.note("refused %T: %v", e, err)
		return
	}
	w.doc = next
	w.checkHeld()
}

// crash has the control plane come back from its disk.
func (w *world) crash() {
	w.note("the control plane restarts")
	b, err := w.doc.Encode()
	if err != nil {
		w.fail("%v", err)
	}
	p, err := Decode(b)
	if err != nil {
		w.fail("%v", err)
	}
	p.order = w.order
	w.doc = p
}

func (w *world) configure() {
	w.note("configure %v", w.wanted)
	w.apply(Configure{Configuration: Configuration{
		Scheme: Scheme{idspace.Scheme{Kind: idspace.SchemeRanges}}, Members: slices.Clone(w.wanted), SessionLifetime: lifetime,
	}, At: w.now})
}

// newest returns the routes of the present plan.
func (w *world) newest() (*routes, uint64) {
	plan, version := w.doc.Routed()
	if plan == nil {
		return &routes{}, version
	}
	r := w.routes[plan.Revision()]
	if r == nil {
		r = &routes{}
		for _, s := range plan.Spaces() {
			if s.State != idspace.SpaceReserve {
				r.spaces = append(r.spaces, s)
			}
		}
		w.routes[plan.Revision()] = r
	}
	return r, version
}

// send puts a message on the wire: it may be lost, be late, or arrive twice.
func (w *world) send(deliver func()) {
	if w.calm {
		deliver()
		return
	}
	switch w.rng.IntN(8) {
	case 0:
	case 1:
		w.mail = append(w.mail, deliver, deliver)
	case 2, 3:
		w.mail = append(w.mail, deliver)
	default:
		deliver()
	}
}

func (w *world) join(name string) {
	w.note("balancer %s joins", name)
	w.balancers[name].joined = true
	w.apply(BalancerJoined{Name: name, At: w.now})
	w.start(name)
}

func (w *world) start(name string) {
	b := w.balancers[name]
	b.live, b.started, b.seen = false, w.now, make(map[SpaceID]time.Time)
}

// route sends a balancer the newest routes.
func (w *world) route(name string, send func(func())) {
	b := w.balancers[name]
	if !b.joined {
		return
	}
	r, version := w.newest()
	started := b.started
	send(func() {
		if b.started != started {
			return // the stream died with the process
		}
		if version >= b.version {
			b.disk, b.version = r, version
		}
		b.live = true
		w.note("balancer %s has version %d live", name, b.version)
		w.checkRoutes()
		acked := b.version
		send(func() { w.apply(BalancerAcked{Name: name, Version: acked, At: w.now}) })
	})
}

// tell sends what a balancer has seen.
func (w *world) tell(name string, send func(func())) {
	b := w.balancers[name]
	if !b.joined {
		return
	}
	e := BalancerSaw{Name: name, Since: b.started, Spaces: make(map[SpaceID]time.Time), At: w.now}
	maps.Copy(e.Spaces, b.seen)
	send(func() { w.apply(e) })
}

// assign sends a server its assignment.
func (w *world) assign(name ServerName, send func(func())) {
	a, ok := w.doc.Assignment(name)
	if !ok {
		return
	}
	s := w.servers[name]
	send(func() {
		if a.Version <= s.version {
			return
		}
		w.note("server %s applies version %d %v", name, a.Version, a.Keys)
		if s.mints != nil {
			s.old = s.mints
		}
		s.version, s.mints, s.held = a.Version, nil, nil
		for _, k := range a.Keys {
			s.held = append(s.held, k.Space)
			if k.Encrypt {
				s.mints = &modelKey{space: k.Space, name: string(k.Name)}
			}
		}
	})
}

// report sends what a server does.
func (w *world) report(name ServerName, send func(func())) {
	s := w.servers[name]
	r := Report{Version: s.version, Held: slices.Clone(s.held), OldWorkersGone: s.old == nil, Verified: true}
	for _, k := range []*modelKey{s.mints, s.old} {
		if k != nil {
			r.Minting = append(r.Minting, k.space.Generation)
		}
	}
	send(func() { w.apply(AgentReported{Server: name, Report: r, At: w.now}) })
}

// mint has a server mint an ID by any of its processes.
func (w *world) mint(name ServerName) {
	s := w.servers[name]
	k := s.mints
	if s.old != nil && (k == nil || w.rng.IntN(2) == 0) {
		k = s.old
	}
	if k == nil || !w.inPool(name) {
		return
	}
	w.minted = append(w.minted, mintedID{modelKey: *k, used: w.now})
	w.checkRoutes()
}

// inPool reports whether balancers may send anything to a server: whether it
// is in the pool, or some live balancer has not heard yet that it is not.
func (w *world) inPool(name ServerName) bool {
	if slices.ContainsFunc(w.wanted, func(m Member) bool { return m.Name == name }) {
		return true
	}
	s, ok := w.doc.s.Servers[name]
	if !ok {
		return false
	}
	for _, b := range w.balancers {
		if b.live && b.version < s.RemovedAt {
			return true
		}
	}
	return false
}

// use has a client come back with an ID, through any live balancer.
func (w *world) use() {
	var valid []*mintedID
	for i := range w.minted {
		if id := &w.minted[i]; w.now.Sub(id.used) <= lifetime {
			valid = append(valid, id)
		}
	}
	if len(valid) == 0 {
		return
	}
	// The oldest are of most interest: what becomes of them is at stake.
	id := valid[w.rng.IntN(min(2, len(valid)))]
	for _, name := range []string{"x", "y"} {
		if b := w.balancers[name]; b.live && w.rng.IntN(2) == 0 {
			id.used = w.now
			b.seen[id.space] = w.now
			w.note("%s sees an ID of %v", name, id.space)
			if w.rng.IntN(6) == 0 {
				w.start(name) // before it could tell anybody
			}
			return
		}
	}
}

// checkRoutes holds that every ID that has not expired is routed to the server
// that minted it, by every live balancer.
func (w *world) checkRoutes() {
	for _, id := range w.minted {
		if w.now.Sub(id.used) > lifetime {
			continue
		}
		for name, b := range w.balancers {
			if got := b.disk.owner(id.name); b.live && got != id.space.Owner {
				w.fail("balancer %s routes an ID of %v to %q", name, id.space, got)
			}
		}
	}
}

// checkHeld holds that no server is told to encrypt with a key that a partner
// with an agent does not hold.
func (w *world) checkHeld() {
	for _, name := range w.doc.Servers() {
		a, ok := w.doc.Assignment(name)
		if !ok {
			continue
		}
		for _, k := range a.Keys {
			if !k.Encrypt || w.encrypts[name] == k.Space {
				continue
			}
			w.encrypts[name] = k.Space
			for _, partner := range w.doc.partners(name) {
				if w.doc.s.Servers[partner].Agent && !slices.Contains(w.servers[partner].held, k.Space) {
					w.fail("server %s encrypts with %v, which its partner %s does not hold", name, k.Space, partner)
				}
			}
		}
	}
}

// step does one random thing.
func (w *world) step() {
	w.now = w.now.Add(time.Duration(w.rng.IntN(120)) * time.Second)
	balancer := []string{"x", "y"}[w.rng.IntN(2)]
	server := serverName(w.rng.IntN(4))
	if w.servers[server] == nil {
		server = "a"
	}
	switch n := w.rng.IntN(100); {
	case n < 10:
		if len(w.mail) > 0 {
			i := w.rng.IntN(len(w.mail))
			m := w.mail[i]
			w.mail = slices.Delete(w.mail, i, i+1)
			m()
		}
	case n < 26:
		w.route(balancer, w.send)
	case n < 36:
		w.assign(server, w.send)
	case n < 46:
		w.report(server, w.send)
	case n < 52:
		w.tell(balancer, w.send)
	case n < 63:
		w.mint(server)
	case n < 74:
		w.use()
	case n < 79:
		if s := w.servers[server]; s.old != nil {
			w.note("server %s: old processes end", server)
			s.old = nil
		}
	case n < 83:
		w.apply(Tick{At: w.now})
	case n < 86:
		w.crash()
	case n < 89:
		w.start(balancer)
	case n < 91:
		if !w.balancers[balancer].joined {
			w.join(balancer)
		}
	case n < 94:
		w.note("rotate")
		w.apply(Rotate{At: w.now})
	case n < 97:
		w.change(server)
	default:
		w.now = w.now.Add(time.Duration(w.rng.IntN(int(lifetime))))
	}
	w.checkRoutes()
}

// change adds, removes or regroups a server.
func (w *world) change(server ServerName) {
	i := slices.IndexFunc(w.wanted, func(m Member) bool { return m.Name == server })
	switch {
	case i < 0:
		w.add(server)
	case len(w.wanted) == 1:
		name := serverName(len(w.servers))
		if len(w.servers) == 4 {
			return
		}
		w.add(name)
	case w.rng.IntN(2) == 0:
		w.wanted = slices.Delete(slices.Clone(w.wanted), i, i+1)
	case len(w.servers) < 4:
		w.add(serverName(len(w.servers)))
	default:
		w.wanted = slices.Clone(w.wanted)
		w.wanted[i].Group = []string{"", "g"}[w.rng.IntN(2)]
	}
	w.configure()
}

// rest ends all faults and sees that the rollout comes to rest: one generation,
// no server that left, nothing waited for.
func (w *world) rest() {
	w.note("all faults end")
	now := func(deliver func()) { deliver() }
	w.mail = nil
	for range 12 {
		for _, name := range []string{"x", "y"} {
			w.route(name, now)
			w.tell(name, now)
		}
		for _, name := range w.doc.Servers() {
			s := w.servers[name]
			w.assign(name, now)
			s.old = nil
			w.report(name, now)
			w.mint(name)
		}
		w.apply(Tick{At: w.now})
		w.checkRoutes()
		if w.resting() {
			return
		}
		w.now = w.now.Add(lifetime/2 + margin)
	}
	if waits := w.doc.Status(w.now).Waits; len(waits) > 0 {
		w.fail("the rollout does not come to rest: it waits for %v", waits)
	}
	if n := len(w.doc.plan.Generations()); n != 1 {
		w.fail("%d generations are left at rest", n)
	}
	if n := len(w.doc.s.Servers); n != len(w.wanted) {
		w.fail("%d servers are known at rest; %d are in the pool", n, len(w.wanted))
	}
	for _, m := range w.wanted {
		if s := w.servers[m.Name]; s.mints == nil || s.mints.space.Generation != w.doc.mintingGeneration() {
			w.fail("server %s mints %+v at rest", m.Name, s.mints)
		}
	}
}

// resting reports whether nothing is left to do.
func (w *world) resting() bool {
	if len(w.doc.plan.Generations()) != 1 || len(w.doc.s.Servers) != len(w.wanted) || len(w.doc.Status(w.now).Waits) > 0 {
		return false
	}
	for _, m := range w.wanted {
		if s := w.servers[m.Name]; s.mints == nil || s.mints.space.Generation != w.doc.mintingGeneration() {
			return false
		}
	}
	return true
}

// run runs one schedule and returns what it violated; "": nothing.
func run(seed uint64, o order, traced bool) (w *world, broken string) {
	defer func() {
		if r := recover(); r != nil {
			v, ok := r.(violation)
			if !ok {
				panic(r)
			}
			broken = string(v)
		}
	}()
	w = newWorld(seed, o, traced)
	for range steps {
		w.step()
	}
	w.rest()
	return w, ""
}

// runAll runs n schedules on all processors until one is broken, and returns
// its seed.
func runAll(first uint64, n int, o order) (seed uint64, broken bool) {
	var (
		next  atomic.Uint64
		found atomic.Uint64
		wg    sync.WaitGroup
	)
	// Little lives long here, so the collector need not come often.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for found.Load() == 0 {
				i := next.Add(1) - 1
				if i >= uint64(n) { //nolint:gosec // a count
					return
				}
				if _, why := run(first+i, o, false); why != "" {
					found.CompareAndSwap(0, first+i)
				}
			}
		})
	}
	wg.Wait()
	return found.Load(), found.Load() != 0
}

// No server ever mints an ID that some live balancer cannot route, and no
// space is forgotten or given away before its last ID has expired, in any of
// many random histories.
func TestSchedules(t *testing.T) {
	t.Parallel()
	seed, broken := runAll(*scheduleSeed, *schedules, order{})
	if !broken {
		t.Logf("%d schedules of %d steps", *schedules, steps)
		return
	}
	w, why := run(seed, order{}, true)
	t.Errorf("%s\nin the schedule -schedules=1 -schedule-seed=%d:\n%s", why, seed, strings.Join(w.trace, "\n"))
}
