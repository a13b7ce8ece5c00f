package main

import (
	"bytes"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/bench/internal/report"
	"github.com/mintmark/mintmark/test/lab"
)

// All workloads run against real peers, in small, so that what is measured
// once in a while does not rot.
func TestWorkloadsRun(t *testing.T) {
	t.Parallel()
	binary, err := lab.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			b := bench{rounds: 1, log: io.Discard}
			b.env.Mintmark, b.env.Dir = binary, t.TempDir()
			w.ops = 64
			w.settle = 0
			r, err := b.measure(t.Context(), &w)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range r.Peers {
				if len(p.Runs) != 1 || p.Runs[0].Throughput <= 0 {
					t.Errorf("%s: got %+v; want one run", p.Name, p.Runs)
				}
				if half := p.Runs[0].Half; w.half && (half == nil || half.Cost <= 0) {
					t.Errorf("%s at half load: got %+v; want a cost", p.Name, half)
				}
				if ratio := r.Ratio(i); w.measure == "cpu" && ratio.Median <= 0 {
					t.Errorf("%s: got the ratio %v; want one", p.Name, ratio)
				}
			}
		})
	}
}

func TestGrowthHasPoints(t *testing.T) {
	t.Parallel()
	binary, err := lab.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := bench{quick: true, log: io.Discard}
	b.env.Mintmark, b.env.Dir = binary, t.TempDir()
	for _, of := range []string{"servers", "sessions"} {
		for _, peer := range []string{"mintmark", "haproxy"} {
			const n = 20
			p, err := b.point(t.Context(), &report.Series{Of: of, Name: peer}, n)
			if err != nil {
				t.Fatal(err)
			}
			if p.N != n || p.Memory <= 0 || p.CPU <= 0 || p.Extrapolated {
				t.Errorf("%s with %d %s: got %+v; want what was measured", peer, n, of, p)
			}
		}
	}
}

func TestChoice(t *testing.T) {
	t.Parallel()
	got, grow, err := choose("idle,short", "baseline,mintmark")
	if err != nil || grow || len(got) != 2 || got[0].name != "idle" || got[1].peers[0] != "baseline" {
		t.Errorf("got %+v, %v; want idle and short with two peers", got, err)
	}
	if got, grow, err := choose("growth", ""); err != nil || !grow || len(got) != 0 {
		t.Errorf("got %+v, %v, %v; want growth alone", got, grow, err)
	}
	for _, bad := range [][2]string{{"nothing", ""}, {"", "nobody"}} {
		if _, _, err := choose(bad[0], bad[1]); err == nil || !strings.Contains(err.Error(), "there are") {
			t.Errorf("choosing %q: got %v; want an error that lists what there is", bad, err)
		}
	}
}

func TestExtrapolation(t *testing.T) {
	t.Parallel()
	got := extrapolate([]report.Point{{N: 1000, Memory: 6e5}, {N: 10_000, Memory: 1.5e6}, {N: 100_000, Memory: 10.5e6}}, 1_000_000)
	if !got.Extrapolated || math.Abs(got.Memory-100.5e6) > 1 {
		t.Errorf("got %+v; want 100.5 MB, marked as extrapolated", got)
	}
}

func TestUnknownFlagIsAnError(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-nonsense"}, io.Discard, &out); err == nil || out.Len() == 0 {
		t.Errorf("got %v and %q; want an error and the usage", err, out.String())
	}
}

func TestMachineIsKnown(t *testing.T) {
	t.Parallel()
	m := machine(t.Context(), "no such binary")
	if m.CPU == unknown || m.Kernel == unknown || m.Load == unknown || m.Cores < 1 {
		t.Errorf("got %+v; want processor, kernel and load", m)
	}
	for name, v := range m.Versions {
		if v == unknown || v == "" {
			t.Errorf("the version of %s is not known", name)
		}
	}
}
