package stat_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/bench/internal/stat"
)

func TestSpread(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		values []float64
		want   stat.Spread
	}{
		"none":           {nil, stat.Spread{}},
		"one":            {[]float64{3}, stat.Spread{Median: 3, Min: 3, Max: 3}},
		"odd, unsorted":  {[]float64{9, 1, 4}, stat.Spread{Median: 4, Min: 1, Max: 9}},
		"even, unsorted": {[]float64{9, 1, 4, 6}, stat.Spread{Median: 5, Min: 1, Max: 9}},
	} {
		if got := stat.Of(tc.values); got != tc.want {
			t.Errorf("%s: got %+v; want %+v", name, got, tc.want)
		}
	}
}

func TestSpreadLeavesItsInputAlone(t *testing.T) {
	t.Parallel()
	values := []float64{3, 1, 2}
	stat.Of(values)
	if diff := cmp.Diff([]float64{3, 1, 2}, values); diff != "" {
		t.Error(diff)
	}
}

// A machine that is twice as slow in one round changes no ratio.
func TestRatiosArePaired(t *testing.T) {
	t.Parallel()
	got := stat.Ratios([]float64{90, 180, 90}, []float64{100, 200, 100})
	if diff := cmp.Diff([]float64{.9, .9, .9}, got); diff != "" {
		t.Error(diff)
	}
	if got := stat.Ratios([]float64{1, 2, 3}, []float64{0, 4}); !cmp.Equal(got, []float64{.5}) {
		t.Errorf("got %v; want only the pair that can be divided", got)
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, tc := range []struct {
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 100, 100},
		{hundred, 0, 1},
		{hundred[:1], 99, 1},
		{hundred[:3], 50, 2},
		{nil, 50, 0},
	} {
		if got := stat.Percentile(tc.sorted, tc.p); got != tc.want {
			t.Errorf("percentile %v of %d values: got %d; want %d", tc.p, len(tc.sorted), got, tc.want)
		}
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		x, y      []float64
		at, slope float64
	}{
		"exact":     {[]float64{1e3, 1e4, 1e5}, []float64{3e5, 2.1e6, 2.01e7}, 1e5, 200},
		"one point": {[]float64{5}, []float64{7}, 7, 0},
		"no point":  {nil, nil, 0, 0},
		"one x":     {[]float64{5, 5}, []float64{7, 9}, 8, 0},
	} {
		at, slope := stat.Line(tc.x, tc.y)
		if math.Abs(at-tc.at) > 1e-3 || math.Abs(slope-tc.slope) > 1e-6 {
			t.Errorf("%s: got %v + %v x; want %v + %v x", name, at, slope, tc.at, tc.slope)
		}
	}
}
