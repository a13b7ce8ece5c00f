package metrics_test

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
)

// scrape returns the samples of m as Prometheus reads them, sorted, without
// those of the process and of histogram buckets.
func scrape(t *testing.T, m *metrics.Set) []string {
	t.Helper()
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(m.Registry(), promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("scraping: status %d: %s", rec.Code, rec.Body)
	}
	var lines []string
	for line := range strings.Lines(rec.Body.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "mintmark_") && !strings.Contains(line, "_bucket{") && !strings.Contains(line, "_sum{") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// withPrefix returns the lines that begin with one of the metric names.
func withPrefix(lines []string, names ...string) []string {
	var out []string
	for _, l := range lines {
		for _, n := range names {
			if strings.HasPrefix(l, "mintmark_"+n) {
				out = append(out, l)
				break
			}
		}
	}
	return out
}

func pool(name route.PoolName, servers ...route.ServerName) *route.Pool {
	p := &route.Pool{Config: route.PoolConfig{Name: name}}
	for i, s := range servers {
		st := &route.State{}
		st.Up.Store(true)
		p.Servers = append(p.Servers, &route.Server{Config: route.ServerConfig{Name: s}, Index: i, Pool: p, State: st})
	}
	return p
}

// snapshot returns a snapshot in which each listener sends to one pool.
func snapshot(listeners map[route.ListenerName]*route.Pool) *route.Snapshot {
	s := &route.Snapshot{Pools: map[route.PoolName]*route.Pool{}, Listeners: map[route.ListenerName]*route.Listener{}}
	for name, p := range listeners {
		s.Pools[p.Config.Name] = p
		s.Listeners[name] = &route.Listener{Name: name, Pool: p}
	}
	return s
}

// TestNames pins the names and labels, which operators build on.
func TestNames(t *testing.T) {
	t.Parallel()
	m := metrics.New("v1.2.3")
	p := pool("web", "a")
	m.Update(snapshot(map[route.ListenerName]*route.Pool{"front": p}))
	l := m.Listener("front")
	lp := l.Pool(p)
	l.Accepted.Inc(0)
	l.Active.Add(0, 1)
	l.BytesIn.Add(0, 10)
	l.BytesOut.Add(0, 20)
	l.HelloSeconds.Observe(0, .1)
	l.HelloBytes.Observe(0, 512)
	l.HelloBuffered.Store(4096)
	l.Refused("not_tls")
	l.Ended(0, "done")
	lp.Decided(0, idspace.FieldPSK, route.ByMint)
	lp.Skipped(idspace.FieldSessionID, 2)
	lp.Resumed(p.Servers[0], route.ByMint, true)
	lp.Resumed(p.Servers[0], route.ByGroup, false)
	m.ServerDialed(p.Servers[0], 0, time.Millisecond, nil)
	m.ServerDialed(p.Servers[0], 0, time.Millisecond, errors.New("refused"))
	m.ServerChanged(p.Servers[0], false, "connection refused")
	m.ForeignMint(p.Servers[0], idspace.FieldTicket)
	m.SetGeneration("web", "balancer", "b1", 3)
	p.Servers[0].State.Conns.Store(7)
	m.ConfigReloaded(false)

	got := slices.DeleteFunc(scrape(t, m), func(l string) bool {
		return strings.HasPrefix(l, "mintmark_build_info") || strings.Contains(l, "timestamp")
	})
	want := []string{
		`mintmark_accept_errors_total{listener="front"} 0`,
		`mintmark_access_log_dropped_total{listener="front"} 0`,
		`mintmark_bytes_total{direction="in",listener="front"} 10`,
		`mintmark_bytes_total{direction="out",listener="front"} 20`,
		`mintmark_config_last_reload_successful 0`,
		`mintmark_connect_duration_seconds_count{pool="web",server="a"} 1`,
		`mintmark_connect_errors_total{pool="web",server="a"} 1`,
		`mintmark_connections_active{listener="front"} 1`,
		`mintmark_connections_ended_total{end="done",listener="front"} 1`,
		`mintmark_connections_total{listener="front"} 1`,
		`mintmark_decisions_total{field="psk",listener="front",pool="web",routed_by="mint"} 1`,
		`mintmark_foreign_mints_total{field="ticket",pool="web",server="a"} 1`,
		`mintmark_generation{name="b1",pool="web",role="balancer"} 3`,
		`mintmark_hello_buffer_bytes{listener="front"} 4096`,
		`mintmark_hello_bytes_count{listener="front"} 1`,
		`mintmark_hello_duration_seconds_count{listener="front"} 1`,
		`mintmark_ids_skipped_total{field="session_id",pool="web"} 2`,
		`mintmark_panics_total{listener="front"} 0`,
		`mintmark_refused_total{cause="not_tls",listener="front"} 1`,
		`mintmark_resumptions_total{pool="web",result="accepted",routed_by="mint",server="a"} 1`,
		`mintmark_resumptions_total{pool="web",result="declined",routed_by="group",server="a"} 1`,
		`mintmark_server_connections{pool="web",server="a"} 7`,
		`mintmark_server_draining{pool="web",server="a"} 0`,
		`mintmark_server_transitions_total{pool="web",server="a",to="down"} 1`,
		`mintmark_server_up{pool="web",server="a"} 1`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("samples (-want +got):\n%s", d)
	}
	if !slices.ContainsFunc(scrape(t, m), func(l string) bool {
		return strings.HasPrefix(l, "mintmark_build_info{") && strings.Contains(l, `version="v1.2.3"`)
	}) {
		t.Error("no build_info with the version")
	}
}

// Scripts wait for a reload by waiting for another time of the last one: two
// within a second have to be told apart.
func TestReloadsWithinASecondDiffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New("test")
		at := func() string {
			for _, l := range scrape(t, m) {
				if strings.HasPrefix(l, "mintmark_config_last_reload_success_timestamp_seconds ") {
					return l
				}
			}
			t.Fatal("no time of the last reload")
			return ""
		}
		start := at()
		time.Sleep(time.Millisecond)
		m.ConfigReloaded(false)
		if now := at(); now != start {
			t.Errorf("after a reload that failed: %s; want %s as before", now, start)
		}
		m.ConfigReloaded(true)
		if now := at(); now == start {
			t.Errorf("a millisecond later, the time of the last reload is still %s", now)
		}
	})
}

