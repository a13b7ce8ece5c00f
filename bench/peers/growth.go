package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mintmark/mintmark/bench/internal/load"
	"github.com/mintmark/mintmark/bench/internal/proxy"
	"github.com/mintmark/mintmark/bench/internal/report"
	"github.com/mintmark/mintmark/bench/internal/stat"
)

// growthName is what growth is called among the workloads.
const growthName = "growth"

const (
	// growthOps is how many connections each point has, in each of
	// growthSlices, of whose cost the median counts.
	growthOps, growthSlices = 1500, 3
	// fewServers and fewSessions are how many there are while there are more
	// and more of the other.
	fewServers, fewSessions = 10, 1000
	// filled is the largest table that is filled; what a larger one takes is
	// extrapolated.
	filled = 1_000_000
)

// growth measures Mintmark and HAProxy with more and more servers, and with
// more and more sessions.
func (b *bench) growth(ctx context.Context) ([]report.Series, error) {
	servers := []int{10, 100, 1000, 10_000}
	sessions := []int{1000, 10_000, 100_000, filled, 10 * filled}
	if b.quick {
		servers, sessions = servers[:3], []int{1000, 10_000, filled}
	}
	var all []report.Series
	for _, of := range []string{"servers", "sessions"} {
		counts := servers
		if of == "sessions" {
			counts = sessions
		}
		ours := report.Series{Of: of, Name: string(proxy.Mintmark), Title: proxy.Mintmark.Title()}
		theirs := report.Series{Of: of, Name: string(proxy.HAProxy), Title: proxy.HAProxy.Title()}
		for _, n := range counts {
			for _, s := range []*report.Series{&ours, &theirs} {
				p, err := b.point(ctx, s, n)
				if err != nil {
					return nil, fmt.Errorf("%s with %d %s: %w", s.Name, n, of, err)
				}
				fmt.Fprintf(b.log, "growth  %-9s %10d %-8s %s\n", s.Name, n, of, p.Brief())
				s.Points = append(s.Points, p)
			}
		}
		if of == "sessions" {
			theirs.Comment = fmt.Sprintf("the table was filled with up to %d entries; what is beyond is on the straight line through the points that were measured.", filled)
		}
		all = append(all, ours, theirs)
	}
	return all, nil
}

// point measures one point of a series.
func (b *bench) point(ctx context.Context, s *report.Series, n int) (report.Point, error) {
	kind := load.Sessions{Count: fewSessions, Marks: n}
	if s.Of == "sessions" {
		kind = load.Sessions{Count: n, Marks: fewServers}
	}
	peer := proxy.Peer(s.Name)
	if peer == proxy.HAProxy && kind.Count > filled {
		return extrapolate(s.Points, n), nil
	}
	servers, err := kind.Serve(ctx)
	if err != nil {
		return report.Point{}, err
	}
	defer servers.Stop()
	site := &proxy.Site{Protocol: proxy.TLS, Servers: proxy.Spread(kind.Marks, servers.Addrs[0], load.FirstMark)}
	if peer == proxy.HAProxy {
		site.Table = kind.Count
	}
	var point report.Point
	err = b.with(ctx, peer, site, kind, func(ctx context.Context, p *proxy.Proxy, client load.Client) error {
		if site.Table > 0 {
			entry := func(i int) (string, int) { return kind.Key(i), i%kind.Marks + 1 }
			if err := p.Fill(ctx, kind.Count, entry); err != nil {
				return err
			}
		}
		t := trial{proxy: p, servers: servers, client: client}
		phase := load.Phase{Ops: growthOps}
		if b.quick {
			phase.Ops /= quickly
		}
		point, err = t.point(ctx, n, phase)
		return err
	})
	return point, err
}

// point measures processor time and memory.
func (t *trial) point(ctx context.Context, n int, phase load.Phase) (report.Point, error) {
	var costs []float64
	for range growthSlices {
		r, err := t.phase(ctx, phase)
		if err != nil {
			return report.Point{}, err
		}
		costs = append(costs, r.Cost)
	}
	time.Sleep(time.Second) // until the connections' memory has been given back
	m, err := t.proxy.Memory()
	return report.Point{N: n, Memory: float64(m.Share), CPU: stat.Of(costs).Median}, err
}

// extrapolate puts a point on the straight line through the others.
func extrapolate(points []report.Point, n int) report.Point {
	var x, y []float64
	for _, p := range points {
		x, y = append(x, float64(p.N)), append(y, p.Memory)
	}
	at, slope := stat.Line(x, y)
	return report.Point{N: n, Memory: at + slope*float64(n), Extrapolated: true}
}

// summary prints what growth found.
func summary(out io.Writer, all []report.Series) {
	for _, s := range all {
		fmt.Fprintf(out, "\n%s, by number of %s\n", s.Title, s.Of)
		for _, p := range s.Points {
			fmt.Fprintf(out, "%12d  %s\n", p.N, p.Brief())
		}
	}
}
