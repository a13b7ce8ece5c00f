package route

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// poolOf returns a pool of servers a, b, c, ... with these weights.
func poolOf(t testing.TB, policy Policy, weights ...int) *Pool {
	t.Helper()
	cfg := PoolConfig{Policy: policy}
	for i, w := range weights {
		cfg.Servers = append(cfg.Servers, server(ServerName('a'+rune(i)), weight(w)))
	}
	return newPool(t, cfg)
}

// picks returns the names of the servers of n decisions for messages without
// an ID, whose connections end at once.
func picks(p *Pool, n int) string {
	var names strings.Builder
	for range n {
		d := p.Pick(nil, &Facts{Now: start()})
		names.WriteString(string(d.name()))
		if d.Server != nil {
			d.Server.Release()
		}
	}
	return names.String()
}

func TestRoundRobin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		weights []int
		down    string
		want    string // of one round
	}{
		{weights: []int{1, 1, 1}, want: "abc"},
		{weights: []int{7, 7}, want: "ab"},
		{weights: []int{1, 0, 1}, want: "ac"},
		{weights: []int{5, 1, 1}, want: "aaabcaa"},
		{weights: []int{2, 1}, want: "aba"},
		{weights: []int{4, 2}, want: "aba"},
		{weights: []int{3, 2, 1}, want: "abacba"},
		// What is down does not give its turns to a neighbour: the others
		// share them.
		{weights: []int{1, 1, 1}, down: "b", want: "acacac"},
		{weights: []int{1, 1, 1, 1}, down: "bc", want: "adadad"},
		{weights: []int{2, 1, 1}, down: "a", want: "bcbc"},
		{weights: []int{0, 0}, want: ""},
		{weights: []int{1, 1}, down: "ab", want: ""},
	} {
		p := poolOf(t, RoundRobin, c.weights...)
		for _, name := range c.down {
			down(ServerName(name))(p)
		}
		n := max(len(c.want), 1)
		if got, want := picks(p, 3*n), strings.Repeat(c.want, 3); got != want {
			t.Errorf("weights %v, %q down: got %s; want %s", c.weights, c.down, got, want)
		}
	}
}

// However weights lie, each server gets its share of each round, exactly, and
// at no time is more than a turn or so ahead or behind.
func TestScheduleIsSmoothAndExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(0, 60), 1, 8).Draw(t, "weights")
		var members []*Server
		var total, common int64
		for _, w := range weights {
			members = append(members, &Server{weight: int64(w)})
			total += int64(w)
			common = gcd(common, int64(w))
		}
		schedule := newSchedule(members)
		if total == 0 {
			if len(schedule) != 0 {
				t.Fatalf("without weights: got schedule %v; want none", schedule)
			}
			return
		}
		if want := total / common; int64(len(schedule)) != want {
			t.Fatalf("got a schedule of %d turns; want %d", len(schedule), want)
		}
		count := make([]int, len(weights))
		for turn, m := range schedule {
			count[m]++
			for i, w := range weights {
				due := float64(turn+1) * float64(w) / float64(total)
				if ahead := float64(count[i]) - due; ahead > float64(len(weights)) || ahead < -float64(len(weights)) {
					t.Fatalf("after %d turns server %d had %d; want about %.1f", turn+1, i, count[i], due)
				}
			}
		}
		for i, w := range weights {
			if int64(count[i]) != int64(w)/common {
				t.Fatalf("server %d has %d turns a round; want %d", i, count[i], int64(w)/common)
			}
		}
	})
}

func TestScheduleIsBounded(t *testing.T) {
	t.Parallel()
	heavy := []*Server{{weight: MaxWeight}, {weight: MaxWeight - 1}, {weight: 1}, {weight: 0}}
	schedule := newSchedule(heavy)
	if n := len(schedule); n > maxSchedule+len(heavy) {
		t.Errorf("got a schedule of %d turns; want at most about %d", n, maxSchedule)
	}
	for i, want := range []int{maxSchedule / 2, maxSchedule / 2, 1, 0} {
		n := 0
		for _, m := range schedule {
			if int(m) == i {
				n++
			}
		}
		if n < want || n > want+1 {
			t.Errorf("weight %d: got %d turns; want %d", heavy[i].weight, n, want)
		}
	}
	many := make([]*Server, MaxServers)
	for i := range many {
		many[i] = &Server{weight: int64(1 + i%7)}
	}
	if n := len(newSchedule(many)); n < MaxServers || n > 2*MaxServers {
		t.Errorf("%d servers: got a schedule of %d turns; want one each and little more", MaxServers, n)
	}
}

