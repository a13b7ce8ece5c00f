package webui

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/test/lab"
)

// crowd is a sample with n servers in pool web.
func crowd(n int) *Sample {
	s := &Sample{
		Balancer: "lb1", Ready: true, Listeners: []ListenerSample{{Name: "web", Address: "tls 0.0.0.0:443", Active: 5000}},
		Flows: []Flow{{Listener: "web", Pool: "web"}}, Pools: []PoolSample{{Name: "web"}},
	}
	for i := range n {
		s.Pools[0].Servers = append(s.Pools[0].Servers, ServerSample{
			Name: fmt.Sprintf("s%04d", i), Address: "10.0.0.1:443", Up: true, Weight: 1, Connections: int64(i), Mints: "4d4d0001c1f0aa317be2205d7f3b0041",
		})
	}
	return s
}

// busy makes the balancer of p decide in each interval.
func busy(p *plane, n int) {
	p.source.mu.Lock()
	defer p.source.mu.Unlock()
	p.source.sample = crowd(n)
	p.source.step = func(s *Sample) {
		f := &s.Flows[0].By
		f[ByMint] += 900 + f[ByMint]%97
		f[ByBalance] += 80 + f[ByMint]%31
		s.Pools[0].Offered += 900
		s.Pools[0].Accepted += 890
		s.Pools[0].ByChance += 9
		for i := range s.Pools[0].Servers {
			s.Pools[0].Servers[i].Connections++
		}
	}
}

// BenchmarkOverview measures what keeping the overview up to date costs with 100
// servers: one interval, with all that is done for it, API included. An interval
// is half a second, so 5 ms are one percent of a core.
func BenchmarkOverview(b *testing.B) {
	p := newPlane(b)
	p.pool("web", "ranges", numbered(100)...)
	busy(p, 100)
	for range keepSamples {
		p.ui.traffic.add(p.source.Sample())
	}
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "/live/overview", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.ui.traffic.add(p.source.Sample())
		p.ui.status.drop()
		p.ui.drawn.mu.Lock()
		p.ui.drawn.parts = nil
		p.ui.drawn.mu.Unlock()
		if _, err := p.ui.overviewParts(r); err != nil {
			b.Fatal(err)
		}
	}
}

// With 100 servers, a browser that watches the overview costs the control plane
// less than one percent of a core: all that the process does meanwhile is
// counted, the reading end of the stream too. It does not run beside other
// tests, whose work would count.
func TestOverviewIsCheap(t *testing.T) {
	p := newPlane(t)
	p.pool("web", "ranges", numbered(100)...)
	busy(p, 100)
	for range keepSamples {
		p.ui.traffic.add(p.source.Sample())
	}
	v := p.person(access.RoleAdmin, "ada")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+"/live/overview", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := v.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	updates := 0
	lines := bufio.NewReader(resp.Body)
	read := func(d time.Duration) (cpu, wall time.Duration) {
		t.Helper()
		began, used := time.Now(), cpuTime(t)
		for time.Since(began) < d {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "data: ") {
				updates++
			}
		}
		return cpuTime(t) - used, time.Since(began)
	}
	read(time.Second)
	updates = 0
	limit := 0.01
	if raceEnabled {
		limit *= 20 // what the race detector costs, and more
	}
	least := 1.0
	for range 5 { // the machine may be busy: the best is what it costs
		cpu, wall := read(4 * time.Second)
		share := cpu.Seconds() / wall.Seconds()
		t.Logf("watching the overview of 100 servers takes %.2f %% of a core, %d updates in %v", 100*share, updates, wall)
		if least = min(least, share); least < limit {
			break
		}
	}
	if least >= limit {
		t.Errorf("watching the overview of 100 servers takes %.2f %% of a core; want less than %.0f %%", 100*least, 100*limit)
	}
	if updates < 4 {
		t.Errorf("%d updates in 4 s", updates)
	}
}

// cpuTime is what the process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A change of the traffic is on the page within a second.
func TestOverviewIsLive(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.pool("web", "ranges", numbered(100)...)
	busy(p, 100)
	b := lab.StartBrowser(t, p.url)
	b.Open("/")
	b.Fill("#token", p.token(access.RoleAdmin, "", "ada"))
	b.Press("Log in")
	b.Open("/")
	b.Says(20*time.Second, "Live", "of 100")
	// The page itself says when it first showed the change: what asking it
	// costs is not counted.
	const active = 987654
	lab.Eval[bool](b, fmt.Sprintf(`(() => {
		const seen = () => { if (!window.seenAt && document.body.innerText.includes('%d')) window.seenAt = Date.now(); };
		new MutationObserver(seen).observe(document.body, {childList: true, subtree: true, characterData: true});
		return true;
	})()`, active))
	best := time.Hour
	for try := range 5 {
		lab.Eval[bool](b, "window.seenAt = 0; true")
		p.source.mu.Lock()
		next := crowd(100)
		next.Listeners[0].Active = active
		p.source.sample = next
		p.source.mu.Unlock()
		changed := time.Now()
		lab.Eventually(t, 20*time.Second, "the page shows the change", func() bool { return lab.Eval[float64](b, "window.seenAt || 0") > 0 })
		took := time.UnixMilli(int64(lab.Eval[float64](b, "window.seenAt"))).Sub(changed)
		t.Logf("try %d: the page showed the change after %v", try, took)
		if best = min(best, took); best < time.Second {
			break
		}
		busy(p, 100)
		lab.Eventually(t, 20*time.Second, "the page shows the state before", func() bool { return !strings.Contains(b.Text(), fmt.Sprint(active)) })
	}
	if best > time.Duration(float64(time.Second)*crowding(t)) {
		t.Errorf("the page showed a change after %v at best; want a second", best)
	}
}

