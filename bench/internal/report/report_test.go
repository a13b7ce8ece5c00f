package report_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/bench/internal/report"
)

var update = flag.Bool("update", false, "write testdata anew")

// sample is a result with a bit of everything.
func sample() *report.Result {
	half := func(p50 float64) *report.Half { return &report.Half{Rate: 2500, Cost: 61e3, P50: p50, P99: 10 * p50} }
	return &report.Result{
		Machine: report.Machine{
			Date: "2026-01-02", CPU: "Some CPU", Cores: 2, Kernel: "6.1.0", Load: "0.10",
			Versions: map[string]string{"nginx": "1.22.1", "HAProxy": "2.6.12", "Go": "go1.26"},
		},
		Workloads: []report.Workload{
			{Name: "short", Title: "short connections", Unit: "connection", Ops: 10000, Measure: report.CPU, Peers: []report.Peer{
				{Name: "mintmark", Title: "Mintmark", Runs: []report.Run{
					{Cost: 45e3, Throughput: 9000, P50: 2e6, P99: 9e6, Peak: 20 << 20, Half: half(300e3)},
					{Cost: 90e3, Throughput: 4500, P50: 4e6, P99: 18e6, Peak: 20 << 20, Half: half(320e3)},
				}},
				{Name: "haproxy", Title: "HAProxy", Limit: 0.95, Runs: []report.Run{
					{Cost: 50e3, Throughput: 8000, P50: 2e6, P99: 9e6, Peak: 15 << 20, Half: half(290e3)},
					{Cost: 100e3, Throughput: 4000, P50: 4e6, P99: 18e6, Peak: 15 << 20, Half: half(280e3)},
				}},
				{Name: "nginx", Title: "nginx", Limit: 0.85, Runs: []report.Run{
					{Cost: 50e3, Throughput: 8000, P50: 2e6, P99: 9e6, Peak: 30 << 20, Half: half(310e3)},
					{Cost: 90e3, Throughput: 4400, P50: 4e6, P99: 18e6, Peak: 30 << 20, Half: half(330e3)},
				}},
			}},
			{Name: "idle", Title: "idle connections", Unit: "connection", Ops: 4000, Measure: report.Memory, Peers: []report.Peer{
				{Name: "mintmark", Title: "Mintmark", Runs: []report.Run{{Cost: 900, Share: 14 << 20}}},
				{Name: "haproxy", Title: "HAProxy", Limit: 0.35, Runs: []report.Run{{Cost: 3300, Share: 20 << 20}}},
			}},
		},
		Growth: []report.Series{
			{Of: "sessions", Name: "mintmark", Title: "Mintmark", Points: []report.Point{{N: 1000, Memory: 14 << 20, CPU: 45e3}, {N: 10_000_000, Memory: 14 << 20, CPU: 45e3}}},
			{
				Of: "sessions", Name: "haproxy", Title: "HAProxy", Comment: "measured up to 1,000.",
				Points: []report.Point{{N: 1000, Memory: 7 << 20, CPU: 48e3}, {N: 10_000_000, Memory: 2 << 30, Extrapolated: true}},
			},
		},
	}
}

// The files are what testdata has: a table that changes shows in review.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := sample().Write(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	const files = 4
	if len(entries) != files {
		t.Errorf("got %d files; want %d", len(entries), files)
	}
	for _, e := range entries {
		got, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", e.Name()+".golden")
		if *update {
			if err := os.WriteFile(golden, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (mend: go test ./bench/internal/report -update): -want +got\n%s", e.Name(), diff)
		}
	}
}

func TestReadGivesWhatWasWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := sample().Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := report.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Ratios are of each round, and medians are of ratios.
func TestRatioIsPaired(t *testing.T) {
	t.Parallel()
	w := sample().Workloads[0]
	if got := w.Ratio(1); got.Median != 0.9 || got.Min != 0.9 || got.Max != 0.9 {
		t.Errorf("got %+v; want 0.9, although the second round was twice as slow", got)
	}
	if got := w.Ratio(2); got.Min != 0.9 || got.Max != 1 {
		t.Errorf("got %+v; want a spread of 0.9 to 1", got)
	}
}

func TestSummaryTellsWhetherLimitsHold(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := sample().Workloads[0]
	w.Summary(&out)
	for _, want := range []string{"≤ 0.95, holds", "≤ 0.85, missed", "61.0 µs"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant it to say %q", out.String(), want)
		}
	}
}
