package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/idspace"
)

// This file decides a second time: slowly, with lists, and in the order and
// words of the package comment. It answers with every server that a policy may
// choose.

// A twin is a pool, a message, and what the package comment makes of them.
type twin struct {
	p    *Pool
	c    []Candidate
	f    *Facts
	held bool // the hello has early data that only its owner may accept
}

// An answer is a decision with all the servers it may have.
type answer struct {
	servers   []*Server
	by        RoutedBy
	cause     Cause
	candidate int
	field     idspace.Field
	skipped   int
}

func (w *twin) takesTraffic(s *Server) bool {
	if s.State.DrainSince.Load() != 0 || s.Config.Draining {
		since := s.State.DrainSince.Load()
		if since == 0 {
			since = s.drainSince
		}
		timeout := w.p.Config.DrainTimeout
		if timeout != 0 && !w.f.Now.Before(time.Unix(0, since).Add(timeout)) {
			return false
		}
	}
	return s.State.Up.Load() && !slices.Contains(w.f.Exclude, s)
}

func drains(s *Server) bool { return s.Config.Draining || s.State.DrainSince.Load() != 0 }

func (w *twin) takesNew(s *Server) bool {
	return w.takesTraffic(s) && s.Config.Weight > 0 && !drains(s)
}

func atLimit(s *Server) bool {
	return s.Config.MaxConnections > 0 && s.State.Conns.Load() >= int64(s.Config.MaxConnections)
}

func keep(servers []*Server, conditions ...func(*Server) bool) []*Server {
	var kept []*Server
	for _, s := range servers {
		if !slices.ContainsFunc(conditions, func(ok func(*Server) bool) bool { return !ok(s) }) {
			kept = append(kept, s)
		}
	}
	return kept
}

func not(f func(*Server) bool) func(*Server) bool { return func(s *Server) bool { return !f(s) } }

// owner returns the servers that own candidate i, none for an ID of nobody,
// and whether they own it as a group.
func (w *twin) owner(i int) (servers []*Server, asGroup bool) {
	name, _, found := strings.Cut(string(w.c[i].ID), ":")
	if !found || w.p.Config.Table == nil {
		return nil, false
	}
	for _, s := range w.p.Servers {
		if string(s.Config.Name) == name {
			return []*Server{s}, false
		}
	}
	return w.members(GroupName(name)), true
}

func (w *twin) members(g GroupName) []*Server {
	return keep(w.p.Servers, func(s *Server) bool { return g != "" && s.Config.Group == g })
}

// looked says whether candidate i is looked up.
func (w *twin) looked(i int) bool {
	if w.c[i].Field != idspace.FieldSessionID {
		return true
	}
	switch w.p.Config.RandomIDs {
	case RandomRoute:
		return true
	case RandomSkip:
		return false
	default: // the spaces of this file are small
		return true
	}
}

// mayAccept says whether s could accept early data that is bound to another.
func (w *twin) mayAccept(s *Server) bool {
	if !w.held {
		return false
	}
	for i, c := range w.c {
		if c.Field != idspace.FieldPSK {
			continue
		}
		own, asGroup := w.owner(i)
		if len(c.ID) == 0 || len(own) == 0 || asGroup {
			return false
		}
		return s != own[0] && s.Config.Group != "" && s.Config.Group == own[0].Config.Group
	}
	return false
}

// shared returns where an ID may go whose state these servers share: to one
// that takes new traffic, else to one that is good enough.
func (w *twin) shared(servers []*Server, goodEnough func(*Server) bool) []*Server {
	open := keep(servers, w.takesTraffic, not(atLimit), not(w.mayAccept))
	if best := keep(open, w.takesNew); len(best) > 0 {
		return best
	}
	return keep(open, goodEnough)
}

