package route

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

func TestNewPoolErrors(t *testing.T) {
	t.Parallel()
	for says, cfg := range map[string]PoolConfig{
		"server 0 has no name":                    {Servers: []ServerConfig{server("")}},
		"two servers a":                           {Servers: []ServerConfig{server("a"), server("a")}},
		"two groups g":                            {Groups: []GroupConfig{{Name: "g"}, {Name: "g"}}},
		"a group has no name":                     {Groups: []GroupConfig{{}}},
		"server g has the name of a group":        {Groups: []GroupConfig{{Name: "g"}}, Servers: []ServerConfig{server("g")}},
		"is in group g, which does not exist":     {Servers: []ServerConfig{server("a", inGroup("g"))}},
		"weight -1 is not from 0 to 65535":        {Servers: []ServerConfig{server("a", weight(-1))}},
		"weight 65536 is not":                     {Servers: []ServerConfig{server("a", weight(65536))}},
		"connection limit -1 is negative":         {Servers: []ServerConfig{server("a", limit(-1))}},
		"drain timeout -1s is negative":           {DrainTimeout: -time.Second},
		"belongs to ghost, which is no server or": {Table: spaces(t, "a", "ghost"), Servers: []ServerConfig{server("a")}},
		"16385 servers are more than 16384":       {Servers: named(MaxServers + 1)},
	} {
		p, err := NewPool(cfg, nil)
		if err == nil || p != nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got pool %v, error %v; want an error with %q", p, err, says)
		}
	}
	_, err := NewPool(PoolConfig{
		Name:    "web",
		Servers: []ServerConfig{server("a", weight(-1)), server("a", limit(-1))},
	}, nil)
	for _, part := range []string{"pool web", "weight -1", "two servers a", "limit -1"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got error %v; want all problems, %q among them", err, part)
		}
	}
}

func TestNewPoolKeepsState(t *testing.T) {
	t.Parallel()
	cfg := PoolConfig{
		Name: "web", Groups: []GroupConfig{{Name: "g"}},
		Servers: []ServerConfig{server("a"), server("b", inGroup("g")), server("c", inGroup("g"))},
	}
	before := newPool(t, cfg)
	before.Server("b").State.Up.Store(false)
	d := before.Pick(nil, hello()) // a, and the first turn is over

	cfg.Servers = []ServerConfig{server("new"), server("b", weight(5), inGroup("g")), server("a"), server("c", inGroup("g"))}
	after, err := NewPool(cfg, before)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []ServerName{"a", "b", "c"} {
		if after.Server(name).State != before.Server(name).State {
			t.Errorf("server %s has lost its State", name)
		}
	}
	if after.Server("new").State == nil || !after.Server("new").State.Up.Load() {
		t.Error("a new server is not up")
	}
	if after.Server("b").State.Up.Load() {
		t.Error("a server that was down is up after a reload")
	}
	if n := after.Server("a").State.Conns.Load(); n != 1 {
		t.Errorf("after a reload server a has %d connections; want 1", n)
	}
	d.Server.Release() // of the pool before
	if n := after.Server("a").State.Conns.Load(); n != 0 {
		t.Errorf("after the release server a has %d connections; want 0", n)
	}
	if after.chooser.turn != before.chooser.turn || after.groups["g"].chooser.turn != before.groups["g"].chooser.turn {
		t.Error("the policies have begun again")
	}
}

// A server that was tried before a reload stays tried after it.
func TestExcludeOutlivesReload(t *testing.T) {
	t.Parallel()
	cfg := PoolConfig{Name: "web", Servers: []ServerConfig{server("a")}}
	before := newPool(t, cfg)
	after, err := NewPool(cfg, before)
	if err != nil {
		t.Fatal(err)
	}
	f := hello()
	f.Exclude = []*Server{before.Server("a")}
	if d := after.Pick(nil, f); d.Cause != CauseNoServer {
		t.Errorf("got server %q, cause %s; want cause %s", d.name(), d.Cause, CauseNoServer)
	}
}

// A configured drain begins when it is first configured, and a pool that is
// thrown away leaves no trace.
func TestDrainAcrossReloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		cfg := PoolConfig{Name: "web", DrainTimeout: time.Hour, Table: spaces(t, "a"), Servers: []ServerConfig{server("a", draining), server("b")}}
		p := newPool(t, cfg)
		reload := func(change func(*ServerConfig)) *Pool {
			next := cfg
			next.Servers = []ServerConfig{server("a", change), server("b")}
			q, err := NewPool(next, p)
			if err != nil {
				t.Fatal(err)
			}
			return q
		}
		time.Sleep(40 * time.Minute)
		p = reload(draining)
		if since, ok := p.Server("a").DrainingSince(); !ok || !since.Equal(began) {
			t.Errorf("after a reload: draining since %v, %v; want %v", since, ok, began)
		}
		a := p.Server("a")
		if !a.TakesTraffic(time.Now()) || a.TakesNewTraffic(time.Now()) {
			t.Error("a draining server must take traffic and no new traffic")
		}
		reload(func(*ServerConfig) {}) // and thrown away
		if since, ok := a.DrainingSince(); !ok || !since.Equal(began) {
			t.Errorf("after a reload that was thrown away: draining since %v, %v; want %v", since, ok, began)
		}
		time.Sleep(20 * time.Minute)
		if a.TakesTraffic(time.Now()) {
			t.Error("at the end of drain_timeout the server still takes traffic")
		}
		if d := p.Pick([]Candidate{psk("a:1")}, &Facts{Now: time.Now()}); d.name() != "b" || d.Cause != CauseOwnerDown {
			t.Errorf("at the end of drain_timeout: got server %q, cause %s; want b, %s", d.name(), d.Cause, CauseOwnerDown)
		}
		p = reload(func(*ServerConfig) {})
		if _, ok := p.Server("a").DrainingSince(); ok || !p.Server("a").TakesNewTraffic(time.Now()) {
			t.Error("the drain was taken back, and the server does not take new traffic")
		}
		p = reload(draining)
		if since, _ := p.Server("a").DrainingSince(); !since.Equal(time.Now()) {
			t.Errorf("a second drain began at %v; want %v", since, time.Now())
		}
	})
}

// A space of a function's server numbers is an owner as any other.
func TestPoolOfFunction(t *testing.T) {
	t.Parallel()
	table, err := idspace.CompileFunction(firstByte{}, map[uint32]idspace.Owner{1: "a", 2: "b"})
	if err != nil {
		t.Fatal(err)
	}
	p := newPool(t, PoolConfig{Table: table, Servers: []ServerConfig{server("a"), server("b")}})
	for id, want := range map[string]ServerName{"\x01x": "a", "\x02x": "b"} {
		d, steps := p.ExplainSteps([]Candidate{psk(id)}, hello())
		if d.name() != want || d.RoutedBy != ByMint {
			t.Errorf("ID %x: got server %q by %v; want %q by mint", id, d.name(), d.RoutedBy, want)
		}
		if len(steps) == 0 || !strings.Contains(steps[0], fmt.Sprintf("function, generation 3, belongs to server %s", want)) {
			t.Errorf("ID %x: got steps %q", id, steps)
		}
	}
	if d := p.Explain([]Candidate{psk("\x03x")}, hello()); d.Cause != CauseUnknownID {
		t.Errorf("a server number that nobody has: got cause %s; want %s", d.Cause, CauseUnknownID)
	}
}

// firstByte is a function whose server number is the first byte of the ID.
type firstByte struct{}

func (firstByte) Lookup(_ idspace.Field, id []byte) (uint32, uint8, bool) {
	return uint32(id[0]), 3, true
}