// owners gives the plane a pool of n servers. Under the race detector to plan
// them takes minutes, and an API that only answers has to do.
func owners(t *testing.T, p *plane, n int) {
	t.Helper()
	p.source.set(crowd(n))
	if raceEnabled {
		pool := &mintmarkv1.Pool{Name: "web", Scheme: &mintmarkv1.Scheme{Kind: "ranges"}, Servers: numbered(n)}
		ro := &mintmarkv1.Rollout{Pool: "web"}
		for i, s := range pool.GetServers() {
			ro.Spaces = append(ro.Spaces, &mintmarkv1.Space{
				Owner: s.GetName(), Rule: fmt.Sprintf("range %08x-%08x", i<<12, i<<12+0xfff), ShareApproximate: 1 / float64(16*n), Phase: mintmarkv1.Phase_PHASE_ACKNOWLEDGED,
			})
		}
		ro.Spaces = append(ro.Spaces, &mintmarkv1.Space{Rule: "range 0c000000-1fffffff", ShareApproximate: 1. / 16})
		answer := &mintmarkv1.GetStatusResponse{Pools: []*mintmarkv1.Pool{pool}, Rollouts: []*mintmarkv1.Rollout{ro}}
		p.ui.cfg.Client = func(access.Identity) mintmarkv1connect.ControlServiceClient { return &onlyStatus{answer: answer} }
		return
	}
	p.pool("web", "ranges", numbered(n)...)
	lab.Eventually(t, time.Minute, "the balancer has acknowledged", func() bool {
		st, err := p.ui.status.get(t.Context())
		return err == nil && st.GetRollouts()[0].GetSpaces()[0].GetPhase() != mintmarkv1.Phase_PHASE_PREPARED
	})
}

// onlyStatus is an API that answers one call.
type onlyStatus struct {
	mintmarkv1connect.ControlServiceClient
	answer *mintmarkv1.GetStatusResponse
}

// GetStatus implements ControlServiceClient.
func (o *onlyStatus) GetStatus(context.Context, *connect.Request[mintmarkv1.GetStatusRequest]) (*connect.Response[mintmarkv1.GetStatusResponse], error) {
	return connect.NewResponse(o.answer), nil
}

// crowding is by how many the machine's processors are shared at the moment: what
// takes a second on a quiet machine takes so many on this one.
func crowding(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 1
	}
	load, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return max(1, load/float64(runtime.NumCPU()))
}

// The picture of 3,000 owners is made, sent, laid out and painted in less than a
// second, and stays readable.
func TestThreeThousandOwners(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	owners(t, p, 3000)
	b := lab.StartBrowser(t, p.url)
	b.Open("/")
	b.Fill("#token", p.token(access.RoleAdmin, "", "ada"))
	b.Press("Log in")
	best := time.Hour
	for try := range 6 {
		b.Open("/spaces/web")
		lab.Eval[bool](b, "requestAnimationFrame(() => requestAnimationFrame(() => { window.paintedAt = performance.now(); })); true")
		lab.Eventually(t, 20*time.Second, "it is painted", func() bool { return lab.Eval[float64](b, "window.paintedAt || 0") > 0 })
		took := time.Duration(lab.Eval[float64](b, "window.paintedAt") * float64(time.Millisecond))
		load := time.Duration(lab.Eval[float64](b, `performance.getEntriesByType('navigation')[0].loadEventEnd`) * float64(time.Millisecond))
		t.Logf("try %d: loaded after %v, painted at the latest after %v", try, load, took)
		best = min(best, took)
		if best < time.Second && try > 0 {
			break
		}
	}
	limit := time.Duration(float64(time.Second) * crowding(t))
	if raceEnabled {
		limit *= 8 // the server draws it under the race detector
	}
	if best > limit {
		t.Errorf("the picture of 3,000 owners takes %v at best; want %v", best, limit)
	}
	if n := lab.Eval[float64](b, "document.querySelectorAll('svg.space [data-first][data-owner]').length"); n != 3000 {
		t.Errorf("the picture has %v owners", n)
	}
	if w := lab.Eval[float64](b, "Math.min(...[...document.querySelectorAll('svg.space [data-first][data-owner]')].map((e) => e.getBoundingClientRect().width))"); w < 3 {
		t.Errorf("the narrowest part is %v pixels wide", w)
	}
	dir := os.Getenv(shots)
	for _, look := range []struct {
		name  string
		width int64
		dark  bool
	}{{"light-1280", 1280, false}, {"dark-1280", 1280, true}, {"light-400", 400, false}, {"dark-400", 400, true}} {
		b.Look(look.width, 900, look.dark)
		if look.dark == (look.width == 400) {
			for _, flaw := range lab.Eval[[]string](b, flaws) {
				t.Errorf("%s: %s", look.name, flaw)
			}
		}
		if dir != "" {
			save(t, filepath.Join(dir, "spaces-3000-"+look.name+".png"), b.Screenshot())
		}
	}
	// Looking one up shows it with its neighbours, wide enough to read.
	b.Look(1280, 900, false)
	b.Open("/spaces/web?owner=s1234")
	if text := b.TextOf("svg.space"); !strings.Contains(text, "s1234") {
		t.Errorf("the picture around s1234 says %q", text)
	}
}