func (w *twin) decide() answer {
	a := answer{candidate: -1, by: ByRefused}
	absent := -1
	for i := range w.c {
		if len(w.c[i].ID) == 0 {
			continue
		}
		if !w.looked(i) {
			a.skipped++
			continue
		}
		if a.field == idspace.FieldNone {
			a.field = w.c[i].Field
		}
		own, asGroup := w.owner(i)
		if len(own) == 0 && !asGroup {
			continue
		}
		if len(keep(own, w.takesTraffic, not(w.mayAccept))) > 0 {
			w.toOwner(i, own, asGroup, &a)
			return a
		}
		if absent < 0 {
			absent = i
		}
		if w.f.Precedence == PreferFirst {
			break
		}
	}
	if absent >= 0 {
		w.ownerDown(absent, &a)
		return a
	}
	refuses := w.p.Config.UnknownIDs == UnknownRefuse && !w.f.Opening
	if !refuses {
		w.balance(&a)
	}
	if len(a.servers) > 0 || refuses {
		a.cause = CauseUnknownID
		if a.field == idspace.FieldNone {
			a.cause = CauseNoID
		}
	}
	return a
}

func (w *twin) toOwner(i int, own []*Server, asGroup bool, a *answer) {
	a.candidate, a.field = i, w.c[i].Field
	anyone := func(*Server) bool { return true }
	if asGroup {
		a.servers, a.by, a.cause = w.shared(own, anyone), ByMint, CauseOwner
	} else {
		s := own[0]
		isTicket := a.field == idspace.FieldPSK || a.field == idspace.FieldTicket
		if drains(s) && isTicket {
			a.servers, a.by, a.cause = w.shared(w.members(s.Config.Group), not(drains)), ByGroup, CauseOwnerDraining
		}
		if len(a.servers) == 0 {
			a.servers, a.by, a.cause = keep(own, not(atLimit)), ByMint, CauseOwner
		}
	}
	if len(a.servers) == 0 {
		a.by, a.cause = ByRefused, CauseLimit
	}
}

func (w *twin) ownerDown(i int, a *answer) {
	a.candidate, a.field = i, w.c[i].Field
	own, _ := w.owner(i)
	switch w.p.Config.WhenOwnerDown {
	case OwnerDownRefuse:
		a.cause = CauseOwnerDown
		return
	case OwnerDownGroup:
		if len(own) > 0 {
			a.servers = w.shared(w.members(own[0].Config.Group), func(*Server) bool { return true })
		}
		if len(a.servers) > 0 {
			a.by, a.cause = ByGroup, CauseOwnerDown
			return
		}
	case OwnerDownBalance:
	}
	if w.balance(a); len(a.servers) > 0 {
		a.cause = CauseOwnerDown
	}
}

func (w *twin) balance(a *answer) {
	candidates := keep(w.p.Servers, w.takesNew)
	allowed := keep(candidates, not(w.mayAccept))
	a.servers, a.by = keep(allowed, not(atLimit)), ByBalance
	if len(a.servers) > 0 {
		return
	}
	a.by = ByRefused
	switch {
	case len(allowed) > 0:
		a.cause = CauseLimit
	case len(candidates) > 0:
		a.cause = CauseEarlyData
	default:
		a.cause = CauseNoServer
	}
}

