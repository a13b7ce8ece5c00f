package metrics

import (
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

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

// liveCollector shows what the servers' state and the tables say at the
// moment of the scrape. What is removed from the configuration is gone from
// the next scrape by itself.
type liveCollector struct{ set *Set }

// liveDescs are the metrics that liveCollector makes.
func liveDescs() (up, draining, conns, share *prometheus.Desc) {
	return describe("server_up", "1 if the server takes connections as far as health checks know.", "pool", "server"),
		describe("server_draining", "1 if the server gets no new sessions.", "pool", "server"),
		describe("server_connections", "Connections to the server in progress.", "pool", "server"),
		describe("assigned_share", "Share of all values of an ID that belongs to the owner, 0 to 1.", "pool", "owner")
}

// Describe implements prometheus.Collector.
func (c liveCollector) Describe(ch chan<- *prometheus.Desc) {
	up, draining, conns, share := liveDescs()
	ch <- up
	ch <- draining
	ch <- conns
	ch <- share
}

// Collect implements prometheus.Collector.
func (c liveCollector) Collect(ch chan<- prometheus.Metric) {
	up, draining, conns, share := liveDescs()
	st := c.set.state.Load()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, s := range st.servers {
		pool, name := string(s.Pool.Config.Name), string(s.Config.Name)
		gauge(up, asNumber(s.State.Up.Load()), pool, name)
		gauge(draining, asNumber(s.Config.Draining), pool, name)
		gauge(conns, float64(s.State.Conns.Load()), pool, name)
	}
	for _, o := range st.shares {
		gauge(share, o.share, string(o.pool), o.owner)
	}
}

func asNumber(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
