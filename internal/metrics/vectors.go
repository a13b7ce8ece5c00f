package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/route"
)

// vectors are the metrics with labels. Their names and labels are what
// dashboards and alerts of operators are built on: add, do not rename.
type vectors struct {
	// by listener
	accepted, ended, bytes                              stripedVec[*Counter]
	refused, acceptErrors, panics, logDropped, requests *prometheus.CounterVec
	datagrams, datagramErrors                           *prometheus.CounterVec
	helloSeconds, helloBytes                            stripedVec[*Histogram]
	requestSeconds                                      *prometheus.HistogramVec
	// by listener and pool
	decisions stripedVec[*Counter]
	// by pool
	idsSkipped *prometheus.CounterVec
	generation *prometheus.GaugeVec
	// by pool and server
	resumptions, foreignMints, connectErrors, transitions *prometheus.CounterVec
	connectSeconds                                        stripedVec[*Histogram]
}

func newVectors() vectors {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		}, labels)
	}
	// What every connection counts.
	striped := func(name, help string, labels ...string) stripedVec[*Counter] {
		return newStripedVec(name, help, labels, newCounter)
	}
	stripedHistogram := func(name, help string, buckets []float64, labels ...string) stripedVec[*Histogram] {
		return newStripedVec(name, help, labels, func(s series) *Histogram { return newHistogram(s, buckets) })
	}
	return vectors{
		accepted: striped("connections_total", "Connections accepted.", "listener"),
		ended: striped("connections_ended_total",
			"Connections that were forwarded and have ended, by how: done, client_reset, server_reset, idle_timeout, shutdown, panic; of flows of datagrams: idle, closed.",
			"listener", "end"),
		bytes: striped("bytes_total",
			"Bytes forwarded: in is from clients to servers, out the other way. A running connection is counted a mebibyte at a time.",
			"listener", "direction"),
		datagrams: counter("datagrams_total",
			"Datagrams forwarded: in is from clients to servers, out the other way.", "listener", "direction"),
		datagramErrors: counter("datagram_errors_total",
			"Errors of sockets for datagrams, by direction and error: refused and unreachable are ICMP errors, too_big, no_buffers and other are datagrams that were dropped.",
			"listener", "direction", "error"),
		refused:      counter("refused_total", "Connections and messages that were not forwarded, by cause.", "listener", "cause"),
		acceptErrors: counter("accept_errors_total", "Errors of accept, for example for want of file descriptors.", "listener"),
		panics:       counter("panics_total", "Connections that were closed because of a fault in the program. Each is logged with its stack.", "listener"),
		logDropped:   counter("access_log_dropped_total", "Access log lines that were dropped because the disk did not keep up.", "listener"),
		helloSeconds: stripedHistogram("hello_duration_seconds", "Time from accept to the end of the hello.",
			[]float64{.0001, .0005, .001, .005, .01, .05, .1, .25, .5, 1, 2.5, 5}, "listener"),
		requests: counter("http_requests_total", "HTTP requests that have ended, by the class of their status: 1xx to 5xx, and none without a response.",
			"listener", "status"),
		requestSeconds: histogram("http_request_duration_seconds", "Time from the header of an HTTP request to the end of its response.",
			[]float64{.001, .005, .01, .05, .1, .5, 1, 5, 30, 300}, "listener"),
		helloBytes: stripedHistogram("hello_bytes", "Size of the hello, record headers included.",
			[]float64{256, 512, 1024, 1460, 2048, 4096, 8192, 16384, 65536}, "listener"),

		decisions: striped("decisions_total",
			"Routing decisions: field is where the ID stood (none without one), routed_by is mint, group, learned, balance or refused.",
			"listener", "pool", "field", "routed_by"),

		idsSkipped: counter("ids_skipped_total", "IDs that were not looked up: too many in one message, or random by the pool's rule.",
			"pool", "field"),
		generation: gauge("generation", "The generation of a pool's spaces that a balancer or server holds.", "pool", "role", "name"),

		resumptions: counter("resumptions_total", "TLS sessions that clients offered and the server accepted or declined, for IDs that chose the server.",
			"pool", "server", "routed_by", "result"),
		foreignMints: counter("foreign_mints_total", "IDs that a server assigned outside its own space and its group's.",
			"pool", "server", "field"),
		connectErrors: counter("connect_errors_total", "Connections to a server that could not be made.", "pool", "server"),
		transitions:   counter("server_transitions_total", "Changes of a server's health, by what it became: up or down.", "pool", "server", "to"),
		connectSeconds: stripedHistogram("connect_duration_seconds", "Time to connect to a server.",
			[]float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5}, "pool", "server"),
	}
}

func (v *vectors) all() []prometheus.Collector {
	return []prometheus.Collector{
		v.accepted, v.ended, v.bytes, v.refused, v.acceptErrors, v.panics, v.logDropped,
		v.datagrams, v.datagramErrors,
		v.helloSeconds, v.helloBytes, v.requests, v.requestSeconds,
		v.decisions,
		v.idsSkipped, v.generation,
		v.resumptions, v.foreignMints, v.connectErrors, v.transitions, v.connectSeconds,
	}
}

// A deleter is any kind of vector.
type deleter interface {
	DeletePartialMatch(prometheus.Labels) int
}

func (v *vectors) deleteListener(name route.ListenerName) {
	l := prometheus.Labels{"listener": string(name)}
	for _, d := range []deleter{
		v.accepted, v.ended, v.bytes, v.refused, v.acceptErrors, v.panics, v.logDropped,
		v.datagrams, v.datagramErrors, v.helloSeconds, v.helloBytes, v.requests, v.requestSeconds, v.decisions,
	} {
		d.DeletePartialMatch(l)
	}
}

func (v *vectors) deleteListenerPool(listener route.ListenerName, pool route.PoolName) {
	v.decisions.DeletePartialMatch(prometheus.Labels{"listener": string(listener), "pool": string(pool)})
}

func (v *vectors) deletePool(name route.PoolName) {
	l := prometheus.Labels{"pool": string(name)}
	for _, d := range []deleter{
		v.decisions, v.idsSkipped, v.generation,
		v.resumptions, v.foreignMints, v.connectErrors, v.transitions, v.connectSeconds,
	} {
		d.DeletePartialMatch(l)
	}
}

func (v *vectors) deleteServer(pool route.PoolName, server route.ServerName) {
	l := prometheus.Labels{"pool": string(pool), "server": string(server)}
	for _, d := range []deleter{v.resumptions, v.foreignMints, v.connectErrors, v.transitions, v.connectSeconds} {
		d.DeletePartialMatch(l)
	}
	v.generation.DeletePartialMatch(prometheus.Labels{"pool": string(pool), "role": "server", "name": string(server)})
}
