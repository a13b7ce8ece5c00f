package metrics

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/route"
)

// liveState is what a scrape needs to read values off the servers of the
// snapshot in force. It is immutable.
type liveState struct {
	servers []*route.Server
	shares  []ownerShare
}

type ownerShare struct {
	pool  route.PoolName
	owner string
	share float64
}

func newLiveState(snap *route.Snapshot) *liveState {
	st := &liveState{}
	for _, p := range snap.Pools {
		st.servers = append(st.servers, p.Servers...)
		st.shares = append(st.shares, sharesOf(p)...)
	}
	return st
}

// liveCollector shows what the servers' state, the listeners and the tables
// say at the moment of the scrape. What is removed from the configuration is
// gone from the next scrape by itself.
type liveCollector struct {
	set                                          *Set
	up, draining, conns, share, active, buffered *prometheus.Desc
}

func newLiveCollector(s *Set) *liveCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
	}
	return &liveCollector{
		set:      s,
		up:       desc("server_up", "1 if the server takes connections as far as health checks know.", "pool", "server"),
		draining: desc("server_draining", "1 if the server gets no new sessions.", "pool", "server"),
		conns:    desc("server_connections", "Connections to the server in progress.", "pool", "server"),
		share:    desc("assigned_share", "Share of all values of an ID that belongs to the owner, 0 to 1.", "pool", "owner"),
		active:   desc("connections_active", "Connections in progress.", "listener"),
		buffered: desc("hello_buffer_bytes", "Memory that holds the beginnings of connections that are not forwarded yet.", "listener"),
	}
}

// Describe implements prometheus.Collector.
func (c *liveCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.draining, c.conns, c.share, c.active, c.buffered} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *liveCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	st := c.set.state.Load()
	for _, s := range st.servers {
		pool, name := string(s.Pool.Config.Name), string(s.Config.Name)
		_, draining := s.DrainingSince()
		gauge(c.up, asNumber(s.State.Up.Load()), pool, name)
		gauge(c.draining, asNumber(draining), pool, name)
		gauge(c.conns, float64(s.State.Conns.Load()), pool, name)
	}
	for _, o := range st.shares {
		gauge(c.share, o.share, string(o.pool), o.owner)
	}
	for _, l := range c.set.allListeners() {
		gauge(c.active, float64(l.Active.Load()), string(l.name))
		gauge(c.buffered, float64(l.HelloBuffered.Load()), string(l.name))
	}
}

// allListeners returns the listeners that have a handle.
func (s *Set) allListeners() []*Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.listeners))
}

func asNumber(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
