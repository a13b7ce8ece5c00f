// Package metrics holds every metric that Mintmark exposes, so that names and
// labels stand in one place.
//
// A Set owns its registry. Data planes ask it once for handles (Listener,
// Pool) and count through them: a connection costs a few atomic additions, no
// map is hashed and nothing is allocated. What every connection counts is
// striped, so that loops do not wait for each other (Stripe). What can be read off the
// live state of the servers (server_up, server_connections, ...) is read at
// the scrape and costs connections nothing.
//
// Every label value comes from the configuration file or from a list in this
// program, never from a client: the number of series is bounded by the
// configuration. Update deletes the series of listeners, pools and servers
// that the configuration no longer has; a handle that outlives them, because a
// connection does, counts into the void.
package metrics

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/mintmark/mintmark/internal/route"
)

const namespace = "mintmark"

// A Set is the metrics of one balancer. It is safe for concurrent use.
type Set struct {
	// Immutable after New.
	registry *prometheus.Registry
	vecs     vectors
	// What counts for series that are gone.
	discard        prometheus.Counter
	discardStriped *Counter
	ignore         prometheus.Histogram

	reloadOK   prometheus.Gauge
	reloadTime prometheus.Gauge

	// servers finds the handle of a server by its live state, which survives
	// reloads. Replaced whole by Update.
	servers atomic.Pointer[map[*route.State]*serverHandle]
	// state is what a scrape reads live values from.
	state atomic.Pointer[liveState]

	// mu serialises Update with the making of handles and series.
	mu        sync.Mutex
	listeners map[route.ListenerName]*Listener
	pools     map[route.PoolName]*poolHandle
}

// New returns a Set with a registry of its own. version is what build_info
// says.
func New(version string) *Set {
	s := &Set{
		registry:       prometheus.NewRegistry(),
		vecs:           newVectors(),
		discard:        prometheus.NewCounter(prometheus.CounterOpts{Name: "discarded"}),
		ignore:         prometheus.NewHistogram(prometheus.HistogramOpts{Name: "ignored"}),
		discardStriped: newCounter(series{}),
		listeners:      make(map[route.ListenerName]*Listener),
		pools:          make(map[route.PoolName]*poolHandle),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "config_last_reload_successful",
			Help: "1 if the configuration file was accepted when it was last read, 0 if an older one is in force.",
		}),
		reloadTime: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in force was read, in seconds since 1970.",
		}),
	}
	s.servers.Store(&map[*route.State]*serverHandle{})
	s.state.Store(&liveState{})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info",
		Help:        "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	build.Set(1)
	s.registry.MustRegister(build, s.reloadOK, s.reloadTime, newLiveCollector(s),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.registry.MustRegister(s.vecs.all()...)
	s.ConfigReloaded(true)
	return s
}

// Registry returns the registry to scrape.
func (s *Set) Registry() *prometheus.Registry { return s.registry }

// ConfigReloaded records how the last attempt to read the configuration went.
func (s *Set) ConfigReloaded(ok bool) {
	if !ok {
		s.reloadOK.Set(0)
		return
	}
	s.reloadOK.Set(1)
	// Not whole seconds: whoever waits for a reload waits for another value, and
	// a program reloads twice within a second.
	s.reloadTime.SetToCurrentTime()
}

// SetGeneration records the generation of a pool's spaces that somebody
// holds: role is "balancer", "server" or "control", name is whose it is.
func (s *Set) SetGeneration(pool route.PoolName, role, name string, generation uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pools[pool] == nil {
		return // removed meanwhile: its series stay deleted
	}
	s.vecs.generation.WithLabelValues(string(pool), role, name).Set(float64(generation))
}

// Update makes snap the configuration that the metrics describe: it deletes
// the series of what snap does not have, and scrapes show snap's servers. Call
// it before the data planes see snap.
func (s *Set) Update(snap *route.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropPools(snap)
	s.dropListeners(snap)
	servers := make(map[*route.State]*serverHandle)
	for _, p := range snap.Pools {
		h := s.pool(p.Config.Name)
		h.update(p)
		for i, srv := range p.Servers {
			servers[srv.State] = h.servers[i]
		}
	}
	s.servers.Store(&servers)
	s.state.Store(newLiveState(snap))
}

// dropPools deletes the series of pools and servers that snap does not have.
// The caller holds mu.
func (s *Set) dropPools(snap *route.Snapshot) {
	for name, h := range s.pools {
		p := snap.Pools[name]
		if p == nil {
			h.gone = true
			s.vecs.deletePool(name)
			delete(s.pools, name)
			for _, l := range s.listeners {
				l.drop(name)
			}
			continue
		}
		stay := make(map[route.ServerName]bool, len(p.Servers))
		for _, srv := range p.Servers {
			stay[srv.Config.Name] = true
		}
		for _, srv := range h.servers {
			if !stay[srv.name] {
				srv.gone = true
				s.vecs.deleteServer(name, srv.name)
			}
		}
	}
}

// dropListeners deletes the series of listeners that snap does not have, and
// of pools that a listener no longer sends to. The caller holds mu.
func (s *Set) dropListeners(snap *route.Snapshot) {
	for name, l := range s.listeners {
		rl := snap.Listeners[name]
		if rl == nil {
			l.gone = true
			s.vecs.deleteListener(name)
			delete(s.listeners, name)
			continue
		}
		for pool := range l.pools {
			if !reaches(rl, pool) {
				l.drop(pool)
				s.vecs.deleteListenerPool(name, pool)
			}
		}
	}
}

// reaches reports whether l can send to the pool.
func reaches(l *route.Listener, pool route.PoolName) bool {
	if l.Pool != nil && l.Pool.Config.Name == pool {
		return true
	}
	for i := range l.Routes {
		if l.Routes[i].Pool.Config.Name == pool {
			return true
		}
	}
	for i := range l.HTTPRoutes {
		if l.HTTPRoutes[i].Pool.Config.Name == pool {
			return true
		}
	}
	return false
}