// beside calls hammer again and again in another goroutine until f returns,
// and f when hammer has begun.
func beside(hammer, f func()) {
	begun, done := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		hammer()
		close(begun)
		for {
			select {
			case <-done:
				return
			default:
				hammer()
			}
		}
	})
	<-begun
	f()
	close(done)
	wg.Wait()
}

// Other goroutines may take all the turns of the servers that are left.
func TestRoundRobinFindsTheOnlyServer(t *testing.T) {
	t.Parallel()
	p := poolOf(t, RoundRobin, 1, 1)
	down("a")(p)
	beside(func() { p.chooser.turn.Add(1) }, func() {
		for p.chooser.turn.Load() < 3_000_000 {
			d := p.Pick(nil, hello())
			if d.Server == nil {
				t.Errorf("got %v, %s; want server b", d.RoutedBy, d.Cause)
				return
			}
			d.Server.Release()
		}
	})
}

// The best server may reach its limit while it is chosen.
func TestLeastConnectionsTakesTheNextBest(t *testing.T) {
	t.Parallel()
	// The others give the hammer time between a look at a and the claim.
	p := newPool(t, PoolConfig{Policy: LeastConnections, Servers: append(named(100), server("a", limit(1), weight(9)))})
	a := p.Server("a")
	var full atomic.Int64
	beside(func() {
		if a.acquire() {
			full.Add(1)
			a.Release()
		}
	}, func() {
		for full.Load() < 300_000 {
			d := p.Pick(nil, hello())
			if d.Server == nil {
				t.Errorf("got %v, %s; want a server", d.RoutedBy, d.Cause)
				return
			}
			d.Server.Release()
		}
	})
}

func TestLeastConnections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		weights []int
		conns   []int64
		want    string // one of these
	}{
		{weights: []int{1, 1, 1}, conns: []int64{5, 3, 4}, want: "b"},
		{weights: []int{1, 1, 1}, conns: []int64{3, 3, 4}, want: "ab"},
		{weights: []int{2, 1}, conns: []int64{5, 3}, want: "a"}, // 6/2 < 4/1
		{weights: []int{2, 1}, conns: []int64{8, 3}, want: "b"}, // 9/2 > 4/1
		{weights: []int{3, 1}, conns: []int64{0, 0}, want: "a"}, // 1/3 < 1/1
		{weights: []int{0, 1}, conns: []int64{0, 9}, want: "b"},
	} {
		p := poolOf(t, LeastConnections, c.weights...)
		for i, n := range c.conns {
			p.Servers[i].State.Conns.Store(n)
		}
		if got := picks(p, 1); !strings.Contains(c.want, got) || got == "" {
			t.Errorf("weights %v, connections %v: got %s; want one of %s", c.weights, c.conns, got, c.want)
		}
	}
	if got, want := picks(poolOf(t, LeastConnections, 1, 1, 1), 6), "abcabc"; got != want {
		t.Errorf("idle servers: got %s; want each in its turn, %s", got, want)
	}
}

// Connections that stay are spread by weight.
func TestPoliciesSpreadByWeight(t *testing.T) {
	t.Parallel()
	const n = 6000
	for policy, slack := range map[Policy]int{RoundRobin: 0, LeastConnections: 1, RandomTwo: 60} {
		p := poolOf(t, policy, 1, 2, 3)
		for range n {
			p.Pick(nil, hello())
		}
		for i, s := range p.Servers {
			want := n * (i + 1) / 6
			if got := int(s.State.Conns.Load()); got < want-slack || got > want+slack {
				t.Errorf("%v: server of weight %d has %d of %d connections; want %d, give or take %d",
					policy, s.weight, got, n, want, slack)
			}
		}
	}
}

// Two draws are better than one: the longest queue stays short.
func TestRandomTwoAvoidsTheBusy(t *testing.T) {
	t.Parallel()
	p := poolOf(t, RandomTwo, 1, 1, 1)
	p.Servers[1].State.Conns.Store(1000)
	if got := picks(p, 500); strings.Contains(got, "b") {
		t.Errorf("the busiest of three was chosen %d times of 500; want never", strings.Count(got, "b"))
	}
	both := picks(p, 500)
	if a := strings.Count(both, "a"); a < 150 || a > 350 {
		t.Errorf("one of two idle servers got %d of 500; want about half", a)
	}
}

func TestRandomTwoFindsTheOnlyServer(t *testing.T) {
	t.Parallel()
	p := poolOf(t, RandomTwo, MaxWeight, 1)
	down("a")(p)
	if got, want := picks(p, 50), strings.Repeat("b", 50); got != want {
		t.Errorf("the light server is the only one: got %s; want it always", got)
	}
}

