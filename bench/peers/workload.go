package main

import (
	"time"

	"github.com/mintmark/mintmark/bench/internal/load"
	"github.com/mintmark/mintmark/bench/internal/proxy"
	"github.com/mintmark/mintmark/bench/internal/report"
)

// A workload is one sort of traffic, and with whom to compare.
type workload struct {
	name, title, unit string
	measure           report.Measure
	protocol          proxy.Protocol
	kind              load.Kind
	// ops is how many operations a run has: enough that the proxy computes for
	// about half a second.
	ops int
	// rate is in operations per second; 0 is as fast as the clients can.
	rate float64
	// half has each run go on at half of what the slowest peer can do.
	half bool
	// settle is how long to wait after the operations until memory is read.
	settle time.Duration
	peers  []proxy.Peer
	// limits are the ratios to each peer that must not be exceeded.
	limits map[proxy.Peer]float64
}

// workloads lists all, in the order in which they run.
func workloads() []workload {
	const (
		pingPongConns = 64
		bulkConns     = 4
		idleConns     = 4000
		flows         = 8
	)
	three := []proxy.Peer{proxy.Mintmark, proxy.HAProxy, proxy.NGINX}
	return []workload{
		{
			name: "short", title: "short TLS connections: a browser's hello, 512 bytes back, the end", unit: "connection",
			measure: report.CPU, protocol: proxy.TLS, kind: load.Short{}, ops: 10_000, half: true,
			peers:  append(three, proxy.NGINXHalfClose),
			limits: map[proxy.Peer]float64{proxy.HAProxy: 0.95, proxy.NGINX: 0.85},
		},
		{
			name: "resume", title: "short TLS connections that resume at an nginx: handshake, request, 512 bytes", unit: "connection",
			measure: report.CPU, protocol: proxy.TLS, kind: load.Resume{Servers: 1}, ops: 2_000, peers: three,
		},
		{
			name: "return", title: "clients that come back to three nginx, each with ticket keys of its own", unit: "connection",
			measure: report.Total, protocol: proxy.TLS, kind: load.Resume{Servers: 3}, ops: 2_000, peers: three,
		},
		{
			name: "pingpong", title: "100 bytes to and fro, on 64 open connections", unit: "round trip",
			measure: report.CPU, protocol: proxy.TLS, kind: load.PingPong{Conns: pingPongConns}, ops: 80_000, half: true, peers: three,
			limits: map[proxy.Peer]float64{proxy.HAProxy: 1.00, proxy.NGINX: 0.95},
		},
		{
			name: "bulk", title: "downloads on four connections", unit: "MiB",
			measure: report.CPU, protocol: proxy.TLS, kind: load.Bulk{Conns: bulkConns}, ops: 2048,
			peers:  []proxy.Peer{proxy.Mintmark, proxy.HAProxy, proxy.HAProxySplice, proxy.NGINX, proxy.MintmarkPaced},
			limits: map[proxy.Peer]float64{proxy.HAProxy: 0.45, proxy.HAProxySplice: 1.00, proxy.NGINX: 0.45},
		},
		{
			name: "idle", title: "4,000 connections on which nothing happens", unit: "connection",
			measure: report.Memory, protocol: proxy.TLS, kind: load.Idle{}, ops: idleConns, settle: time.Second, peers: three,
			limits: map[proxy.Peer]float64{proxy.HAProxy: 0.35, proxy.NGINX: 0.10},
		},
		{
			name: "http", title: "HTTP/1.1 requests with a session cookie, on 64 open connections", unit: "request",
			measure: report.CPU, protocol: proxy.HTTP, kind: load.HTTP{Conns: pingPongConns}, ops: 40_000, half: true, peers: three,
		},
		{
			name: "udp", title: "datagrams of 1,200 bytes in eight flows, 40,000 a second", unit: "datagram",
			measure: report.CPU, protocol: proxy.UDP, kind: &load.Datagrams{Flows: flows}, ops: 80_000, rate: 40_000,
			peers: []proxy.Peer{proxy.Mintmark, proxy.NGINX}, limits: map[proxy.Peer]float64{proxy.NGINX: 0.65},
		},
		{
			name: "udp-echo", title: "datagrams of 1,200 bytes in eight flows, 20,000 a second there and back", unit: "round trip",
			measure: report.CPU, protocol: proxy.UDP, kind: &load.Datagrams{Flows: flows, Echo: true}, ops: 40_000, rate: 20_000,
			peers: []proxy.Peer{proxy.Mintmark, proxy.NGINX},
		},
	}
}