// TestAssignedShare compares the shares with what the rules say.
func TestAssignedShare(t *testing.T) {
	t.Parallel()
	table, err := idspace.Compile([]idspace.Rule{
		{Owner: "a", Range: &idspace.Range{From: []byte{0}, To: []byte{127}}},
		{Owner: "pair", Range: &idspace.Range{From: []byte{128}, To: []byte{191}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := metrics.New("")
	p := pool("web", "a")
	p.Config.Table = table
	m.Update(snapshot(map[route.ListenerName]*route.Pool{"front": p}))
	want := []string{
		`mintmark_assigned_share{owner="a",pool="web"} 0.5`,
		`mintmark_assigned_share{owner="pair",pool="web"} 0.25`,
	}
	if d := cmp.Diff(want, withPrefix(scrape(t, m), "assigned_share")); d != "" {
		t.Errorf("shares (-want +got):\n%s", d)
	}
}

// TestUpdateDeletes reloads into a configuration without one server, one pool
// and one listener: their series go, the others keep their values, and handles
// of what is gone no longer make series.
func TestUpdateDeletes(t *testing.T) {
	t.Parallel()
	m := metrics.New("")
	web, old := pool("web", "a", "b"), pool("old", "z")
	m.Update(snapshot(map[route.ListenerName]*route.Pool{"front": web, "back": old}))
	front, back := m.Listener("front"), m.Listener("back")
	fw, bo := front.Pool(web), back.Pool(old)
	for _, s := range web.Servers {
		fw.Resumed(s, route.ByMint, true)
		m.ServerDialed(s, 0, time.Millisecond, nil)
		m.ServerChanged(s, true, "")
	}
	fw.Decided(0, idspace.FieldNone, route.ByBalance)
	bo.Decided(0, idspace.FieldNone, route.ByBalance)
	bo.Resumed(old.Servers[0], route.ByMint, true)
	back.Refused("not_tls")

	web2 := pool("web", "a")
	web2.Servers[0].State = web.Servers[0].State
	m.Update(snapshot(map[route.ListenerName]*route.Pool{"front": web2}))

	lines := scrape(t, m)
	for _, l := range lines {
		for _, gone := range []string{`"b"`, `"z"`, `"old"`, `"back"`} {
			if strings.Contains(l, gone) {
				t.Errorf("after the reload there is still %s", l)
			}
		}
	}
	// Connections that outlive their server, pool and listener count on.
	fw.Resumed(web.Servers[1], route.ByGroup, true)
	bo.Decided(0, idspace.FieldPSK, route.ByMint)
	bo.Skipped(idspace.FieldPSK, 1)
	bo.Resumed(old.Servers[0], route.ByGroup, true)
	back.Refused("limit")
	back.Ended(0, "done")
	m.ServerChanged(old.Servers[0], false, "")
	m.ForeignMint(web.Servers[1], idspace.FieldPSK)
	m.SetGeneration("old", "server", "z", 1)
	if d := cmp.Diff(lines, scrape(t, m)); d != "" {
		t.Errorf("handles of what is gone made series (-before +after):\n%s", d)
	}
	// What stayed kept its numbers and its handles.
	front.Pool(web2).Decided(0, idspace.FieldNone, route.ByBalance)
	front.Pool(web2).Resumed(web2.Servers[0], route.ByMint, true)
	want := []string{
		`mintmark_decisions_total{field="none",listener="front",pool="web",routed_by="balance"} 2`,
		`mintmark_resumptions_total{pool="web",result="accepted",routed_by="mint",server="a"} 2`,
	}
	if d := cmp.Diff(want, withPrefix(scrape(t, m), "decisions", "resumptions")); d != "" {
		t.Errorf("samples (-want +got):\n%s", d)
	}
}

// TestUpdateUnlinks moves a listener to another pool: the pair's decisions go,
// although both still exist.
func TestUpdateUnlinks(t *testing.T) {
	t.Parallel()
	m := metrics.New("")
	a, b := pool("a", "s"), pool("b", "s")
	m.Update(snapshot(map[route.ListenerName]*route.Pool{"x": a, "y": b}))
	m.Listener("x").Pool(a).Decided(0, idspace.FieldNone, route.ByBalance)
	m.Listener("y").Pool(b).Decided(0, idspace.FieldNone, route.ByBalance)
	s := snapshot(map[route.ListenerName]*route.Pool{"x": b, "y": a})
	s.Listeners["y"].Routes = []route.SNIRoute{{Pattern: "b.example", Pool: b}}
	m.Update(s)
	want := []string{`mintmark_decisions_total{field="none",listener="y",pool="b",routed_by="balance"} 1`}
	if d := cmp.Diff(want, withPrefix(scrape(t, m), "decisions")); d != "" {
		t.Errorf("decisions (-want +got):\n%s", d)
	}
}

// TestConcurrentUpdate lets traffic and reloads run into each other, for the
// race detector.
func TestConcurrentUpdate(t *testing.T) {
	t.Parallel()
	m := metrics.New("")
	p := pool("web", "a")
	one := snapshot(map[route.ListenerName]*route.Pool{"front": p})
	none := &route.Snapshot{}
	m.Update(one)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			m.Update(none)
			m.Update(one)
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		l := m.Listener("front")
		lp := l.Pool(p)
		lp.Decided(0, idspace.FieldPSK, route.ByMint)
		lp.Skipped(idspace.FieldPSK, 1)
		lp.Resumed(p.Servers[0], route.ByMint, true)
		l.Refused("limit")
	}
	if got := scrape(t, m); len(got) == 0 {
		t.Error("nothing to scrape")
	}
}

// TestAllocations holds what a connection costs: nothing on the heap.
func TestAllocations(t *testing.T) {
	m := metrics.New("")
	p := pool("web", "a")
	m.Update(snapshot(map[route.ListenerName]*route.Pool{"front": p}))
	l := m.Listener("front")
	lp := l.Pool(p)
	allocs := testing.AllocsPerRun(1000, func() { connection(m, l, lp, p) })
	if allocs != 0 {
		t.Errorf("counting one connection allocates %v times; want 0", allocs)
	}
}

// connection counts what one connection counts.
func connection(m *metrics.Set, l *metrics.Listener, lp *metrics.Pool, p *route.Pool) {
	l.Accepted.Inc(0)
	l.Active.Add(0, 1)
	l.HelloSeconds.Observe(0, .002)
	l.HelloBytes.Observe(0, 700)
	lp.Decided(0, idspace.FieldPSK, route.ByMint)
	lp.Skipped(idspace.FieldSessionID, 1)
	m.ServerDialed(p.Servers[0], 0, time.Millisecond, nil)
	lp.Resumed(p.Servers[0], route.ByMint, true)
	l.BytesIn.Add(0, 700)
	l.BytesOut.Add(0, 4000)
	l.Ended(0, "done")
	l.Active.Add(0, -1)
}

func BenchmarkConnection(b *testing.B) {
	m := metrics.New("")
	p := pool("web", "a")
	m.Update(snapshot(map[route.ListenerName]*route.Pool{"front": p}))
	l := m.Listener("front")
	lp := l.Pool(p)
	b.ReportAllocs()
	for b.Loop() {
		connection(m, l, lp, p)
	}
}
