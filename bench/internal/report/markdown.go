package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// The names of the files that a result is kept in.
const (
	JSONFile     = "peers.json"
	MarkdownFile = "peers.md"
	RatiosFile   = "peers-ratios.svg"
	// GrowthFile is completed with what grows: servers, sessions.
	GrowthFile = "peers-growth-%s.svg"
)

// Markdown writes what people read.
func (r *Result) Markdown(out io.Writer) {
	fmt.Fprint(out, `# Mintmark beside HAProxy and nginx

Written by `+"`make bench-peers`"+`; [how to read it, and how to repeat it](../README.md).
The numbers themselves are in [`+JSONFile+`](`+JSONFile+`).

`)
	r.machine(out)
	if len(r.Workloads) > 0 {
		fmt.Fprintf(out, "\n![What Mintmark costs for each 1 that a peer costs, by workload](%s)\n", RatiosFile)
	}
	for i := range r.Workloads {
		r.Workloads[i].markdown(out)
	}
	if len(r.Growth) > 0 {
		r.growth(out)
	}
}

func (r *Result) machine(out io.Writer) {
	m := &r.Machine
	fmt.Fprintf(out, "- %s, %d cores, Linux %s, %s; load average before: %s\n", m.CPU, m.Cores, m.Kernel, m.Date, m.Load)
	for _, name := range slices.Sorted(maps.Keys(m.Versions)) {
		fmt.Fprintf(out, "- %s %s\n", name, m.Versions[name])
	}
	fmt.Fprintln(out, "- two threads or workers each; the first of a table is compared with the others, by round")
	if r.Quick {
		fmt.Fprintln(out, "- **a quick run, with a fifth of the operations: not a result to quote**")
	}
}

func (w *Workload) markdown(out io.Writer) {
	fmt.Fprintf(out, "\n## %s\n\n%s. Medians of %d runs in turn, %s operations each.\n\n",
		w.Name, upper(w.Title), len(w.Peers[0].Runs), count(float64(w.Ops)))
	for i, row := range w.table() {
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(out, "|---|%s\n", strings.Repeat("--:|", len(row)-1))
		}
	}
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// growth writes a table and a picture for each thing that there is more and
// more of.
func (r *Result) growth(out io.Writer) {
	fmt.Fprint(out, `
## growth

Memory (PSS) of the balancer, and its CPU for a short connection that offers a
TLS 1.2 session ID. Mintmark keeps no table of sessions; HAProxy finds the
server of a session in a stick table, which is filled before.
`)
	for _, of := range r.grows() {
		fmt.Fprintf(out, "\n![Memory by number of %s](%s)\n\n| %s |", of, fmt.Sprintf(GrowthFile, of), of)
		var rule strings.Builder
		rule.WriteString("|--:|")
		series := r.of(of)
		var numbers []int
		for _, s := range series {
			fmt.Fprintf(out, " %s, memory | CPU |", s.Title)
			rule.WriteString("--:|--:|")
			for _, p := range s.Points {
				numbers = append(numbers, p.N)
			}
		}
		fmt.Fprintf(out, "\n%s\n", rule.String())
		slices.Sort(numbers)
		for _, n := range slices.Compact(numbers) {
			fmt.Fprintf(out, "| %s |", count(float64(n)))
			for _, s := range series {
				fmt.Fprint(out, s.cells(n))
			}
			fmt.Fprintln(out)
		}
		for _, s := range series {
			if s.Comment != "" {
				fmt.Fprintf(out, "\n%s: %s\n", s.Title, s.Comment)
			}
		}
	}
}

// cells returns the two cells of a series for n things.
func (s *Series) cells(n int) string {
	i := slices.IndexFunc(s.Points, func(p Point) bool { return p.N == n })
	if i < 0 {
		return " – | – |"
	}
	p := s.Points[i]
	if p.Extrapolated {
		return fmt.Sprintf(" *%s, extrapolated* | – |", size(p.Memory))
	}
	return fmt.Sprintf(" %s | %s |", size(p.Memory), duration(p.CPU))
}

// grows lists what there is more and more of, in the order of the series.
func (r *Result) grows() []string {
	var all []string
	for _, s := range r.Growth {
		if !slices.Contains(all, s.Of) {
			all = append(all, s.Of)
		}
	}
	return all
}

// of returns the series of one of them.
func (r *Result) of(what string) []Series {
	var all []Series
	for _, s := range r.Growth {
		if s.Of == what {
			all = append(all, s)
		}
	}
	return all
}
