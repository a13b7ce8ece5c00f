package l4

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
)

// A Proxy serves one listener of the configuration (which may have several
// sockets). Its methods are safe for concurrent use.
type Proxy struct {
	// Immutable after New.
	log    *slog.Logger
	dialer Dialer
	// connector is the dialer, if it can be used without waiting.
	connector Connector
	set       *metrics.Set
	metrics   *metrics.Listener
	budget    budget
	panics    bool    // let them through
	epoch     [8]byte // the first half of every connection's ID

	// What connections use for a moment and then give to the next.
	buffers   buffers
	openings  openings
	observers sync.Pool // *tlshello.Observer
	pipes     pipePool

	settings atomic.Pointer[settings]
	serial   atomic.Uint64 // the second half

	// accepting ends when Drain begins. Contexts are kept here because they
	// are the Proxy's own life, not a caller's.
	accepting     context.Context
	stopAccepting context.CancelFunc
	// running ends when Drain cuts what is left: dials stop.
	running context.Context
	cut     context.CancelFunc

	conns registry
	loops *loops // the Linux engine; nil: the portable one
}

// New returns a Proxy that has not started anything.
func New(cfg Config, s *Settings) *Proxy {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = metrics.New("")
	}
	if cfg.HelloBudget == 0 {
		cfg.HelloBudget = DefaultHelloBudget
	}
	m := cfg.Metrics.Listener(s.Listener.Name)
	p := &Proxy{
		log:     cfg.Logger.With("listener", string(s.Listener.Name)),
		dialer:  cfg.Dialer,
		set:     cfg.Metrics,
		metrics: m,
		budget:  budget{limit: cfg.HelloBudget, used: &m.HelloBuffered},
		panics:  cfg.PropagatePanics,
	}
	_, _ = rand.Read(p.epoch[:]) // never fails, by its documentation
	p.accepting, p.stopAccepting = context.WithCancel(context.Background())
	p.running, p.cut = context.WithCancel(context.Background())
	p.connector, _ = cfg.Dialer.(Connector)
	p.loops = newLoops(p, cfg.Loops)
	p.Update(s)
	return p
}

// Update swaps the settings. Connections in progress keep those that they
// were accepted under, except that their log line goes to the new access log.
func (p *Proxy) Update(s *Settings) {
	p.settings.Store(newSettings(s, p.metrics))
	p.loops.updated()
}

// settings are Settings made ready for use: defaults filled in, and a handle
// of metrics for each pool.
type settings struct {
	Settings
	pools map[*route.Pool]poolSettings
	json  bool // the access log wants JSON
}

type poolSettings struct {
	metrics *metrics.Pool
	watched bool // by the witness
}

func newSettings(from *Settings, m *metrics.Listener) *settings {
	s := &settings{
		Settings: *from,
		pools:    make(map[*route.Pool]poolSettings),
	}
	if s.HelloTimeout <= 0 {
		s.HelloTimeout = DefaultHelloTimeout
	}
	if s.ConnectTimeout <= 0 {
		s.ConnectTimeout = DefaultConnectTimeout
	}
	if w, ok := s.AccessLog.(interface{ JSON() bool }); ok {
		s.json = w.JSON()
	}
	add := func(p *route.Pool) {
		s.pools[p] = poolSettings{m.Pool(p), s.Witness != nil && s.Witness.Watches(p)}
	}
	if p := s.Listener.Pool; p != nil {
		add(p)
	}
	for i := range s.Listener.Routes {
		add(s.Listener.Routes[i].Pool)
	}
	return s
}

// trusts reports whether the PROXY header of a peer is believed.
func (s *settings) trusts(peer netip.Addr) bool {
	for _, p := range s.AcceptFrom {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// Drain stops accepting, waits until every connection has ended or ctx ends,
// then cuts what is left and returns how many that were. When it returns, no
// goroutine and no descriptor of the Proxy is left. The Proxy cannot serve
// again.
func (p *Proxy) Drain(ctx context.Context) (cut int) {
	p.stopAccepting()
	if p.loops != nil {
		defer p.pipes.close()
		defer p.cut()
		return p.loops.drain(ctx)
	}
	ended := p.conns.drain()
	select {
	case <-ended:
	case <-ctx.Done():
		p.cut()
		cut = p.conns.each(func(c *conn) { c.abort(endShutdown) })
		<-ended
	}
	p.cut()
	p.pipes.close()
	return cut
}

// A registry knows the connections in progress, so that they can be waited
// for and cut. It is a list through the connections themselves: entering and
// leaving costs a lock and four pointers.
type registry struct {
	mu       sync.Mutex
	first    *conn
	n        int
	draining chan struct{} // not nil once draining; closed when n has come to 0
}

// enter adds c, and returns false when it came too late: a drain has ended.
func (r *registry) enter(c *conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining != nil && r.n == 0 {
		return false
	}
	c.next = r.first
	if r.first != nil {
		r.first.prev = c
	}
	r.first = c
	r.n++
	return true
}

func (r *registry) leave(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		r.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
	r.n--
	if r.n == 0 && r.draining != nil {
		close(r.draining)
	}
}

// drain returns a channel that is closed when there is no connection left.
func (r *registry) drain() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining == nil {
		r.draining = make(chan struct{})
		if r.n == 0 {
			close(r.draining)
		}
	}
	return r.draining
}

// each calls f for every connection and returns how many there were. f must
// not enter or leave.
func (r *registry) each(f func(*conn)) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := r.first; c != nil; c = c.next {
		f(c)
	}
	return r.n
}
