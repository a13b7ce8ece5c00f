package discover

import (
	"context"
	"crypto/tls"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/probe"
	"github.com/mintmark/mintmark/internal/route"
)

const (
	// firstRoundProbes is how many servers of a pool are probed at once in the
	// first round, when traffic waits for it. Later rounds go one by one.
	firstRoundProbes = 8
	// kickPause keeps whatever asks for probes out of turn (flapping health,
	// clients that offer dead tickets) from making a server answer more often.
	// What asks sooner waits.
	kickPause = time.Second
	// probeLimit bounds the whole probe of one server, so that one that is
	// silent or slow on purpose keeps the others of its pool waiting no longer.
	// It is less than a start waits for the first round.
	probeLimit = 4 * time.Second
	// settlePause is how long names that were found wait for those of slower
	// servers, before they are used.
	settlePause = 500 * time.Millisecond
	// eventQueue bounds what waits for a pool's loop. Kicks and accepted
	// tickets are hints: what does not fit is dropped and costs nothing but time.
	eventQueue = 64
)

// Pool is a pool whose servers are probed.
type Pool struct {
	Name    route.PoolName
	Servers []*route.Server
	SNI     string
	// Certificate is shown to servers that ask for one; nil shows none.
	Certificate *tls.Certificate
	// Interval is how often each server is probed, give or take a tenth.
	Interval time.Duration
	// Lifetime is how long a name is kept after it was last seen.
	Lifetime time.Duration
	// Cache is the file that keeps the names over a restart; "" keeps none.
	Cache string
}

// Config is what a Runner needs.
type Config struct {
	Logger *slog.Logger
	// Dial connects to a server.
	Dial func(ctx context.Context, s *route.Server) (net.Conn, error)
	// OnChange is called with the new layout of a pool each time that it
	// changes, and once for each pool when its first round is over. It is
	// called from one goroutine for each pool.
	OnChange func(pool route.PoolName, l Layout)
	// OnResult, when set, is called after each probe.
	OnResult func(s *route.Server, r *probe.Result, err error)
}

// A Runner probes the servers of all pools that ask for it. Its methods are
// safe for concurrent use.
type Runner struct {
	cfg  Config
	seed maphash.Seed // of the hashes by which accepted tickets are told apart

	mu    sync.Mutex
	ctx   context.Context // of Run; nil before. Loops that Update makes live under it.
	pools map[route.PoolName]*loop
	wg    sync.WaitGroup
}

// NewRunner returns a Runner that has not started anything.
func NewRunner(cfg Config) *Runner {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Runner{cfg: cfg, seed: maphash.MakeSeed(), pools: make(map[route.PoolName]*loop)}
}

// Run probes until ctx ends and every probe has ended.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	for _, l := range r.pools {
		r.start(l)
	}
	r.mu.Unlock()
	<-ctx.Done()
	r.wg.Wait()
	return nil
}

// Update replaces the pools that are probed. Pools that stay keep their names;
// those that go are forgotten. It may be called before Run.
func (r *Runner) Update(pools []Pool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx != nil && r.ctx.Err() != nil {
		return
	}
	keep := make(map[route.PoolName]bool)
	for _, p := range pools {
		keep[p.Name] = true
		if l := r.pools[p.Name]; l != nil {
			l.update(p)
			continue
		}
		l := newLoop(&r.cfg, p)
		r.pools[p.Name] = l
		if r.ctx != nil {
			r.start(l)
		}
	}
	for name, l := range r.pools {
		if !keep[name] {
			if l.stop != nil {
				l.stop()
			}
			delete(r.pools, name)
		}
	}
}

// start runs a loop until Run's context or the loop's own ends.
func (r *Runner) start(l *loop) {
	ctx, stop := context.WithCancel(r.ctx)
	l.stop = stop
	r.wg.Go(func() { l.run(ctx) })
}

