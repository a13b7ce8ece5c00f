package route

import (
	"slices"
	"strings"
	"testing"
)

func TestExplainSteps(t *testing.T) {
	t.Parallel()
	cfg := sixServers()
	cfg.Table = spaces(t, "a", "e")
	cfg.RandomIDs = RandomSkip
	p := newPool(t, cfg)
	down("a")(p)
	_, got := p.ExplainSteps([]Candidate{psk("nobody at all"), ticket("a:1"), sessionID("e:1")}, hello())
	want := []string{
		"candidate 1 psk 6e6f626f64792061.. (13 bytes): belongs to nobody",
		"candidate 2 ticket 613a31 (3 bytes): rule space of a, generation 0, belongs to server a",
		"server a is down",
		"candidate 3 session_id 653a31 (3 bytes): may be random, not looked up",
		"when_owner_down group, policy round-robin of group ab -> server b, routed by group, owner_down",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got steps\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestExplainChangesNothing(t *testing.T) {
	t.Parallel()
	for _, policy := range []Policy{RoundRobin, LeastConnections, RandomTwo, Hash} {
		cfg := sixServers()
		cfg.Policy = policy
		p := newPool(t, cfg)
		before := p.chooser.turn.Load()
		for range 10 {
			p.Explain(nil, hello())
			p.ExplainSteps(nil, hello())
		}
		if got := p.chooser.turn.Load(); got != before {
			t.Errorf("%v: Explain took %d turns", policy, got-before)
		}
		for _, s := range p.Servers {
			if n := s.State.Conns.Load(); n != 0 {
				t.Errorf("%v: Explain took %d connection slots of server %s", policy, n, s.Config.Name)
			}
		}
	}
}

func hotCases(t testing.TB) map[string]func() (*Pool, []Candidate, *Facts) {
	with := func(policy Policy, state func(*Pool), ids ...Candidate) func() (*Pool, []Candidate, *Facts) {
		return func() (*Pool, []Candidate, *Facts) {
			cfg := sixServers()
			cfg.Policy = policy
			cfg.Table = spaces(t, "a", "b", "c", "e", "f", "cd")
			p := newPool(t, cfg)
			if state != nil {
				state(p)
			}
			return p, ids, hello()
		}
	}
	return map[string]func() (*Pool, []Candidate, *Facts){
		"owner":             with(RoundRobin, nil, psk("e:1")),
		"owner, third":      with(RoundRobin, nil, psk("nobody"), ticket("nobody"), sessionID("e:1")),
		"group":             with(RoundRobin, nil, psk("cd:1")),
		"partner":           with(RoundRobin, down("a"), psk("a:1")),
		"round-robin":       with(RoundRobin, nil),
		"least-connections": with(LeastConnections, nil),
		"random-two":        with(RandomTwo, nil),
		"hash":              with(Hash, nil),
		"refused":           with(RoundRobin, down("a", "b", "c", "d", "e", "f")),
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	for name, setup := range hotCases(t) {
		p, ids, f := setup()
		if got := testing.AllocsPerRun(100, func() {
			if d := p.Pick(ids, f); d.Server != nil {
				d.Server.Release()
			}
		}); got != 0 {
			t.Errorf("Pick, %s: got %v allocations; want 0", name, got)
		}
		if got := testing.AllocsPerRun(100, func() { p.Explain(ids, f) }); got != 0 {
			t.Errorf("Explain, %s: got %v allocations; want 0", name, got)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for name, setup := range hotCases(b) {
		b.Run(name, func(b *testing.B) {
			p, ids, f := setup()
			b.ReportAllocs()
			for b.Loop() {
				if d := p.Pick(ids, f); d.Server != nil {
					d.Server.Release()
				}
			}
		})
	}
}
