package backend

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// Defaults of what a HealthConfig leaves zero, and bounds of a schedule.
const (
	defaultInterval = 5 * time.Second
	defaultTimeout  = 3 * time.Second
	defaultRise     = 2
	defaultFall     = 3
	// firstRetry is how soon a server that has gone down is asked again. The
	// distance doubles at each failure, up to the interval.
	firstRetry = 200 * time.Millisecond
	// retryInterval is the interval for servers without checks.
	retryInterval = 30 * time.Second
	// jitter is by how much an interval may be longer or shorter, so that
	// replicas that started together do not ask together for ever.
	jitter = 0.1
)

// Keys of log attributes.
const (
	keyPool      = "pool"
	keyServer    = "server"
	keyAddress   = "address"
	keyAddresses = "addresses"
	keyReason    = "reason"
)

// A target is what loops need to know of a server. It is a copy, because a
// *route.Server would keep its whole snapshot in memory for as long as a loop
// runs, and comparable, so that Update sees what has changed.
type target struct {
	pool    route.PoolName
	name    route.ServerName
	address route.Address
	health  route.HealthConfig
	proxy   route.ProxyVersion
	// upstream is how checks of type http speak.
	upstream route.UpstreamConfig
}

func targetOf(s *route.Server) target {
	t := target{
		pool:    s.Pool.Config.Name,
		name:    s.Config.Name,
		address: s.Config.Address,
		health:  s.Pool.Config.Health,
		proxy:   s.Pool.Config.ProxyProtocol,
	}
	if t.health.Type == route.HealthHTTP {
		t.upstream = s.Pool.Config.Upstream
	}
	h := &t.health
	h.Interval, h.Timeout = or(h.Interval, defaultInterval), or(h.Timeout, defaultTimeout)
	h.Rise, h.Fall = or(h.Rise, defaultRise), or(h.Fall, defaultFall)
	if h.Type == route.HealthNone {
		// How servers that are down are asked.
		h.Interval, h.Rise = retryInterval, 1
	}
	return t
}

// or returns v, or instead if v is not positive.
func or[T ~int | ~int64](v, instead T) T {
	if v > 0 {
		return v
	}
	return instead
}

// A watch keeps the state of one server for as long as it is configured.
type watch struct {
	// Immutable.
	m     *Monitor
	state *route.State
	asked chan struct{} // closed when the server has been asked once, or has gone
	wake  chan struct{} // capacity 1: the schedule has changed, which one element says

	failed    atomic.Int32               // clients' connects that failed in a row
	preferred atomic.Pointer[netip.Addr] // the address that last worked

	// mu guards everything below, and makes changes of the state happen one
	// after the other. Loops are cancelled under it: what they find out after
	// that is not taken.
	mu        sync.Mutex
	server    *route.Server // the newest one, for OnChange
	target    target
	tally     tally
	since     time.Time
	history   []Transition
	checkedAt time.Time // when the last check began; zero: check at once
	lastCheck time.Time // the same for people
	lastError string
	backoff   time.Duration // distance to the next check of a server that is down; firstRetry while it is up
	stretch   float64       // what the next interval is multiplied by: 1, give or take jitter

	resolveError error         // of the last lookup
	resolved     chan struct{} // closed after the first lookup; nil while no loop resolves

	stopChecks  context.CancelFunc // nil while no loop checks
	stopResolve context.CancelFunc // nil while no loop resolves
}

func newWatch(m *Monitor, s *route.Server) *watch {
	return &watch{
		m:       m,
		state:   s.State,
		asked:   make(chan struct{}),
		wake:    make(chan struct{}, 1),
		server:  s,
		target:  targetOf(s),
		tally:   tally{up: s.State.Up.Load()},
		since:   time.Now(),
		backoff: firstRetry,
		stretch: 1,
	}
}

// start starts the loops, which run until stop or the end of ctx, that of Run.
// The caller holds m.mu.
func (w *watch) start(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.startResolve(ctx)
	w.startChecks(ctx)
}

func (w *watch) startChecks(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	w.stopChecks = cancel
	t := w.target
	w.m.wg.Go(func() { w.checkLoop(ctx, t) })
}

// stop ends the loops, without waiting for them. The caller holds m.mu.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	if w.stopChecks != nil {
		w.stopChecks()
		w.stopChecks = nil
	}
	w.endResolve()
}

