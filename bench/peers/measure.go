package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/mintmark/mintmark/bench/internal/load"
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
	// half is the part of a run's operations, and of the slowest peer's
	// throughput, at half load.
	half = 2
)

// measure runs a workload with each of its peers in turn, round after round.
// A round that does not count comes first: it finds what half load is.
func (b *bench) measure(ctx context.Context, w *workload) (report.Workload, error) {
	result := report.Workload{Name: w.name, Title: w.title, Unit: w.unit, Measure: w.measure, Ops: b.ops(w)}
	for _, p := range w.peers {
		result.Peers = append(result.Peers, report.Peer{Name: string(p), Title: p.Title(), Limit: w.limits[p]})
	}
	server, stop, err := w.kind.Serve(ctx)
	if err != nil {
		return result, err
	}
	defer stop()
	slowest := math.Inf(1)
	for _, p := range w.peers {
		r, err := b.run(ctx, w, p, server, b.ops(w)/half, 0)
		if err != nil {
			return result, err
		}
		slowest = min(slowest, r.Throughput)
	}
	rate := 0.0
	if w.half {
		rate = slowest / half
	}
	for round := range b.rounds {
		for i, p := range w.peers {
			r, err := b.run(ctx, w, p, server, b.ops(w), rate)
			if err != nil {
				return result, err
			}
			b.progress(w, round, p, &r)
			result.Peers[i].Runs = append(result.Peers[i].Runs, r)
		}
	}
	return result, nil
}

// run starts a proxy, has clients do a number of operations, and returns what
// that took. With a rate it goes on at that rate.
func (b *bench) run(ctx context.Context, w *workload, peer proxy.Peer, server string, ops int, rate float64) (report.Run, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("one run took more than %v", runLimit))
	defer cancel()
	listen, err := proxy.FreeAddr(ctx)
	if err != nil {
		return report.Run{}, err
	}
	p, err := proxy.Start(ctx, &b.env, peer, &proxy.Site{
		Protocol: w.protocol,
		Listen:   listen,
		Servers:  []proxy.Server{{Name: "a", Addr: server, Mark: load.Mark}},
	})
	if err != nil {
		return report.Run{}, err
	}
	defer p.Stop()
	client, err := w.kind.Open(ctx, p.Addr)
	if err != nil {
		return report.Run{}, fmt.Errorf("%s with %s: %w", w.name, peer, err)
	}
	defer client.Close()
	r, err := under(ctx, w, p, client, ops, rate)
	if err != nil {
		return r, fmt.Errorf("%s with %s: %w", w.name, peer, err)
	}
	return r, nil
}

// under measures a proxy under load.
func under(ctx context.Context, w *workload, p *proxy.Proxy, client load.Client, ops int, rate float64) (report.Run, error) {
	var r report.Run
	if _, err := client.Run(ctx, load.Phase{Ops: max(1, ops/warmUp)}); err != nil {
		return r, err
	}
	time.Sleep(w.settle)
	before, err := p.Memory()
	if err != nil {
		return r, err
	}
	sample, cpu, err := spent(ctx, p, client, load.Phase{Ops: ops})
	if err != nil {
		return r, err
	}
	time.Sleep(w.settle)
	after, err := p.Memory()
	if err != nil {
		return r, err
	}
	r = report.Run{
		Cost:       cpu,
		Throughput: float64(sample.Ops) / sample.Elapsed.Seconds(),
		P50:        float64(stat.Percentile(sample.Latencies, 50)),
		P99:        float64(stat.Percentile(sample.Latencies, 99)),
		Peak:       after.Peak,
		Share:      after.Share,
		Lost:       sample.Lost,
		Resumed:    sample.Resumed,
	}
	if w.measure == report.Memory {
		r.Cost = float64(after.Share-before.Share) / float64(sample.Ops)
	}
	if rate > 0 {
		r.Half, err = atRate(ctx, p, client, load.Phase{Ops: ops / half / half, Rate: rate})
	}
	return r, err
}

// atRate measures a proxy at a given rate.
func atRate(ctx context.Context, p *proxy.Proxy, client load.Client, phase load.Phase) (*report.Half, error) {
	sample, cpu, err := spent(ctx, p, client, phase)
	return &report.Half{
		Rate: phase.Rate,
		Cost: cpu,
		P50:  float64(stat.Percentile(sample.Latencies, 50)),
		P99:  float64(stat.Percentile(sample.Latencies, 99)),
		Late: sample.Late,
	}, err
}

// spent returns the processor time, in nanoseconds for each operation, that a
// proxy needs for a phase.
func spent(ctx context.Context, p *proxy.Proxy, client load.Client, phase load.Phase) (load.Sample, float64, error) {
	before, err := p.CPU()
	if err != nil {
		return load.Sample{}, 0, err
	}
	sample, err := client.Run(ctx, phase)
	if err != nil {
		return sample, 0, err
	}
	time.Sleep(afterwards)
	after, err := p.CPU()
	return sample, float64(after-before) / float64(sample.Ops), err
}

// progress tells of one run.
func (b *bench) progress(w *workload, round int, p proxy.Peer, r *report.Run) {
	fmt.Fprintf(b.log, "%-9s round %d  %-18s %10.2f  %9.0f/s\n", w.name, round+1, p, r.Cost, r.Throughput)
}
