package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/mintmark/mintmark/bench/internal/stat"
)

// Summary writes a workload's table as plain text.
func (w *Workload) Summary(out io.Writer) {
	fmt.Fprintf(out, "\n%s: %s; medians of %d runs in turn\n", w.Name, w.Title, len(w.Peers[0].Runs))
	rows := [][]string{w.head()}
	for i := range w.Peers {
		rows = append(rows, w.row(i))
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i == 0 {
				cell += pad
			} else {
				cell = "  " + pad + cell
			}
			fmt.Fprint(out, cell)
		}
		fmt.Fprintln(out)
	}
}

// head returns the titles of a workload's columns.
func (w *Workload) head() []string {
	head := []string{"", "CPU per " + w.Unit, w.Unit + "s/s", "p50", "p99", "half load p50", "p99", "peak memory"}
	if w.Measure == Memory {
		head = []string{"", "memory per " + w.Unit, "in all"}
	}
	return append(head, "ratio to it", "spread", "limit")
}

// row returns the cells of one peer.
func (w *Workload) row(i int) []string {
	p := &w.Peers[i]
	of := func(f func(*Run) float64) float64 { return stat.Of(p.values(f)).Median }
	row := []string{p.Title, w.cost(stat.Of(p.Costs()).Median)}
	if w.Measure == Memory {
		row = append(row, size(of(func(r *Run) float64 { return float64(r.Share) })))
	} else {
		row = append(row,
			count(of(func(r *Run) float64 { return r.Throughput })),
			duration(of(func(r *Run) float64 { return r.P50 })),
			duration(of(func(r *Run) float64 { return r.P99 })),
			duration(stat.Of(p.half(func(h *Half) float64 { return h.P50 })).Median),
			duration(stat.Of(p.half(func(h *Half) float64 { return h.P99 })).Median),
			size(of(func(r *Run) float64 { return float64(r.Peak) })),
		)
	}
	if i == 0 {
		return append(row, "", "", "")
	}
	ratio := w.Ratio(i)
	return append(row, fmt.Sprintf("%.2f", ratio.Median), fmt.Sprintf("%.2f–%.2f", ratio.Min, ratio.Max), limit(ratio, p.Limit))
}

// limit says whether a ratio is within its limit.
func limit(ratio stat.Spread, most float64) string {
	switch {
	case most == 0:
		return ""
	case ratio.Median <= most:
		return fmt.Sprintf("≤ %.2f, holds", most)
	default:
		return fmt.Sprintf("≤ %.2f, missed", most)
	}
}

// cost returns a cost in a unit that people can read.
func (w *Workload) cost(v float64) string {
	if w.Measure == Memory {
		return size(v)
	}
	return duration(v)
}

// duration returns nanoseconds for people; none is a dash.
func duration(ns float64) string {
	const micro, milli = 1e3, 1e6
	switch {
	case ns == 0:
		return "–"
	case ns < micro:
		return fmt.Sprintf("%.0f ns", ns)
	case ns < 100*micro:
		return fmt.Sprintf("%.1f µs", ns/micro)
	case ns < milli:
		return fmt.Sprintf("%.0f µs", ns/micro)
	case ns < 100*milli:
		return fmt.Sprintf("%.1f ms", ns/milli)
	default:
		return fmt.Sprintf("%.0f ms", ns/milli)
	}
}

// size returns bytes for people.
func size(b float64) string {
	const unit = 1024
	switch {
	case b < 10*unit:
		return fmt.Sprintf("%.0f B", b)
	case b < unit*unit:
		return fmt.Sprintf("%.0f KiB", b/unit)
	case b < 100*unit*unit:
		return fmt.Sprintf("%.1f MiB", b/unit/unit)
	default:
		return fmt.Sprintf("%.0f MiB", b/unit/unit)
	}
}

// count returns a number of things with its thousands apart.
func count(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	const group = 3
	for i := len(digits) - group; i > 0; i -= group {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
