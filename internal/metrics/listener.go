package metrics

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

// A Listener is the metrics of one listener. It is safe for concurrent use.
type Listener struct {
	// Accepted counts connections.
	Accepted *Counter
	// Active is the number of connections in progress, and HelloBuffered the
	// memory, in bytes, that holds unfinished hellos. The data plane also
	// reads them, to hold its limits; a scrape shows what they are then.
	Active        *Gauge
	HelloBuffered atomic.Int64
	// BytesIn counts bytes from clients, BytesOut bytes to clients.
	BytesIn, BytesOut *Counter
	// HelloSeconds and HelloBytes observe each complete hello.
	HelloSeconds, HelloBytes *Histogram
	// AcceptErrors, Panics and LogDropped count what their names say.
	AcceptErrors, Panics, LogDropped prometheus.Counter

	// requestSeconds observes each HTTP request; nil before the first.
	requestSeconds atomic.Pointer[prometheus.Observer]

	set  *Set
	name route.ListenerName

	refused, requests, datagrams, datagramErrors lazy[prometheus.Counter]
	ended                                        lazy[*Counter]

	// Guarded by set.mu.
	pools map[route.PoolName]*Pool
	gone  bool
}

// Listener returns the metrics of the listener with that name: the same handle
// each time, until an Update without that listener.
func (s *Set) Listener(name route.ListenerName) *Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.listeners[name]; l != nil {
		return l
	}
	v, n := &s.vecs, string(name)
	l := &Listener{
		Accepted:     v.accepted.with(n),
		BytesIn:      v.bytes.with(n, "in"),
		BytesOut:     v.bytes.with(n, "out"),
		HelloSeconds: v.helloSeconds.with(n),
		HelloBytes:   v.helloBytes.with(n),
		AcceptErrors: v.acceptErrors.WithLabelValues(n),
		Panics:       v.panics.WithLabelValues(n),
		LogDropped:   v.logDropped.WithLabelValues(n),
		Active:       newGauge(),
		set:          s,
		name:         name,
		pools:        make(map[route.PoolName]*Pool),
	}
	s.listeners[name] = l
	return l
}

// Refused counts a connection that was not forwarded. cause must come from a
// list in the program, never from a client.
func (l *Listener) Refused(cause string) { l.RefusedN(cause, 1) }

// RefusedN counts n datagrams that were not forwarded, as Refused does.
func (l *Listener) RefusedN(cause string, n uint64) {
	l.refused.get(cause, func() prometheus.Counter { return l.resolve(l.set.vecs.refused, cause) }).Add(float64(n))
}

// Datagrams counts n datagrams that were forwarded. direction is "in" for those from
// clients and "out" for those to clients.
func (l *Listener) Datagrams(direction string, n uint64) {
	l.datagrams.get(direction, func() prometheus.Counter { return l.resolve(l.set.vecs.datagrams, direction) }).Add(float64(n))
}

// DatagramErrors counts n errors of sockets. direction is that
// of Datagrams; both it and what must come from a list in the program.
func (l *Listener) DatagramErrors(direction, what string, n uint64) {
	l.datagramErrors.get(direction+" "+what, func() prometheus.Counter {
		return l.resolve(l.set.vecs.datagramErrors, direction, what)
	}).Add(float64(n))
}

// Ended counts a connection that was forwarded and has ended. how must come
// from a list in the program.
func (l *Listener) Ended(s Stripe, how string) {
	l.ended.get(how, func() *Counter { return l.resolveEnded(how) }).Inc(s)
}

func (l *Listener) resolveEnded(how string) *Counter {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	if l.gone {
		return l.set.discardStriped
	}
	return l.set.vecs.ended.with(string(l.name), how)
}

// Requested counts an HTTP request that has ended, and how long it took. A
// status of 0 is a request without a response.
func (l *Listener) Requested(status int, took time.Duration) {
	class := statusClass(status)
	l.requests.get(class, func() prometheus.Counter { return l.resolve(l.set.vecs.requests, class) }).Inc()
	o := l.requestSeconds.Load()
	if o == nil {
		l.set.mu.Lock()
		observer := prometheus.Observer(l.set.ignore)
		if !l.gone {
			observer = l.set.vecs.requestSeconds.WithLabelValues(string(l.name))
		}
		l.set.mu.Unlock()
		o = &observer
		l.requestSeconds.Store(o)
	}
	(*o).Observe(took.Seconds())
}

