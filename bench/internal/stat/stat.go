// Package stat is the few numbers that bench makes of many: medians, spreads
// and percentiles.
package stat

import (
	"math"
	"slices"
)

// A Spread is what repeated measurements of one thing came to.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Of returns the spread of values; of none it is all zero.
func Of(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + median) / 2
	}
	return Spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// Ratios returns a[i]/b[i]. What was measured one after the other is compared
// with each other: the machine was in the same mood. Where b[i] is not
// positive, or one list is longer, there is nothing to compare.
func Ratios(a, b []float64) []float64 {
	var all []float64
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			all = append(all, a[i]/b[i])
		}
	}
	return all
}

// Percentile returns the smallest value that at least p percent of the values
// do not exceed (the nearest rank). The values are in ascending order.
func Percentile[T any](sorted []T, p float64) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	const percent = 100
	rank := int(math.Ceil(p / percent * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Line returns the straight line y = at + slope*x that is nearest to the
// points (least squares). With fewer than two different x it is level.
func Line(x, y []float64) (at, slope float64) {
	n := float64(min(len(x), len(y)))
	if n == 0 {
		return 0, 0
	}
	var sx, sy, sxx, sxy float64
	for i := range int(n) {
		sx += x[i]
		sy += y[i]
		sxx += x[i] * x[i]
		sxy += x[i] * y[i]
	}
	if d := n*sxx - sx*sx; d > 0 {
		slope = (n*sxy - sx*sy) / d
	}
	return (sy - slope*sx) / n, slope
}
