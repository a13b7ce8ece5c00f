package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/mintmark/mintmark/bench/internal/stat"
)

// Summary writes a workload's table as plain text.
func (w *Workload) Summary(out io.Writer) {
	fmt.Fprintf(out, "\n%s: %s; medians of %d runs in turn\n", w.Name, w.Title, len(w.Peers[0].Runs))
	rows := w.table()
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				fmt.Fprint(out, cell, pad)
			} else {
				fmt.Fprint(out, "  ", pad, cell)
			}
		}
		fmt.Fprintln(out)
	}
}

// Brief returns what is worth knowing of one run while others run.
func (w *Workload) Brief(r *Run) string {
	return fmt.Sprintf("%9s per %s  %9s/s", w.cost(r.Cost), w.Unit, count(r.Throughput))
}

// A column is one number of each run, of which a table shows the median.
type column struct {
	title string
	of    func(*Run) float64
	show  func(float64) string
}

// columns returns the columns of a workload's table. A column that has nothing
// for any peer is left out of the table.
func (w *Workload) columns() []column {
	if w.Measure == Memory {
		return []column{
			{"memory per " + w.Unit, func(r *Run) float64 { return r.Cost }, size},
			{"in all", func(r *Run) float64 { return float64(r.Share) }, size},
		}
	}
	half := func(of func(*Half) float64) func(*Run) float64 {
		return func(r *Run) float64 {
			if r.Half == nil {
				return 0
			}
			return of(r.Half)
		}
	}
	first := "CPU per "
	if w.Measure == Total {
		first = "CPU of proxy and servers per "
	}
	return []column{
		{first + w.Unit, func(r *Run) float64 { return r.Cost }, duration},
		{"resumed", func(r *Run) float64 { return r.Resumed }, percent},
		{"lost", func(r *Run) float64 { return r.Lost }, percent},
		{w.Unit + "s/s", func(r *Run) float64 { return r.Throughput }, count},
		{"p50", func(r *Run) float64 { return r.P50 }, duration},
		{"p99", func(r *Run) float64 { return r.P99 }, duration},
		{"half load: CPU", half(func(h *Half) float64 { return h.Cost }), duration},
		{"p50", half(func(h *Half) float64 { return h.P50 }), duration},
		{"p99", half(func(h *Half) float64 { return h.P99 }), duration},
		{"peak memory", func(r *Run) float64 { return float64(r.Peak) }, size},
	}
}

// table returns the cells of a workload's table, with its head.
func (w *Workload) table() [][]string {
	rows := make([][]string, len(w.Peers)+1)
	rows[0] = []string{""}
	for i := range w.Peers {
		rows[i+1] = []string{w.Peers[i].Title}
	}
	for _, c := range w.columns() {
		something := false
		cells := []string{c.title}
		for i := range w.Peers {
			v := stat.Of(w.Peers[i].values(c.of)).Median
			something = something || v != 0
			cells = append(cells, c.show(v))
		}
		if something {
			for i := range rows {
				rows[i] = append(rows[i], cells[i])
			}
		}
	}
	rows[0] = append(rows[0], "ratio", "spread", "limit")
	rows[1] = append(rows[1], "", "", "")
	for i := 1; i < len(w.Peers); i++ {
		r := w.Ratio(i)
		rows[i+1] = append(rows[i+1], fmt.Sprintf("%.2f", r.Median), fmt.Sprintf("%.2f–%.2f", r.Min, r.Max), limit(r, w.Peers[i].Limit))
	}
	return rows
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

// percent returns a part of one for people.
func percent(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }

// count returns a number of things with its thousands apart.
func count(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	const group = 3
	for i := len(digits) - group; i > 0; i -= group {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
