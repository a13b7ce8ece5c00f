package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/mintmark/mintmark/bench/internal/load"
	"github.com/mintmark/mintmark/bench/internal/process"
	"github.com/mintmark/mintmark/bench/internal/proxy"
	"github.com/mintmark/mintmark/bench/internal/report"
	"github.com/mintmark/mintmark/bench/internal/stat"
)

const (
	// runLimit bounds one run of one peer.
	runLimit = time.Minute
	// afterwards is how long a proxy gets to end what the last operations
	// began, before its processor time is read.
	afterwards = 20 * time.Millisecond
	// warmUp is the part of a run's operations that come before it.
	warmUp = 8
	// half is the part of the slowest peer's throughput that is half load, and
	// halfOps the part of a run's operations at half load.
	half, halfOps = 2, 4
)

// measure runs a workload with each of its peers in turn, round after round.
// A round that does not count comes first: it finds what half load is.
func (b *bench) measure(ctx context.Context, w *workload) (report.Workload, error) {
	result := report.Workload{Name: w.name, Title: w.title, Unit: w.unit, Measure: w.measure, Ops: b.ops(w)}
	for _, p := range w.peers {
		result.Peers = append(result.Peers, report.Peer{Name: string(p), Title: p.Title(), Limit: w.limits[p]})
	}
	servers, err := w.kind.Serve(ctx)
	if err != nil {
		return result, err
	}
	defer servers.Stop()
	slowest := math.Inf(1)
	for _, p := range w.peers {
		r, err := b.run(ctx, w, p, servers, load.Phase{Ops: b.ops(w) / half, Rate: w.rate}, 0)
		if err != nil {
			return result, err
		}
		slowest = min(slowest, r.Throughput)
	}
	halfRate := 0.0
	if w.half {
		halfRate = slowest / half
	}
	for round := range b.rounds {
		for i, p := range w.peers {
			r, err := b.run(ctx, w, p, servers, load.Phase{Ops: b.ops(w), Rate: w.rate}, halfRate)
			if err != nil {
				return result, err
			}
			fmt.Fprintf(b.log, "%-9s round %d  %-18s %s\n", w.name, round+1, p, result.Brief(&r))
			result.Peers[i].Runs = append(result.Peers[i].Runs, r)
		}
	}
	return result, nil
}

// run starts a proxy, has clients do a phase, and returns what that took. With
// a rate for half load it goes on at that rate.
func (b *bench) run(ctx context.Context, w *workload, peer proxy.Peer, servers *load.Servers, phase load.Phase, halfRate float64) (report.Run, error) {
	site := &proxy.Site{Protocol: w.protocol}
	for i, addr := range servers.Addrs {
		site.Servers = append(site.Servers, proxy.Server{Name: "s" + strconv.Itoa(i+1), Addr: addr, Mark: servers.Marks[i]})
	}
	var r report.Run
	err := b.with(ctx, peer, site, w.kind, func(ctx context.Context, p *proxy.Proxy, client load.Client) (err error) {
		t := trial{workload: w, proxy: p, servers: servers, client: client}
		if r, err = t.measure(ctx, phase); err == nil && halfRate > 0 {
			r.Half, err = t.half(ctx, load.Phase{Ops: phase.Ops / halfOps, Rate: halfRate})
		}
		return err
	})
	if err != nil {
		return r, fmt.Errorf("%s with %s: %w", w.name, peer, err)
	}
	return r, nil
}

// with starts a proxy and clients that connect to it, and stops them when do
// has returned.
func (b *bench) with(ctx context.Context, peer proxy.Peer, site *proxy.Site, kind load.Kind, do func(context.Context, *proxy.Proxy, load.Client) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("one run took more than %v", runLimit))
	defer cancel()
	var err error
	if site.Listen, err = process.FreeAddr(ctx); err != nil {
		return err
	}
	p, err := proxy.Start(ctx, &b.env, peer, site)
	if err != nil {
		return err
	}
	defer p.Stop()
	client, err := kind.Open(ctx, p.Addr)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(ctx, p, client)
}

// A trial is one proxy under load.
type trial struct {
	workload *workload
	proxy    *proxy.Proxy
	servers  *load.Servers
	client   load.Client
}

// measure warms the proxy up and measures a phase.
func (t *trial) measure(ctx context.Context, phase load.Phase) (report.Run, error) {
	warm := phase
	warm.Ops = max(1, phase.Ops/warmUp)
	if _, err := t.client.Run(ctx, warm); err != nil {
		return report.Run{}, err
	}
	time.Sleep(t.workload.settle)
	before, err := t.proxy.Memory()
	if err != nil {
		return report.Run{}, err
	}
	r, err := t.phase(ctx, phase)
	if err != nil {
		return r, err
	}
	time.Sleep(t.workload.settle)
	after, err := t.proxy.Memory()
	r.Peak, r.Share = after.Peak, after.Share
	switch t.workload.measure {
	case report.Memory:
		r.Cost = float64(after.Share-before.Share) / float64(phase.Ops)
	case report.Total:
		r.Cost += r.Servers
	case report.CPU:
	}
	return r, err
}

// phase measures all of a phase but memory.
func (t *trial) phase(ctx context.Context, phase load.Phase) (report.Run, error) {
	var r report.Run
	var before, after [2]time.Duration
	if err := t.clocks(&before); err != nil {
		return r, err
	}
	s, err := t.client.Run(ctx, phase)
	if err != nil {
		return r, err
	}
	time.Sleep(afterwards)
	if err := t.clocks(&after); err != nil {
		return r, err
	}
	n := float64(s.Ops)
	return report.Run{
		Cost:       float64(after[0]-before[0]) / n,
		Servers:    float64(after[1]-before[1]) / n,
		Throughput: n / s.Elapsed.Seconds(),
		P50:        float64(stat.Percentile(s.Latencies, 50)),
		P99:        float64(stat.Percentile(s.Latencies, 99)),
		Lost:       float64(s.Lost) / float64(s.Ops+s.Lost),
		Resumed:    float64(s.Resumed) / n,
		Late:       float64(s.Late) / n,
	}, nil
}

// half measures a phase at half load.
func (t *trial) half(ctx context.Context, phase load.Phase) (*report.Half, error) {
	r, err := t.phase(ctx, phase)
	return &report.Half{Rate: phase.Rate, Cost: r.Cost, P50: r.P50, P99: r.P99, Late: r.Late}, err
}

// clocks reads the processor time of the proxy and of the servers.
func (t *trial) clocks(used *[2]time.Duration) (err error) {
	if used[0], err = t.proxy.CPU(); err == nil && t.servers.CPU != nil {
		used[1], err = t.servers.CPU()
	}
	return err
}