// statusClass is the label of a status: servers choose it, so the label must
// not be the number.
func statusClass(status int) string {
	switch status / 100 {
	case 1:
		return "1xx"
	case 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	case 5:
		return "5xx"
	}
	return "none"
}

func (l *Listener) resolve(v *prometheus.CounterVec, labels ...string) prometheus.Counter {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	if l.gone {
		return l.set.discard
	}
	return v.WithLabelValues(append([]string{string(l.name)}, labels...)...)
}

// drop forgets the handle of a pool. The caller holds set.mu.
func (l *Listener) drop(pool route.PoolName) {
	if p := l.pools[pool]; p != nil {
		p.gone = true
		delete(l.pools, pool)
	}
}

// lazy holds the series of a label whose few values are known to the program,
// made when they are first needed: one that never counted anything is not
// shown.
type lazy[M any] struct {
	mu    sync.Mutex                    // of who adds one
	known atomic.Pointer[[]labelled[M]] // replaced whole
}

type labelled[M any] struct {
	label  string
	metric M
}

// get returns the series of a label. They are so few, and the labels mostly
// the very same strings, that to look at each is quicker than to hash.
func (l *lazy[M]) get(label string, resolve func() M) M {
	if m, ok := l.find(label); ok {
		return m
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if m, ok := l.find(label); ok {
		return m
	}
	m := resolve()
	all := append(slices.Clone(l.all()), labelled[M]{label, m})
	l.known.Store(&all)
	return m
}

func (l *lazy[M]) find(label string) (m M, ok bool) {
	for _, k := range l.all() {
		if k.label == label {
			return k.metric, true
		}
	}
	return m, false
}

func (l *lazy[M]) all() []labelled[M] {
	if p := l.known.Load(); p != nil {
		return *p
	}
	return nil
}

// numRoutedBy sizes tables that are indexed by route.RoutedBy.
const numRoutedBy = int(route.ByRefused) + 1

// A Pool is the metrics of what one listener sends to one pool. It is safe for
// concurrent use.
type Pool struct {
	listener *Listener
	pool     *poolHandle
	// decisions holds counters that were needed so far; the other
	// combinations of field and routed_by have no series.
	decisions [idspace.NumFields][numRoutedBy]atomic.Pointer[Counter]

	gone bool // guarded by Set.mu
}

// Pool returns the metrics of what l sends to p. They are for p and for later
// pools of the same name; a server is told by its index in p, so ask again
// after a reload.
func (l *Listener) Pool(p *route.Pool) *Pool {
	l.set.mu.Lock()
	defer l.set.mu.Unlock()
	name := p.Config.Name
	if h := l.pools[name]; h != nil {
		return h
	}
	h := &Pool{listener: l, pool: l.set.pool(name), gone: l.gone}
	if len(h.pool.servers) == 0 {
		h.pool.update(p) // used without Update, as tests do
	}
	l.pools[name] = h
	return h
}

// Decided counts one decision.
func (p *Pool) Decided(s Stripe, field idspace.Field, by route.RoutedBy) { p.DecidedN(s, field, by, 1) }

// DecidedN counts n decisions of one kind.
func (p *Pool) DecidedN(s Stripe, field idspace.Field, by route.RoutedBy, n uint64) {
	slot := &p.decisions[field][by]
	c := slot.Load()
	if c == nil {
		c = p.resolveDecision(field, by)
		slot.Store(c)
	}
	c.Add(s, n)
}

func (p *Pool) resolveDecision(field idspace.Field, by route.RoutedBy) *Counter {
	set := p.listener.set
	set.mu.Lock()
	defer set.mu.Unlock()
	if p.gone || p.listener.gone || p.pool.gone {
		return set.discardStriped
	}
	return set.vecs.decisions.with(string(p.listener.name), string(p.pool.name), field.String(), by.String())
}

// Skipped counts n IDs that were not looked up.
func (p *Pool) Skipped(field idspace.Field, n int) { p.pool.skip(field, n) }

// Resumed counts whether the server accepted the session that chose it.
func (p *Pool) Resumed(s *route.Server, by route.RoutedBy, accepted bool) {
	if h := p.listener.set.server(s); h != nil {
		h.resumed(by, accepted)
	}
}