// drawTwin draws a pool in some state and a message. The table is made outside,
// because it does not change.
func drawTwin(t *rapid.T, table *idspace.Table) *twin {
	cfg := PoolConfig{
		Name:          "web",
		Policy:        rapid.SampledFrom([]Policy{RoundRobin, LeastConnections, RandomTwo, Hash}).Draw(t, "policy"),
		WhenOwnerDown: rapid.SampledFrom([]WhenOwnerDown{OwnerDownGroup, OwnerDownGroup, OwnerDownBalance, OwnerDownRefuse}).Draw(t, "when_owner_down"),
		UnknownIDs:    rapid.SampledFrom([]UnknownIDs{UnknownBalance, UnknownBalance, UnknownRefuse}).Draw(t, "unknown_ids"),
		RandomIDs:     rapid.SampledFrom([]RandomIDs{RandomAuto, RandomRoute, RandomSkip}).Draw(t, "random_ids"),
		EarlyData:     rapid.SampledFrom([]EarlyData{EarlyOwnerOnly, EarlyAllow}).Draw(t, "early_data"),
		DrainTimeout:  rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "drain_timeout"),
		Table:         table,
	}
	for _, g := range []GroupName{"g1", "g2"} {
		cfg.Groups = append(cfg.Groups, GroupConfig{Name: g, Policy: rapid.SampledFrom([]Policy{RoundRobin, LeastConnections, RandomTwo, Hash}).Draw(t, "group policy")})
	}
	for i := range 5 {
		cfg.Servers = append(cfg.Servers, server(ServerName(fmt.Sprintf("s%d", i)),
			weight(rapid.SampledFrom([]int{1, 1, 3, 0}).Draw(t, "weight")),
			limit(rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "limit")),
			inGroup(rapid.SampledFrom([]GroupName{"", "g1", "g2"}).Draw(t, "group"))))
	}
	p, err := NewPool(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &twin{p: p, f: &Facts{
		Client:      client(rapid.IntRange(0, 9).Draw(t, "client")),
		OffersTLS13: rapid.Bool().Draw(t, "TLS 1.3"),
		HasTicket:   rapid.Bool().Draw(t, "ticket"),
		EarlyData:   rapid.Bool().Draw(t, "early data"),
		Now:         start(),
		Precedence:  rapid.SampledFrom([]Precedence{PreferLive, PreferFirst}).Draw(t, "precedence"),
		Opening:     rapid.Bool().Draw(t, "opening"),
	}}
	for _, s := range p.Servers {
		s.State.Up.Store(rapid.IntRange(0, 3).Draw(t, "up") > 0)
		s.State.Conns.Store(int64(rapid.IntRange(0, 2).Draw(t, "connections")))
		switch rapid.IntRange(0, 4).Draw(t, "drain") {
		case 0:
			drainedFor(s, time.Minute)
		case 1:
			drainedFor(s, 2*time.Hour)
		}
		if rapid.IntRange(0, 7).Draw(t, "exclude") == 0 {
			w.f.Exclude = append(w.f.Exclude, s)
		}
	}
	id := rapid.SampledFrom([]string{"s0:1", "s1:1", "s2:1", "s3:1", "s4:1", "g1:1", "g2:1", "nobody", ""})
	fields := rapid.SliceOfN(rapid.SampledFrom([]idspace.Field{idspace.FieldPSK, idspace.FieldTicket, idspace.FieldSessionID}), 0, 4).Draw(t, "fields")
	slices.Sort(fields) // their order in a hello
	for _, field := range fields {
		w.c = append(w.c, Candidate{Field: field, ID: []byte(id.Draw(t, "id"))})
	}
	w.held = w.f.EarlyData && cfg.EarlyData == EarlyOwnerOnly
	return w
}

func TestDecideIsItsTwin(t *testing.T) {
	t.Parallel()
	table := spaces(t, "s0", "s1", "s2", "s3", "s4", "g1", "g2")
	rapid.Check(t, func(t *rapid.T) {
		w := drawTwin(t, table)
		want := w.decide()
		conns := func() (n []int64) {
			for _, s := range w.p.Servers {
				n = append(n, s.State.Conns.Load())
			}
			return n
		}
		compare := func(how string, d Decision) {
			ok := len(want.servers) == 0 && d.Server == nil || slices.Contains(want.servers, d.Server)
			if !ok || d.RoutedBy != want.by || d.Cause != want.cause || d.Candidate != want.candidate ||
				d.Field != want.field || d.Skipped != want.skipped || d.HasMatch != (want.candidate >= 0) {
				t.Fatalf("%s: got %+v; want %+v", how, d, want)
			}
		}
		before := conns()
		explained := w.p.Explain(w.c, w.f)
		compare("Explain", explained)
		stepped, _ := w.p.ExplainSteps(w.c, w.f)
		compare("ExplainSteps", stepped)
		if got := conns(); !slices.Equal(got, before) {
			t.Fatalf("Explain changed connections from %v to %v", before, got)
		}
		picked := w.p.Pick(w.c, w.f)
		compare("Pick", picked)
		random := w.p.Config.Policy == RandomTwo || w.p.Config.Groups[0].Policy == RandomTwo || w.p.Config.Groups[1].Policy == RandomTwo
		if !random && picked.Server != explained.Server {
			t.Fatalf("Explain said %s and Pick chose %s", explained.name(), picked.name())
		}
		if picked.Server != nil {
			before[picked.Server.Index]++
		}
		if got := conns(); !slices.Equal(got, before) {
			t.Fatalf("Pick changed connections to %v; want %v", got, before)
		}
	})
}
