package route

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

// A decisionCase is one row of the decision's tables. The pool has servers a
// and b in group ab, c and d in group cd (which owns a space of its own), and
// e and f alone. Spaces: a, b, c, e, f, and cd.
type decisionCase struct {
	name    string
	pool    func(*PoolConfig)
	state   func(p *Pool)
	ids     []Candidate
	facts   func(f *Facts)
	exclude string // names of servers that were tried in vain

	want      string // names of the servers that may be chosen; "" for refused
	by        RoutedBy
	cause     Cause
	field     idspace.Field
	candidate int  // counted from 1; 0 for none
	overlay   bool // the candidate has no match: the learned list decided
	skipped   int
}

func sixServers() PoolConfig {
	return PoolConfig{
		Groups:       []GroupConfig{{Name: "ab"}, {Name: "cd"}},
		DrainTimeout: time.Hour,
		RandomIDs:    RandomRoute,
		Servers: []ServerConfig{
			server("a", inGroup("ab")), server("b", inGroup("ab")),
			server("c", inGroup("cd")), server("d", inGroup("cd")),
			server("e"), server("f"),
		},
	}
}

func down(names ...ServerName) func(*Pool) {
	return func(p *Pool) {
		for _, n := range names {
			p.Server(n).State.Up.Store(false)
		}
	}
}

func drain(since time.Duration, names ...ServerName) func(*Pool) {
	return func(p *Pool) {
		for _, n := range names {
			drainedFor(p.Server(n), since)
		}
	}
}

// fill puts every named server at its limit.
func fill(names ...ServerName) func(*Pool) {
	return func(p *Pool) {
		for _, n := range names {
			s := p.Server(n)
			s.limit = 3
			s.State.Conns.Store(3)
		}
	}
}

func all(fs ...func(*Pool)) func(*Pool) {
	return func(p *Pool) {
		for _, f := range fs {
			f(p)
		}
	}
}

func earlyData(f *Facts) { f.EarlyData, f.HasTicket = true, true }

func check(t *testing.T, cases []decisionCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := sixServers()
			cfg.Table = spaces(t, "a", "b", "c", "e", "f", "cd")
			if c.pool != nil {
				c.pool(&cfg)
			}
			p := newPool(t, cfg)
			if c.state != nil {
				c.state(p)
			}
			f := hello()
			if c.facts != nil {
				c.facts(f)
			}
			for n := range strings.FieldsSeq(c.exclude) {
				f.Exclude = append(f.Exclude, p.Server(ServerName(n)))
			}
			explained, steps := p.ExplainSteps(c.ids, f)
			picked := p.Pick(c.ids, f)
			for how, d := range map[string]Decision{"ExplainSteps": explained, "Pick": picked} {
				ok := d.Server == nil && c.want == "" || slices.Contains(strings.Fields(c.want), string(d.name()))
				if !ok || d.RoutedBy != c.by || d.Cause != c.cause {
					t.Errorf("%s: got server %q by %v, cause %s; want one of %q by %v, cause %s",
						how, d.name(), d.RoutedBy, d.Cause, c.want, c.by, c.cause)
				}
				match := c.candidate > 0 && !c.overlay
				if d.Field != c.field || d.Candidate != c.candidate-1 || d.HasMatch != match || d.Skipped != c.skipped {
					t.Errorf("%s: got field %v, candidate %d, match %v, %d skipped; want field %v, candidate %d, %d skipped",
						how, d.Field, d.Candidate+1, d.HasMatch, d.Skipped, c.field, c.candidate, c.skipped)
				}
			}
			if t.Failed() {
				t.Logf("steps:\n%s", strings.Join(steps, "\n"))
			}
		})
	}
}

