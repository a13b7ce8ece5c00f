package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

// A poolHandle is the metrics of a pool, whichever listeners use it. It lives
// as long as a pool of that name.
type poolHandle struct {
	set     *Set
	name    route.PoolName
	skipped [idspace.NumFields]atomic.Pointer[prometheus.Counter]

	// Guarded by set.mu.
	servers []*serverHandle // by route.Server.Index
	gone    bool
}

// pool returns the handle of a pool. The caller holds mu.
func (s *Set) pool(name route.PoolName) *poolHandle {
	h := s.pools[name]
	if h == nil {
		h = &poolHandle{set: s, name: name}
		s.pools[name] = h
	}
	return h
}

// update gives h the servers of p; those that stay keep their handle. The
// caller holds set.mu.
func (h *poolHandle) update(p *route.Pool) {
	before := make(map[route.ServerName]*serverHandle, len(h.servers))
	for _, s := range h.servers {
		before[s.name] = s
	}
	h.servers = make([]*serverHandle, len(p.Servers))
	for i, s := range p.Servers {
		sh := before[s.Config.Name]
		if sh == nil {
			sh = newServerHandle(h.set, h.name, s.Config.Name)
		}
		h.servers[i] = sh
	}
}

func (h *poolHandle) skip(field idspace.Field, n int) {
	slot := &h.skipped[field]
	c := slot.Load()
	if c == nil {
		c = h.resolveSkipped(field)
		slot.Store(c)
	}
	(*c).Add(float64(n))
}

func (h *poolHandle) resolveSkipped(field idspace.Field) *prometheus.Counter {
	h.set.mu.Lock()
	defer h.set.mu.Unlock()
	c := h.set.discard
	if !h.gone {
		c = h.set.vecs.idsSkipped.WithLabelValues(string(h.name), field.String())
	}
	return &c
}

// A serverHandle is the metrics of a server. It lives as long as the pool has
// a server of that name.
type serverHandle struct {
	set            *Set
	pool           route.PoolName
	name           route.ServerName
	connectErrors  prometheus.Counter
	connectSeconds *Histogram
	resumptions    [numRoutedBy][2]atomic.Pointer[prometheus.Counter] // [1] accepted

	gone bool // guarded by set.mu
}

func newServerHandle(s *Set, pool route.PoolName, server route.ServerName) *serverHandle {
	return &serverHandle{
		set:            s,
		pool:           pool,
		name:           server,
		connectErrors:  s.vecs.connectErrors.WithLabelValues(string(pool), string(server)),
		connectSeconds: s.vecs.connectSeconds.with(string(pool), string(server)),
	}
}

// server finds the handle of s, nil if the configuration no longer has it.
func (s *Set) server(srv *route.Server) *serverHandle { return (*s.servers.Load())[srv.State] }

func (h *serverHandle) resumed(by route.RoutedBy, accepted bool) {
	i, result := 0, "declined"
	if accepted {
		i, result = 1, "accepted"
	}
	slot := &h.resumptions[by][i]
	c := slot.Load()
	if c == nil {
		c = h.resolveResumed(by, result)
		slot.Store(c)
	}
	(*c).Inc()
}

func (h *serverHandle) resolveResumed(by route.RoutedBy, result string) *prometheus.Counter {
	h.set.mu.Lock()
	defer h.set.mu.Unlock()
	c := h.set.discard
	if !h.gone {
		c = h.set.vecs.resumptions.WithLabelValues(string(h.pool), string(h.name), by.String(), result)
	}
	return &c
}

// ServerDialed counts the result of connecting to a server. It has the shape
// of backend.Config.OnDial; the number of the loop is its Stripe.
func (s *Set) ServerDialed(srv *route.Server, loop int, took time.Duration, err error) {
	h := s.server(srv)
	if h == nil {
		return
	}
	if err != nil {
		h.connectErrors.Inc()
		return
	}
	h.connectSeconds.Observe(Stripe(loop), took.Seconds())
}

// ServerChanged counts a change of a server's health. It has the shape of
// backend.Config.OnChange; the reason is for the log.
func (s *Set) ServerChanged(srv *route.Server, up bool, _ string) {
	to := "down"
	if up {
		to = "up"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.server(srv); h != nil && !h.gone {
		s.vecs.transitions.WithLabelValues(string(h.pool), string(h.name), to).Inc()
	}
}

// ForeignMint counts an ID that a server assigned outside its space.
func (s *Set) ForeignMint(srv *route.Server, field idspace.Field) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.server(srv); h != nil && !h.gone {
		s.vecs.foreignMints.WithLabelValues(string(h.pool), string(h.name), field.String()).Inc()
	}
}
