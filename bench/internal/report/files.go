package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mintmark/mintmark/bench/internal/chart"
)

// Write writes all files of a result into a directory.
func (r *Result) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	var words bytes.Buffer
	r.Markdown(&words)
	files := map[string][]byte{
		JSONFile:     append(text, '\n'),
		MarkdownFile: words.Bytes(),
	}
	if len(r.Workloads) > 0 {
		files[RatiosFile] = []byte(r.ratios().SVG())
	}
	for _, of := range r.grows() {
		files[fmt.Sprintf(GrowthFile, of)] = []byte(r.lines(of).SVG())
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Read reads a result back from its JSON.
func Read(dir string) (*Result, error) {
	text, err := os.ReadFile(filepath.Join(dir, JSONFile))
	if err != nil {
		return nil, err
	}
	r := new(Result)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("reading a result: %w", err)
	}
	return r, nil
}

// ratios is the picture of all workloads.
func (r *Result) ratios() *chart.Bars {
	b := &chart.Bars{
		Title:    "What Mintmark costs for each 1 that a peer costs",
		Subtitle: "left of 1 is less; medians of runs in turn, with the smallest and the largest ratio; red: the limit",
	}
	for i := range r.Workloads {
		w := &r.Workloads[i]
		measure := "CPU per " + w.Unit
		switch w.Measure {
		case Memory:
			measure = "memory per " + w.Unit
		case Total:
			measure = "CPU of proxy and servers per " + w.Unit
		case CPU:
		}
		g := chart.Group{Title: w.Name + ": " + measure}
		for p := 1; p < len(w.Peers); p++ {
			s := w.Ratio(p)
			g.Bars = append(g.Bars, chart.Bar{Label: w.Peers[p].Title, Value: s.Median, Min: s.Min, Max: s.Max, Limit: w.Peers[p].Limit})
		}
		b.Groups = append(b.Groups, g)
	}
	return b
}

// lines is the picture of what grows.
func (r *Result) lines(of string) *chart.Lines {
	l := &chart.Lines{Title: "Memory by number of " + of, Subtitle: "PSS of all processes; hollow: extrapolated", X: of, Show: megabytes}
	for _, s := range r.of(of) {
		line := chart.Line{Title: s.Title}
		for _, p := range s.Points {
			line.Points = append(line.Points, chart.Point{X: float64(p.N), Y: p.Memory, Measured: !p.Extrapolated})
		}
		l.Series = append(l.Series, line)
	}
	return l
}

// megabytes returns bytes for an axis whose marks are powers of ten.
func megabytes(b float64) string {
	const mega = 1e6
	return fmt.Sprintf("%.3g MB", b/mega)
}
