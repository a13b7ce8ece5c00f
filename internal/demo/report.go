package demo

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A tally counts what clients saw. It is safe for concurrent use.
type tally struct {
	mu        sync.Mutex
	act       string
	offered   [kindCount]int
	resumed   [kindCount]int
	total     int
	failed    int
	perServer map[string]int
	restarts  int
	drain     string // name of the server that drains
	newOnIt   int    // new sessions it got since
	routedBy  map[string]float64
}

func newTally() *tally {
	return &tally{perServer: make(map[string]int), routedBy: make(map[string]float64)}
}

func (t *tally) setAct(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.act = name
}

// count counts a connection. drained is the server that was drained when it
// began, "" if none was: what had begun before is no sign of a drain that fails.
func (t *tally) count(k kind, server string, offers, resumed bool, drained string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total++
	if offers {
		t.offered[k]++
	}
	if resumed {
		t.resumed[k]++
	}
	if k != kindMint {
		return
	}
	t.perServer[server]++
	if server == drained && !offers {
		t.newOnIt++
	}
}

// drainedServer is the one that is drained by now, "" if none is.
func (t *tally) drainedServer() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.drain
}

func (t *tally) fail() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed++
}

func (t *tally) restarted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restarts++
}

func (t *tally) drained(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drain = name
}

func (t *tally) result(d *demo) Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Result{
		Servers: len(d.servers), Connections: t.total,
		ResumedWith: share(t.resumed[kindMint], t.offered[kindMint]), OfferedWith: t.offered[kindMint],
		ResumedRoundRobin: share(t.resumed[kindRoundRobin], t.offered[kindRoundRobin]), OfferedRoundRobin: t.offered[kindRoundRobin],
		Failed: t.failed, ReplicasRestarted: t.restarts, NewOnDrainedServer: t.newOnIt,
	}
	if t.drain != "" {
		r.ServersDrained = 1
	}
	return r
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// draw writes the table as it stands.
func (d *demo) draw(ctx context.Context) {
	if d.cfg.Out == nil {
		return
	}
	routedBy := d.replicas.routedBy(ctx)
	d.tally.mu.Lock()
	defer d.tally.mu.Unlock()
	maps.Copy(d.tally.routedBy, routedBy)
	var b strings.Builder
	if d.cfg.Redraw {
		b.WriteString("\x1b[H\x1b[2J")
	}
	d.tally.table(&b, d.servers)
	_, _ = io.WriteString(d.cfg.Out, b.String()) // a closed terminal ends the demo by its signal
}

func (t *tally) table(b *strings.Builder, servers []*server) {
	fmt.Fprintf(b, "%s\n\n", t.act)
	fmt.Fprintf(b, "  %-22s %10s %10s %8s\n", "", "offered", "resumed", "rate")
	names := [kindCount]string{kindMint: "routed by ID", kindRoundRobin: "plain round robin"}
	for k, name := range names {
		fmt.Fprintf(b, "  %-22s %10d %10d %7.1f%%\n", name, t.offered[k], t.resumed[k], 100*share(t.resumed[k], t.offered[k]))
	}
	fmt.Fprint(b, "\n  routed by: ")
	for _, by := range slices.Sorted(maps.Keys(t.routedBy)) {
		fmt.Fprintf(b, " %s %.0f ", by, t.routedBy[by])
	}
	fmt.Fprint(b, "\n  servers:   ")
	for _, s := range servers {
		note := ""
		if s.name == t.drain {
			note = fmt.Sprintf(" (draining, %d new)", t.newOnIt)
		}
		fmt.Fprintf(b, " %s %d%s ", s.name, t.perServer[s.name], note)
	}
	fmt.Fprintf(b, "\n  failed:     %d\n\n", t.failed)
}

// routedBy sums the decisions of the listener "web" over the replicas, as
// their metrics tell them: a replica that was restarted began again at zero.
func (rs *replicas) routedBy(ctx context.Context) map[string]float64 {
	sums := make(map[string]float64)
	for _, r := range rs.all {
		family, err := r.family(ctx, "mintmark_decisions_total")
		if err != nil {
			continue // being restarted
		}
		for _, m := range family.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["listener"] == "web" {
				sums[labels["routed_by"]] += m.GetCounter().GetValue()
			}
		}
	}
	return sums
}

// family reads one metric family of the replica; nil when it has no series yet.
func (r *replica) family(ctx context.Context, name string) (*dto.MetricFamily, error) {
	body, err := r.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(body)
	if err != nil {
		return nil, err
	}
	return families[name], nil
}

// metric reads a gauge without labels; 0 when it is not there.
func (r *replica) metric(ctx context.Context, name string) (float64, error) {
	family, err := r.family(ctx, name)
	if err != nil || len(family.GetMetric()) == 0 {
		return 0, err
	}
	return family.GetMetric()[0].GetGauge().GetValue(), nil
}