// update puts a new configuration of the server into effect. The caller holds
// m.mu.
func (w *watch) update(s *route.Server) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, after := w.target, targetOf(s)
	w.server, w.target = s, after
	if before == after {
		return
	}
	started := w.stopChecks != nil
	if before.address != after.address {
		// Another machine, for all we know: its first check decides, and what
		// the last one did to connects is forgotten.
		w.tally.settled = false
		w.failed.Store(0)
		if before.address.Host != after.address.Host || before.address.Network != after.address.Network {
			w.endResolve()
			w.state.Addrs.Store(nil)
			if started {
				w.startResolve(w.m.ctx)
			}
		}
	}
	if before.address != after.address || before.health.Type != after.health.Type ||
		before.health.SNI != after.health.SNI || before.health.Path != after.health.Path || before.health.Host != after.health.Host ||
		before.proxy != after.proxy {
		w.checkedAt = time.Time{}
	}
	if started {
		w.stopChecks()
		w.startChecks(w.m.ctx)
	}
}

// settle says that the server has been asked. The caller holds mu.
func (w *watch) settle() {
	select {
	case <-w.asked:
	default:
		close(w.asked)
	}
}

// due returns when the next check is due, and false if none is until the
// server goes down.
func (w *watch) due(t target) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.health.Type == route.HealthNone && w.tally.up {
		w.settle()
		return time.Time{}, false
	}
	if w.checkedAt.IsZero() {
		return time.Now(), true
	}
	after := time.Duration(float64(t.health.Interval) * w.stretch)
	if !w.tally.up {
		after = min(after, w.backoff)
	}
	return w.checkedAt.Add(after), true
}

// checkLoop checks when a check is due.
func (w *watch) checkLoop(ctx context.Context, t target) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var fires <-chan time.Time
		if due, ok := w.due(t); ok {
			timer.Reset(time.Until(due))
			fires = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-fires:
			w.check(ctx, t)
		}
	}
}

// check asks the server once.
func (w *watch) check(ctx context.Context, t target) {
	select {
	case w.m.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-w.m.slots }()
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, t.health.Timeout)
	defer cancel()
	err := w.probe(limited, t)
	w.checked(ctx, t, began, err)
}

// checked counts the result of a check.
func (w *watch) checked(ctx context.Context, t target, began time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	before := w.lastError
	w.checkedAt, w.lastCheck, w.lastError = began, began, ""
	w.stretch = 1 + jitter*(2*rand.Float64()-1)
	if err != nil {
		w.lastError = err.Error()
	}
	defer w.settle()
	if isLocal(err) {
		if w.lastError != before {
			w.m.log.Warn("health check could not be made", w.about(t, slog.String(keyReason, w.lastError))...)
		}
		return
	}
	if err == nil {
		// Also while it still has to rise: the next check should come soon.
		w.backoff = firstRetry
	} else if !w.tally.up {
		w.backoff = min(2*w.backoff, t.health.Interval)
	}
	changed := w.tally.count(err == nil, t.health.Rise, t.health.Fall)
	if !changed {
		return
	}
	if err != nil {
		w.transition("health check failed: " + w.lastError)
		return
	}
	w.failed.Store(0)
	w.transition("health check succeeded")
}

// connected takes the result of a client's connect to address into account.
func (w *watch) connected(address route.Address, err error) {
	if err == nil {
		if w.failed.Load() != 0 {
			w.failed.Store(0)
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.target.address != address {
		return // it has changed while the connect was on its way
	}
	n := int(w.failed.Add(1))
	if !w.tally.up || n < w.target.health.Fall {
		return
	}
	w.tally.set(false)
	w.checkedAt = time.Now()
	w.transition(fmt.Sprintf("%d connects in a row failed: %v", n, err))
	w.nudge()
}

// nudge makes the check loop look at its schedule again.
func (w *watch) nudge() {
	select {
	case w.wake <- struct{}{}:
	default: // it will already
	}
}

// transition publishes the state in tally, which has changed. The caller
// holds mu.
func (w *watch) transition(reason string) {
	up := w.tally.up
	w.state.Up.Store(up)
	w.since = time.Now()
	w.history = remember(w.history, Transition{At: w.since, Up: up, Reason: reason})
	attrs := w.about(w.target, slog.String(keyReason, reason))
	if up {
		w.m.log.Info("server is up", attrs...)
	} else {
		w.m.log.Warn("server is down", attrs...)
	}
	if w.m.cfg.OnChange != nil {
		w.m.cfg.OnChange(w.server, up, reason)
	}
}

// about returns log attributes that name the server, and more.
func (w *watch) about(t target, more ...any) []any {
	return append([]any{
		slog.String(keyPool, string(t.pool)),
		slog.String(keyServer, string(t.name)),
		slog.String(keyAddress, t.address.String()),
	}, more...)
}

func (w *watch) status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Status{
		Up:             w.tally.up,
		Since:          w.since,
		LastCheck:      w.lastCheck,
		LastError:      w.lastError,
		FailedConnects: int(w.failed.Load()),
		History:        slices.Clone(w.history),
	}
	if w.resolveError != nil {
		s.ResolveError = w.resolveError.Error()
	}
	s.Addresses = known(w.state)
	return s
}