// WaitFirstRound waits until every server of every pool was probed once, or
// ctx ends.
func (r *Runner) WaitFirstRound(ctx context.Context) error {
	r.mu.Lock()
	loops := make([]*loop, 0, len(r.pools))
	for _, l := range r.pools {
		loops = append(loops, l)
	}
	r.mu.Unlock()
	for _, l := range loops {
		select {
		case <-l.firstRound:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Kick asks for a probe of a server out of turn: its health changed, or it
// declines sessions that should be its own.
func (r *Runner) Kick(pool route.PoolName, server route.ServerName) {
	r.send(pool, event{server: server})
}

// Accepted reports that a server accepted a session by this ticket, which no
// rule knows: the PSK identity that it selected, or a TLS 1.2 ticket. The
// ticket is copied.
func (r *Runner) Accepted(pool route.PoolName, server route.ServerName, ticket []byte) {
	if len(ticket) < probe.MinName {
		return
	}
	r.send(pool, event{server: server, accepted: witnessOf(r.seed, ticket)})
}

func (r *Runner) send(pool route.PoolName, e event) {
	r.mu.Lock()
	l := r.pools[pool]
	r.mu.Unlock()
	if l == nil {
		return
	}
	select {
	case l.events <- e:
	default: // see eventQueue
	}
}

// An event is a hint that something may have changed at a server.
type event struct {
	server   route.ServerName
	accepted *witness // nil: probe it
}

// A loop probes one pool. Everything below the channels is owned by run.
type loop struct {
	cfg        *Config
	stop       context.CancelFunc // guarded by Runner.mu; nil before start
	updates    chan Pool          // capacity 1: the latest wins
	events     chan event
	firstRound chan struct{}

	pool    Pool
	names   *Names
	results map[route.ServerName]*probe.Result
	watch   map[route.ServerName]*suspicion
	probed  map[route.ServerName]time.Time
	next    int                       // index of the server whose turn it is
	owed    map[route.ServerName]bool // kicked too soon after their last probe
	due     *time.Timer               // when they are probed
	told    bool
}

func newLoop(cfg *Config, p Pool) *loop {
	return &loop{
		cfg:     cfg,
		updates: make(chan Pool, 1), events: make(chan event, eventQueue), firstRound: make(chan struct{}),
		pool: p, names: NewNames(p.Lifetime),
		results: make(map[route.ServerName]*probe.Result),
		watch:   make(map[route.ServerName]*suspicion),
		probed:  make(map[route.ServerName]time.Time),
		owed:    make(map[route.ServerName]bool),
	}
}

func (l *loop) update(p Pool) {
	select {
	case <-l.updates: // nobody took the one before
	default:
	}
	l.updates <- p
}

// run is one select: turns, hints and changes of the configuration.
func (l *loop) run(ctx context.Context) {
	l.names.load(l.pool.Cache, l.cfg.Logger)
	l.round(ctx, l.pool.Servers)
	close(l.firstRound)
	timer := time.NewTimer(l.pause())
	defer timer.Stop()
	l.due = time.NewTimer(kickPause)
	l.due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-l.updates:
			l.configure(ctx, p)
			timer.Reset(l.pause())
		case e := <-l.events:
			l.heed(ctx, e)
		case <-l.due.C:
			l.round(ctx, slices.DeleteFunc(slices.Clone(l.pool.Servers), func(s *route.Server) bool {
				return !l.owed[s.Config.Name]
			}))
			clear(l.owed)
		case <-timer.C:
			// A server that is down is probed when it comes up again.
			if n := len(l.pool.Servers); n > 0 {
				l.next = (l.next + 1) % n
				if s := l.pool.Servers[l.next]; s.State.Up.Load() {
					l.round(ctx, []*route.Server{s})
				}
			}
			timer.Reset(l.pause())
		}
	}
}

// pause spreads the probes of a pool evenly over the interval, with jitter so
// that several balancers do not probe in step.
func (l *loop) pause() time.Duration {
	each := l.pool.Interval / time.Duration(max(1, len(l.pool.Servers)))
	return each*9/10 + rand.N(max(1, each/5))
}

// configure takes over a changed pool and probes what is new in it at once.
func (l *loop) configure(ctx context.Context, p Pool) {
	old := l.pool
	l.pool, l.next = p, 0
	l.names.lifetime = p.Lifetime
	var fresh []*route.Server
	for _, s := range p.Servers {
		same := func(o *route.Server) bool {
			return o.Config.Name == s.Config.Name && o.Config.Address == s.Config.Address
		}
		if old.SNI != p.SNI || !slices.ContainsFunc(old.Servers, same) {
			fresh = append(fresh, s)
		}
	}
	l.told = false // the table of the new configuration starts without names
	l.round(ctx, fresh)
}

// heed acts on a hint.
func (l *loop) heed(ctx context.Context, e event) {
	i := slices.IndexFunc(l.pool.Servers, func(s *route.Server) bool { return s.Config.Name == e.server })
	if i < 0 {
		return
	}
	if e.accepted != nil {
		if l.learn(e.server, e.accepted) {
			l.settle(ctx)
		}
		return
	}
	if wait := kickPause - time.Since(l.probed[e.server]); wait > 0 {
		if len(l.owed) == 0 {
			l.due.Reset(wait)
		}
		l.owed[e.server] = true
		return
	}
	l.round(ctx, l.pool.Servers[i:i+1])
}

// A finding is what a probe found, nil if the server did not answer.
type finding struct {
	server *route.Server
	result *probe.Result
}

// round probes the servers given and makes the names of what it finds. A
// server that does not answer keeps its names: it may be restarting.
func (l *loop) round(ctx context.Context, servers []*route.Server) {
	found := make(chan finding)
	var wg sync.WaitGroup
	wg.Go(func() {
		slots := make(chan struct{}, firstRoundProbes)
		for _, s := range servers {
			slots <- struct{}{}
			wg.Go(func() {
				r := l.probe(ctx, s)
				<-slots
				found <- finding{s, r}
			})
		}
	})
	defer wg.Wait()
	tick := time.NewTicker(settlePause)
	defer tick.Stop()
	news := !l.told
	for left := len(servers); left > 0; {
		select {
		case f := <-found:
			left--
			news = l.note(ctx, f) || news
		case <-tick.C:
			if news && ctx.Err() == nil {
				l.settle(ctx)
				news = false
			}
		}
	}
	known := func(name route.ServerName) bool {
		return slices.ContainsFunc(l.pool.Servers, func(s *route.Server) bool { return s.Config.Name == name })
	}
	news = l.names.Expire(time.Now(), known) || news
	if news && ctx.Err() == nil {
		l.settle(ctx)
	}
}

// note takes down a finding and reports whether it is news.
func (l *loop) note(ctx context.Context, f finding) (news bool) {
	name, now := f.server.Config.Name, time.Now()
	l.probed[name] = now
	if f.result == nil {
		return false
	}
	l.results[name] = f.result
	for _, prefix := range f.result.Names {
		news = l.names.Saw(name, prefix, FromProbe, now) || news
	}
	return l.retest(ctx, name) || news
}

// retest repeats what crossTest found for the names that the server shares
// with others: keys are mended, and taken apart. It reports whether the answer
// was another one.
func (l *loop) retest(ctx context.Context, server route.ServerName) (changed bool) {
	for _, c := range l.names.Claims() {
		for _, pair := range pairs(c) {
			if before, known := l.names.tested(c.Prefix, pair); known && slices.Contains(pair[:], server) {
				l.crossTest(ctx, c, pair)
				after, _ := l.names.tested(c.Prefix, pair)
				changed = changed || after != before
			}
		}
	}
	return changed
}

func (l *loop) probe(ctx context.Context, s *route.Server) *probe.Result {
	limited, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	r, err := probe.Run(limited, l.probeConfig(s))
	if l.cfg.OnResult != nil && ctx.Err() == nil {
		l.cfg.OnResult(s, r, err)
	}
	if err != nil {
		l.cfg.Logger.Debug("probing a server", "pool", l.pool.Name, "server", s.Config.Name, "error", err)
		return nil
	}
	return r
}

func (l *loop) probeConfig(s *route.Server) probe.Config {
	return probe.Config{
		SNI:         l.pool.SNI,
		Certificate: l.pool.Certificate,
		Dial:        func(ctx context.Context) (net.Conn, error) { return l.cfg.Dial(ctx, s) },
	}
}

// settle tests the names that several servers show, and tells the layout.
func (l *loop) settle(ctx context.Context) {
	for _, c := range l.names.Claims() {
		for _, pair := range l.names.Untested(c) {
			l.crossTest(ctx, c, pair)
		}
	}
	l.told = true
	l.names.save(l.pool.Cache, l.cfg.Logger)
	if l.cfg.OnChange != nil {
		l.cfg.OnChange(l.pool.Name, l.names.Layout())
	}
}

// crossTest offers a ticket of one server to the other. Without a ticket or
// an answer nothing is recorded, and the next round tries again.
func (l *loop) crossTest(ctx context.Context, c Claim, pair [2]route.ServerName) {
	for _, from := range pair {
		to := pair[0]
		if from == pair[0] {
			to = pair[1]
		}
		r := l.results[from]
		i := slices.IndexFunc(l.pool.Servers, func(s *route.Server) bool { return s.Config.Name == to })
		if r == nil || i < 0 {
			continue
		}
		for _, t := range r.Tickets() {
			if !hasPrefix(t.ID, c.Prefix) {
				continue
			}
			accepted, err := probe.Resume(ctx, l.probeConfig(l.pool.Servers[i]), t)
			if err == nil {
				l.names.Tested(c.Prefix, pair[0], pair[1], accepted)
				return
			}
			break // the server is away; perhaps the other direction works
		}
	}
}