// A limit is exact however many ask at once, for every policy, for IDs, and
// for a group's own space.
func TestLimitsAreExact(t *testing.T) {
	t.Parallel()
	const goroutines, each, limitOf = 16, 40, 25
	for _, policy := range []Policy{RoundRobin, LeastConnections, RandomTwo, Hash} {
		for _, id := range []string{"", "a:1", "g:1"} {
			cfg := PoolConfig{
				Policy: policy,
				Groups: []GroupConfig{{Name: "g", Policy: policy}},
				Table:  spaces(t, "a", "g"),
			}
			for _, n := range []ServerName{"a", "b", "c"} {
				cfg.Servers = append(cfg.Servers, server(n, limit(limitOf), inGroup("g")))
			}
			p := newPool(t, cfg)
			var admitted, refused atomic.Int64
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					for i := range each {
						f := hello()
						f.Client = client(g*each + i)
						var ids []Candidate
						if id != "" {
							ids = []Candidate{psk(id)}
						}
						switch d := p.Pick(ids, f); {
						case d.Server != nil:
							admitted.Add(1)
						case d.Cause == CauseLimit:
							refused.Add(1)
						default:
							t.Errorf("%v, ID %q: got cause %s; want %s", policy, id, d.Cause, CauseLimit)
						}
					}
				})
			}
			wg.Wait()
			want := int64(3 * limitOf)
			if id == "a:1" {
				want = limitOf
			}
			if admitted.Load() != want || refused.Load() != goroutines*each-want {
				t.Errorf("%v, ID %q: got %d admitted, %d refused; want %d admitted and the others refused",
					policy, id, admitted.Load(), refused.Load(), want)
			}
			for _, s := range p.Servers {
				if n := s.State.Conns.Load(); n > limitOf {
					t.Errorf("%v, ID %q: server %s has %d connections; its limit is %d", policy, id, s.Config.Name, n, limitOf)
				}
			}
		}
	}
}

// With connections that come and go, the limit holds at each moment.
func TestLimitHoldsUnderChurn(t *testing.T) {
	t.Parallel()
	p := newPool(t, PoolConfig{Servers: []ServerConfig{server("a", limit(1))}})
	var inUse atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100_000 {
				d := p.Pick(nil, &Facts{})
				if d.Server == nil {
					continue
				}
				if n := inUse.Add(1); n > 1 {
					t.Errorf("%d connections; the limit is 1", n)
				}
				inUse.Add(-1)
				d.Server.Release()
			}
		})
	}
	wg.Wait()
	if n := p.Servers[0].State.Conns.Load(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// Hash without an address to hash must not send everybody to one server.
func TestHashWithoutAddress(t *testing.T) {
	t.Parallel()
	if got, want := picks(poolOf(t, Hash, 1, 1, 1), 6), "abcabc"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

// A group's members that all drain are still asked in the same order on
// every replica.
func TestHashAmongDrainingMembers(t *testing.T) {
	t.Parallel()
	cfg := PoolConfig{
		Groups: []GroupConfig{{Name: "g", Policy: Hash}},
		Table:  spaces(t, "g"), DrainTimeout: time.Hour,
	}
	for i := range 5 {
		cfg.Servers = append(cfg.Servers, server(ServerName(fmt.Sprint(i)), inGroup("g")))
	}
	seen := make(map[ServerName]bool)
	one, other := newPool(t, cfg), newPool(t, cfg)
	for _, p := range []*Pool{one, other} {
		drain(time.Minute, "0", "1", "2", "3", "4")(p)
	}
	for n := range 100 {
		f := hello()
		f.Client = client(n)
		a, b := one.Pick([]Candidate{psk("g:1")}, f), other.Pick([]Candidate{psk("g:1")}, f)
		if a.name() != b.name() || a.Server == nil {
			t.Fatalf("client %d: got %q on one replica and %q on the other", n, a.name(), b.name())
		}
		seen[a.name()] = true
	}
	if len(seen) != 5 {
		t.Errorf("100 clients used %v; want all five", slices.Sorted(maps.Keys(seen)))
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{3, 100, 1000} {
		for _, policy := range []Policy{RoundRobin, LeastConnections, RandomTwo, Hash} {
			b.Run(fmt.Sprintf("%v/%d", policy, n), func(b *testing.B) {
				p := poolOf(b, policy, slices.Repeat([]int{1}, n)...)
				f := hello()
				b.ReportAllocs()
				for b.Loop() {
					p.Pick(nil, f).Server.Release()
				}
			})
		}
	}
}