func TestDecideByOwner(t *testing.T) {
	t.Parallel()
	check(t, []decisionCase{
		{
			name: "the owner", ids: []Candidate{psk("e:1")},
			want: "e", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "a group's own space: any member", ids: []Candidate{ticket("cd:1")},
			want: "c d", by: ByMint, cause: CauseOwner, field: idspace.FieldTicket, candidate: 1,
		},
		{
			name: "a group's own space: not a member that is down", ids: []Candidate{ticket("cd:1")}, state: down("c"),
			want: "d", by: ByMint, cause: CauseOwner, field: idspace.FieldTicket, candidate: 1,
		},
		{
			name: "a group's own space: a member at its limit is skipped", ids: []Candidate{ticket("cd:1")}, state: fill("d"),
			want: "c", by: ByMint, cause: CauseOwner, field: idspace.FieldTicket, candidate: 1,
		},
		{
			name: "a group's own space: a draining member only when there is no other", ids: []Candidate{psk("cd:1")},
			state: all(drain(time.Minute, "c"), down("d")),
			want:  "c", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "a group's own space: all at their limit", ids: []Candidate{ticket("cd:1")}, state: fill("c", "d"),
			by: ByRefused, cause: CauseLimit, field: idspace.FieldTicket, candidate: 1,
		},
		{
			name: "an owner at its limit is refused, never spilled", ids: []Candidate{psk("a:1")}, state: fill("a"),
			by: ByRefused, cause: CauseLimit, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "at its limit, a second candidate does not help", ids: []Candidate{psk("a:1"), ticket("e:1")}, state: fill("a"),
			by: ByRefused, cause: CauseLimit, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "weight zero never unmaps an ID", ids: []Candidate{psk("e:1")},
			pool: func(c *PoolConfig) { c.Servers[4].Weight = 0 },
			want: "e", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "weight zero never unmaps an ID, in a group neither", ids: []Candidate{psk("a:1")},
			pool: func(c *PoolConfig) { c.Servers[0].Weight = 0 },
			want: "a", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "draining never unmaps an ID", ids: []Candidate{psk("e:1")}, state: drain(59*time.Minute, "e"),
			want: "e", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "without drain_timeout a drain has no end", ids: []Candidate{psk("e:1")}, state: drain(1000*time.Hour, "e"),
			pool: func(c *PoolConfig) { c.DrainTimeout = 0 },
			want: "e", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "a draining member's psk goes to its partner", ids: []Candidate{psk("a:1")}, state: drain(time.Minute, "a"),
			want: "b", by: ByGroup, cause: CauseOwnerDraining, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "a draining member's ticket goes to its partner, whatever when_owner_down says", ids: []Candidate{ticket("a:1")},
			state: drain(time.Minute, "a"), pool: func(c *PoolConfig) { c.WhenOwnerDown = OwnerDownRefuse },
			want: "b", by: ByGroup, cause: CauseOwnerDraining, field: idspace.FieldTicket, candidate: 1,
		},
		{
			name: "a draining member's session ID, which would not be renewed, does not", ids: []Candidate{sessionID("a:1")},
			state: drain(time.Minute, "a"),
			want:  "a", by: ByMint, cause: CauseOwner, field: idspace.FieldSessionID, candidate: 1,
		},
		{
			name: "no partner: the draining owner", ids: []Candidate{psk("a:1")}, state: all(drain(time.Minute, "a"), down("b")),
			want: "a", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "the partner drains too: the owner", ids: []Candidate{psk("a:1")}, state: drain(time.Minute, "a", "b"),
			want: "a", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "the partner has weight zero and still takes the ticket", ids: []Candidate{psk("a:1")}, state: drain(time.Minute, "a"),
			pool: func(c *PoolConfig) { c.Servers[1].Weight = 0 },
			want: "b", by: ByGroup, cause: CauseOwnerDraining, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "the partner is at its limit: the owner", ids: []Candidate{psk("a:1")}, state: all(drain(time.Minute, "a"), fill("b")),
			want: "a", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
	})
}

func TestDecideWhenOwnerIsDown(t *testing.T) {
	t.Parallel()
	balance := func(c *PoolConfig) { c.WhenOwnerDown = OwnerDownBalance }
	refuse := func(c *PoolConfig) { c.WhenOwnerDown = OwnerDownRefuse }
	check(t, []decisionCase{
		{
			name: "group: the partner", ids: []Candidate{psk("a:1")}, state: down("a"),
			want: "b", by: ByGroup, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "group: a partner that drains still shares the state", ids: []Candidate{psk("a:1")},
			state: all(down("a"), drain(time.Minute, "b")),
			want:  "b", by: ByGroup, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "group: no partner is available", ids: []Candidate{psk("a:1")}, state: down("a", "b"),
			want: "c d e f", by: ByBalance, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "group: the partner is at its limit", ids: []Candidate{psk("a:1")}, state: all(down("a"), fill("b")),
			want: "c d e f", by: ByBalance, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "group: the owner has no group", ids: []Candidate{psk("e:1")}, state: down("e"),
			want: "a b c d f", by: ByBalance, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "group: every member of a group's own space is down", ids: []Candidate{psk("cd:1")}, state: down("c", "d"),
			want: "a b e f", by: ByBalance, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "balance", ids: []Candidate{psk("a:1")}, state: down("a"), pool: balance,
			want: "b c d e f", by: ByBalance, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "balance: nobody is left", ids: []Candidate{psk("a:1")}, state: down("a", "b", "c", "d", "e", "f"), pool: balance,
			by: ByRefused, cause: CauseNoServer, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "balance: all that is left is at its limit", ids: []Candidate{psk("e:1")}, pool: balance,
			state: all(down("a", "b", "c", "d", "e"), fill("f")),
			by:    ByRefused, cause: CauseLimit, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "refuse", ids: []Candidate{psk("a:1")}, state: down("a"), pool: refuse,
			by: ByRefused, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "a drain that timed out", ids: []Candidate{psk("a:1")}, state: drain(time.Hour, "a"),
			want: "b", by: ByGroup, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "a drain that timed out, refuse", ids: []Candidate{psk("e:1")}, state: drain(2*time.Hour, "e"), pool: refuse,
			by: ByRefused, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "connecting failed", ids: []Candidate{psk("a:1")}, exclude: "a",
			want: "b", by: ByGroup, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "connecting failed to both", ids: []Candidate{psk("a:1")}, exclude: "a b",
			want: "c d e f", by: ByBalance, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "connecting failed to a member of a group's own space", ids: []Candidate{psk("cd:1")}, exclude: "c",
			want: "d", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
	})
}

func TestDecideSeveralCandidates(t *testing.T) {
	t.Parallel()
	http := func(f *Facts) { f.Precedence = PreferFirst }
	check(t, []decisionCase{
		{
			name: "TLS: the first that has an owner", ids: []Candidate{psk("nobody"), psk("e:1"), ticket("f:1")},
			want: "e", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 2,
		},
		{
			name: "TLS: the first whose owner takes traffic", ids: []Candidate{psk("a:1"), psk("e:1"), psk("f:1")}, state: down("a"),
			want: "e", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 2,
		},
		{
			name: "TLS: when none does, the first decides", ids: []Candidate{ticket("a:1"), sessionID("e:1")}, state: down("a", "e"),
			want: "b", by: ByGroup, cause: CauseOwnerDown, field: idspace.FieldTicket, candidate: 1,
		},
		{
			name: "HTTP: the first that has an owner", ids: []Candidate{cookie("nobody"), cookie("e:1"), cookie("f:1")}, facts: http,
			want: "e", by: ByMint, cause: CauseOwner, field: idspace.FieldCookie, candidate: 2,
		},
		{
			name: "HTTP: its owner alive or not", ids: []Candidate{cookie("nobody"), cookie("a:1"), cookie("e:1")}, facts: http, state: down("a"),
			want: "b", by: ByGroup, cause: CauseOwnerDown, field: idspace.FieldCookie, candidate: 2,
		},
		{
			name: "an empty value is no candidate", ids: []Candidate{ticket(""), sessionID("e:1")},
			want: "e", by: ByMint, cause: CauseOwner, field: idspace.FieldSessionID, candidate: 2,
		},
	})
}

func TestDecideUnknownIDs(t *testing.T) {
	t.Parallel()
	refuse := func(c *PoolConfig) { c.UnknownIDs = UnknownRefuse }
	opening := func(f *Facts) { f.Opening = true }
	everybody := "a b c d e f"
	check(t, []decisionCase{
		{name: "no ID", want: everybody, by: ByBalance, cause: CauseNoID},
		{name: "an empty ID", ids: []Candidate{sessionID("")}, want: everybody, by: ByBalance, cause: CauseNoID},
		{
			name: "an ID of nobody", ids: []Candidate{psk("nobody")},
			want: everybody, by: ByBalance, cause: CauseUnknownID, field: idspace.FieldPSK,
		},
		{
			name: "without a table every ID is nobody's", ids: []Candidate{ticket("a:1")}, pool: func(c *PoolConfig) { c.Table = nil },
			want: everybody, by: ByBalance, cause: CauseUnknownID, field: idspace.FieldTicket,
		},
		{name: "no ID, refuse", pool: refuse, by: ByRefused, cause: CauseNoID},
		{
			name: "an ID of nobody, refuse", ids: []Candidate{psk("nobody")}, pool: refuse,
			by: ByRefused, cause: CauseUnknownID, field: idspace.FieldPSK,
		},
		{name: "no ID, refuse, but it may open a session", facts: opening, pool: refuse, want: everybody, by: ByBalance, cause: CauseNoID},
		{
			name: "an ID of nobody, refuse, but it may open a session", ids: []Candidate{psk("nobody")}, facts: opening, pool: refuse,
			want: everybody, by: ByBalance, cause: CauseUnknownID, field: idspace.FieldPSK,
		},
		{
			name: "an ID with an owner, refuse", ids: []Candidate{psk("a:1")}, pool: refuse,
			want: "a", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "new traffic passes over what is down, drains or has weight zero", want: "e f", by: ByBalance, cause: CauseNoID,
			state: all(down("a"), drain(0, "b", "c")), pool: func(c *PoolConfig) { c.Servers[3].Weight = 0 },
		},
		{name: "new traffic passes over limits", want: "f", by: ByBalance, cause: CauseNoID, state: fill("a", "b", "c", "d", "e")},
		{name: "all are at their limit", by: ByRefused, cause: CauseLimit, state: fill("a", "b", "c", "d", "e", "f")},
		{
			name: "all drain: a drain ends new traffic, whatever else there is", by: ByRefused, cause: CauseNoServer,
			state: drain(time.Minute, "a", "b", "c", "d", "e", "f"),
		},
		{name: "connecting failed", exclude: "a b c d f", want: "e", by: ByBalance, cause: CauseNoID},
		{name: "connecting failed everywhere", exclude: everybody, by: ByRefused, cause: CauseNoServer},
	})
}

func TestDecideEarlyData(t *testing.T) {
	t.Parallel()
	check(t, []decisionCase{
		{
			name: "the owner accepts it", ids: []Candidate{psk("a:1")}, facts: earlyData,
			want: "a", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "a draining owner gets its early data itself", ids: []Candidate{psk("a:1")}, facts: earlyData,
			state: drain(time.Minute, "a"),
			want:  "a", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "the owner is down: not to its partner", ids: []Candidate{psk("a:1")}, facts: earlyData, state: down("a"),
			want: "c d e f", by: ByBalance, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "the owner is down, balance: not to its partner", ids: []Candidate{psk("a:1")}, facts: earlyData, state: down("a"),
			pool: func(c *PoolConfig) { c.WhenOwnerDown = OwnerDownBalance },
			want: "c d e f", by: ByBalance, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "the owner is down, refuse", ids: []Candidate{psk("a:1")}, facts: earlyData, state: down("a"),
			pool: func(c *PoolConfig) { c.WhenOwnerDown = OwnerDownRefuse },
			by:   ByRefused, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "only its partner is left", ids: []Candidate{psk("a:1")}, facts: earlyData, state: down("a", "c", "d", "e", "f"),
			by: ByRefused, cause: CauseEarlyData, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "outside its group all are at their limit", ids: []Candidate{psk("a:1")}, facts: earlyData,
			state: all(down("a", "c", "d"), fill("e", "f")),
			by:    ByRefused, cause: CauseLimit, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "nobody at all is left", ids: []Candidate{psk("a:1")}, facts: earlyData, state: down("a", "b", "c", "d", "e", "f"),
			by: ByRefused, cause: CauseNoServer, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "an owner without a group: to anybody else", ids: []Candidate{psk("e:1")}, facts: earlyData, state: down("e"),
			want: "a b c d f", by: ByBalance, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "connecting to the owner failed: not to its partner", ids: []Candidate{psk("a:1")}, facts: earlyData, exclude: "a",
			want: "c d e f", by: ByBalance, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "not to the partner by way of a second identity", ids: []Candidate{psk("a:1"), psk("b:1")}, facts: earlyData,
			state: down("a"),
			want:  "c d e f", by: ByBalance, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "a second identity of a server outside the group", ids: []Candidate{psk("a:1"), psk("b:1"), psk("e:1")}, facts: earlyData,
			state: down("a"),
			want:  "e", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 3,
		},
		{
			name: "early data is bound to the first identity, whoever's it is", ids: []Candidate{psk("nobody"), psk("a:1")}, facts: earlyData,
			state: down("a"),
			want:  "b", by: ByGroup, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 2,
		},
		{
			name: "a group's own space has several owners", ids: []Candidate{psk("cd:1")}, facts: earlyData, state: down("c"),
			want: "d", by: ByMint, cause: CauseOwner, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "allow: the partner", ids: []Candidate{psk("a:1")}, facts: earlyData, state: down("a"),
			pool: func(c *PoolConfig) { c.EarlyData = EarlyAllow },
			want: "b", by: ByGroup, cause: CauseOwnerDown, field: idspace.FieldPSK, candidate: 1,
		},
		{
			name: "allow: the partner of a draining owner", ids: []Candidate{psk("a:1")}, facts: earlyData, state: drain(0, "a"),
			pool: func(c *PoolConfig) { c.EarlyData = EarlyAllow },
			want: "b", by: ByGroup, cause: CauseOwnerDraining, field: idspace.FieldPSK, candidate: 1,
		},
	})
}

// assigned gives server a the values of the first n of 65536 prefixes.
// A list is a learned list for tests.
