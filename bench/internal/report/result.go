// Package report is what bench measured: the raw numbers as JSON, and what is
// made of them for people, tables in Markdown and charts.
//
// Everything but the JSON is computed from it, so that a result can be looked
// at anew without measuring again.
package report

import "github.com/mintmark/mintmark/bench/internal/stat"

// A Result is one run of bench.
type Result struct {
	Machine   Machine    `json:"machine"`
	Quick     bool       `json:"quick,omitempty"`
	Workloads []Workload `json:"workloads,omitempty"`
	Growth    []Series   `json:"growth,omitempty"`
}

// A Machine is where a result is from. It names no host and no path.
type Machine struct {
	Date     string            `json:"date"`
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Kernel   string            `json:"kernel"`
	Load     string            `json:"load_average_before"`
	Versions map[string]string `json:"versions"`
}

// A Measure is what of a workload is compared.
type Measure string

// The measures.
const (
	// CPU is processor time per unit, in nanoseconds.
	CPU Measure = "cpu"
	// Total is the processor time of proxy and servers together.
	Total Measure = "total"
	// Memory is what the process grew by per unit, in bytes.
	Memory Measure = "memory"
)

// A Workload is one sort of traffic, and what each peer needed for it.
type Workload struct {
	Name    string  `json:"name"`
	Title   string  `json:"title"`
	Unit    string  `json:"unit"`
	Ops     int     `json:"operations"`
	Measure Measure `json:"measure"`
	Peers   []Peer  `json:"peers"`
}

// A Peer is a product; the first of a workload is the one that is compared
// with the others.
type Peer struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Limit is the ratio to this peer that must not be exceeded; 0 is none.
	Limit float64 `json:"limit,omitempty"`
	Runs  []Run   `json:"runs"`
}

// A Run is one run of one peer. Times are in nanoseconds, sizes in bytes.
type Run struct {
	// Cost is the workload's measure, per unit.
	Cost float64 `json:"cost"`
	// Throughput is units per second.
	Throughput float64 `json:"throughput"`
	P50        float64 `json:"p50,omitempty"`
	P99        float64 `json:"p99,omitempty"`
	// Peak is the sum of VmHWM, Share of PSS at the end.
	Peak  int64 `json:"memory_peak"`
	Share int64 `json:"memory_share"`
	// Lost is the part of the operations that had no effect, Resumed the part
	// whose session the server accepted.
	Lost    float64 `json:"lost,omitempty"`
	Resumed float64 `json:"resumed,omitempty"`
	// Servers is the processor time of the servers per unit, where they are
	// real ones.
	Servers float64 `json:"servers,omitempty"`
	// Late is the part of the operations that began later than their rate
	// asked for.
	Late float64 `json:"late,omitempty"`
	Half *Half   `json:"half_load,omitempty"`
}

// Half is what a run showed at half load: the same rate for all peers.
type Half struct {
	Rate float64 `json:"rate"`
	Cost float64 `json:"cost"`
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	Late float64 `json:"late,omitempty"`
}

// values returns a number of each run.
func (p *Peer) values(of func(*Run) float64) []float64 {
	all := make([]float64, len(p.Runs))
	for i := range p.Runs {
		all[i] = of(&p.Runs[i])
	}
	return all
}

// Costs returns the cost in each run.
func (p *Peer) Costs() []float64 { return p.values(func(r *Run) float64 { return r.Cost }) }

// Ratio returns what the workload's first peer costs for each time that a peer
// costs 1, paired by round.
func (w *Workload) Ratio(peer int) stat.Spread {
	return stat.Of(stat.Ratios(w.Peers[0].Costs(), w.Peers[peer].Costs()))
}

// A Series is how memory and processor time of a product grow with a number of
// things.
type Series struct {
	Of      string  `json:"of"` // servers or sessions
	Name    string  `json:"name"`
	Title   string  `json:"title"`
	Points  []Point `json:"points"`
	Comment string  `json:"comment,omitempty"`
}

// A Point is one of a Series.
type Point struct {
	N int `json:"n"`
	// Memory is PSS, in bytes; CPU is nanoseconds per short connection.
	Memory float64 `json:"memory"`
	CPU    float64 `json:"cpu,omitempty"`
	// Extrapolated points were not measured: they are on the line through the
	// ones that were.
	Extrapolated bool `json:"extrapolated,omitempty"`
}

// Brief returns the point for people.
func (p *Point) Brief() string {
	if p.Extrapolated {
		return size(p.Memory) + ", extrapolated"
	}
	return size(p.Memory) + ", " + duration(p.CPU) + " CPU per connection"
}
