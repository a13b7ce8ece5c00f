package learn

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/probe"
	"github.com/mintmark/mintmark/internal/route"
)

// poolOf returns a pool of servers a, b and c; b and c are a group. Each has a
// prefix, its name four times; fields binds the rules.
func poolOf(t *testing.T, fields idspace.FieldSet, change func(*route.PoolConfig)) *route.Pool {
	t.Helper()
	cfg := route.PoolConfig{Name: "p", Groups: []route.GroupConfig{{Name: "g"}}}
	var rules []idspace.Rule
	for _, name := range []string{"a", "b", "c"} {
		s := route.ServerConfig{Name: route.ServerName(name), Address: route.Address{Network: "tcp", Host: "127.0.0.1", Port: 1}, Weight: 1}
		if name != "a" {
			s.Group = "g"
		}
		cfg.Servers = append(cfg.Servers, s)
		rules = append(rules, idspace.Rule{Owner: idspace.Owner(name), Fields: fields, Bits: idspace.Prefix(name + name + name + name)})
	}
	table, err := idspace.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Table = table
	if change != nil {
		change(&cfg)
	}
	p, err := route.NewPool(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestForeignMints(t *testing.T) {
	t.Parallel()
	ticket, sid, psk := idspace.FieldTicket, idspace.FieldSessionID, idspace.FieldPSK
	type mint struct {
		server route.ServerName
		field  idspace.Field
		id     string
	}
	tests := []struct {
		name   string
		fields idspace.FieldSet
		change func(*route.PoolConfig)
		mints  []mint
		want   map[route.ServerName]uint64
	}{
		{"own space", 0, nil, []mint{{"a", ticket, "aaaa1"}, {"b", ticket, "bbbb1"}}, nil},
		{"another's space", 0, nil, []mint{{"a", ticket, "bbbb1"}, {"a", ticket, "bbbb2"}}, map[route.ServerName]uint64{"a": 2}},
		{"nobody's space", 0, nil, []mint{{"a", ticket, "xxxx1"}}, map[route.ServerName]uint64{"a": 1}},
		{"a partner's space", 0, nil, []mint{{"b", ticket, "cccc1"}, {"c", ticket, "bbbb1"}}, nil},
		{"a stranger in the space of a group", 0, nil, []mint{{"a", ticket, "cccc1"}}, map[route.ServerName]uint64{"a": 1}},
		{"a field without a rule", idspace.Fields(psk), nil, []mint{{"a", ticket, "xxxx1"}, {"a", sid, "xxxx1"}}, nil},
		{"random session IDs are no sign of anything", 0, nil, []mint{{"a", sid, "xxxx1"}, {"a", sid, "bbbb1"}}, nil},
		{
			"but they are from one that minted in its space before", 0, nil,
			[]mint{{"a", sid, "aaaa1"}, {"a", sid, "xxxx1"}},
			map[route.ServerName]uint64{"a": 1},
		},
		{"and from one with a space for them", idspace.Fields(sid), nil, []mint{{"a", sid, "xxxx1"}}, map[route.ServerName]uint64{"a": 1}},
		{
			"what was read off the servers is not held against them", 0,
			func(c *route.PoolConfig) { c.Discovered = true },
			[]mint{{"a", ticket, "xxxx1"}},
			nil,
		},
		{"a pool without spaces", 0, func(c *route.PoolConfig) { c.Table = nil }, []mint{{"a", ticket, "xxxx1"}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := poolOf(t, tt.fields, tt.change)
			counted := make(map[route.ServerName]uint64)
			w := NewWatch(WatchConfig{Foreign: func(s *route.Server, _ idspace.Field) { counted[s.Config.Name]++ }})
			for _, m := range tt.mints {
				w.Minted(p.Server(m.server), m.field, []byte(m.id), true)
			}
			for _, s := range p.Servers {
				name := s.Config.Name
				n, examples := w.Foreign("p", name)
				if n != tt.want[name] || counted[name] != tt.want[name] || len(examples) != int(n) {
					t.Errorf("server %s: %d foreign mints, %d counted, examples %v; want %d", name, n, counted[name], examples, tt.want[name])
				}
			}
		})
	}
}

// A server that goes wrong fills neither the memory nor the log.
func TestForeignMintsAreBounded(t *testing.T) {
	t.Parallel()
	p := poolOf(t, 0, nil)
	w := NewWatch(WatchConfig{})
	for i := range 1000 {
		w.Minted(p.Server("a"), idspace.FieldTicket, fmt.Appendf(nil, "%08d-and-more", i), true)
	}
	n, examples := w.Foreign("p", "a")
	if n != 1000 || len(examples) != maxExamples {
		t.Errorf("%d counted, %d examples; want 1000 and %d", n, len(examples), maxExamples)
	}
	if want := fmt.Sprintf("%x", "00000999"); examples[maxExamples-1].Mark != want {
		t.Errorf("the last example is %s; want %s, and no more of the ID", examples[maxExamples-1].Mark, want)
	}
	w.Update(&route.Snapshot{})
	if n, _ := w.Foreign("p", "a"); n != 0 {
		t.Error("a server that is gone is remembered")
	}
}

func TestProbedTicketsAreChecked(t *testing.T) {
	t.Parallel()
	p := poolOf(t, 0, nil)
	w := NewWatch(WatchConfig{})
	result := func(id string) *probe.Result {
		return &probe.Result{Samples: []probe.Sample{
			{Tickets: []probe.Ticket{{ID: []byte(id), Version: tls13}, {ID: []byte(id), Version: tls13}}},
			{Tickets: []probe.Ticket{{ID: []byte(id), Version: 0x0303}}},
		}}
	}
	w.Probed(p.Server("a"), result("aaaa1"))
	w.Probed(p.Server("b"), result("aaaa1"))
	if n, _ := w.Foreign("p", "a"); n != 0 {
		t.Errorf("a mints its own and has %d foreign mints", n)
	}
	if n, _ := w.Foreign("p", "b"); n != 2 {
		t.Errorf("b mints as a, and has %d foreign mints; want one a version", n)
	}
}

// The log has a line when foreign mints begin and when they change, and at
// most one a minute; not one for each.
func TestForeignMintsAreLoggedOncePerChange(t *testing.T) {
	t.Parallel()
	p := poolOf(t, 0, nil)
	var out strings.Builder
	c := &clock{time.Unix(1_700_000_000, 0)}
	w := NewWatch(WatchConfig{Logger: slog.New(slog.NewTextHandler(&out, nil)), Now: c.now})
	mint := func(n int, id string) {
		for i := range n {
			w.Minted(p.Server("a"), idspace.FieldTicket, fmt.Appendf(nil, "%s-and-more-%d", id, i), true)
		}
	}
	for _, step := range []struct {
		id    string
		lines int // in all
		want  string
	}{
		{"bbbb-key", 1, "owner_of_mark=b"}, // it begins
		{"cccc-key", 1, ""},                // too soon for another line
	} {
		mint(1000, step.id)
		if got := strings.Count(out.String(), "\n"); got != step.lines || !strings.Contains(out.String(), step.want) {
			t.Errorf("after %s: %d lines; want %d with %q:\n%s", step.id, got, step.lines, step.want, &out)
		}
	}
	c.t = c.t.Add(time.Hour)
	mint(1000, "cccc-key")
	if got := strings.Count(out.String(), "\n"); got != 2 || !strings.Contains(out.String(), "owner_of_mark=c") {
		t.Errorf("an hour later: %d lines; want 2, one a change:\n%s", got, &out)
	}
	c.t = c.t.Add(time.Hour)
	mint(1000, "cccc-key") // no news
	if got := strings.Count(out.String(), "\n"); got != 2 {
		t.Errorf("two hours later: %d lines; want the same 2:\n%s", got, &out)
	}
}

// told is what a Watch tells the discovery.
type told struct {
	kicks    []route.ServerName
	accepted []string
}

func (f *told) Kick(_ route.PoolName, s route.ServerName) { f.kicks = append(f.kicks, s) }
func (f *told) Accepted(_ route.PoolName, s route.ServerName, id []byte) {
	f.accepted = append(f.accepted, string(s)+":"+string(id))
}

func TestResumedTeachesNames(t *testing.T) {
	t.Parallel()
	p := poolOf(t, 0, func(c *route.PoolConfig) { c.Discovered = true })
	var got told
	w := NewWatch(WatchConfig{Names: &got})
	a := p.Server("a")
	w.Resumed(a, route.ByMint, idspace.FieldPSK, nil, true)                       // as it should be
	w.Resumed(a, route.ByMint, idspace.FieldPSK, nil, false)                      // its name may have changed
	w.Resumed(a, route.ByBalance, idspace.FieldPSK, []byte("new-name"), false)    // says nothing
	w.Resumed(a, route.ByBalance, idspace.FieldPSK, []byte("new-name"), true)     // a ticket of an unknown name
	w.Resumed(a, route.ByBalance, idspace.FieldSessionID, []byte("random"), true) // no name
	if fmt.Sprint(got.kicks) != "[a]" || fmt.Sprint(got.accepted) != "[a:new-name]" {
		t.Errorf("got %+v", got)
	}
	// In a pool with spaces of its own, a probe shows who mints what it should
	// not; names are not learned there.
	configured := poolOf(t, 0, nil).Server("b")
	w.Resumed(configured, route.ByMint, idspace.FieldPSK, nil, false)
	w.Resumed(configured, route.ByBalance, idspace.FieldPSK, []byte("new-name"), true)
	if fmt.Sprint(got.kicks) != "[a b]" || fmt.Sprint(got.accepted) != "[a:new-name]" {
		t.Errorf("of a configured pool: got %+v", got)
	}
}

func TestMintedTeachesTheList(t *testing.T) {
	t.Parallel()
	list := New(Config{MaxEntries: 100, Lifetime: time.Hour})
	p := poolOf(t, 0, func(c *route.PoolConfig) { c.Learned = list })
	w := NewWatch(WatchConfig{})
	sid := idspace.FieldSessionID
	w.Minted(p.Server("b"), sid, []byte("random"), true)
	w.Minted(p.Server("b"), sid, []byte("aaaa-of-a"), true)  // a rule knows better
	w.Minted(p.Server("b"), sid, []byte("cut short"), false) // another ID may begin like it
	for id, want := range map[string]route.ServerName{"random": "b", "aaaa-of-a": "", "cut short": ""} {
		if got, _ := list.Server(sid, []byte(id)); got != want {
			t.Errorf("%q: learned %q; want %q", id, got, want)
		}
	}
}

// The list is an overlay: whatever it holds, what the rules decide stays.
func TestFloodedListChangesNoRule(t *testing.T) {
	t.Parallel()
	list := New(Config{MaxEntries: 1000, Lifetime: time.Hour})
	p := poolOf(t, 0, func(c *route.PoolConfig) { c.Learned = list })
	sid := idspace.FieldSessionID
	for i := range 100_000 {
		list.Learn(sid, fmt.Appendf(nil, "xxxx%08d", i), "c")
	}
	list.Learn(sid, []byte("aaaa-owned"), "c")
	for id, want := range map[string]string{
		"aaaa-owned":   "a mint",    // although the list says c
		"aaaa-other":   "a mint",    // the list does not know it
		"xxxx00099999": "c learned", // no rule does
	} {
		d := p.Explain([]route.Candidate{{Field: sid, ID: []byte(id)}}, &route.Facts{})
		if got := fmt.Sprint(d.Server.Config.Name, " ", d.RoutedBy); got != want {
			t.Errorf("%s: got %s; want %s", id, got, want)
		}
	}
}
