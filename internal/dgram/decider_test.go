package dgram

import (
	"crypto/rand"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/internal/route"
)

// A step is one datagram and what becomes of it.
type step struct {
	name   string
	before func(*testing.T, *route.Pool) // what happens first
	client int
	m      *Message
	want   route.ServerName // "" when refused
	by     route.RoutedBy
	cause  route.Cause
	opened bool
}

func setUp(up bool, names ...route.ServerName) func(*testing.T, *route.Pool) {
	return func(t *testing.T, p *route.Pool) {
		t.Helper()
		for _, n := range names {
			serverNamed(t, p, n).State.Up.Store(up)
		}
	}
}

func runSteps(t *testing.T, p *route.Pool, flows *Flows, steps []step) {
	t.Helper()
	d := newDecider(t, p)
	for _, s := range steps {
		if s.before != nil {
			s.before(t, p)
		}
		v := d.Decide(s.m, client(s.client), flows, start)
		var got route.ServerName
		if v.Flow != nil {
			got = v.Flow.Server.Config.Name
			if v.Flow.Tuple != *client(s.client) {
				t.Errorf("%s: the flow is of another client", s.name)
			}
		}
		if (v.Flow == nil) != (v.RoutedBy == route.ByRefused) {
			t.Errorf("%s: flow %v, and routed by %v", s.name, v.Flow, v.RoutedBy)
		}
		if got != s.want || v.RoutedBy != s.by || v.Cause != s.cause || v.Opened != s.opened || v.Field != s.m.Field {
			t.Errorf("%s: got server %q, by %v, cause %s, opened %v, field %v; want %q, %v, %s, %v, %v",
				s.name, got, v.RoutedBy, v.Cause, v.Opened, v.Field, s.want, s.by, s.cause, s.opened, s.m.Field)
		}
		checkSlots(t, p, flows)
	}
}

// hashed returns the server that the hash of the pool gives a client.
func hashed(t *testing.T, p *route.Pool, n int) route.ServerName {
	t.Helper()
	d := p.Explain(nil, &route.Facts{Client: client(n).ClientAddrPort(), HashPort: true, Now: start, Opening: true})
	if d.Server == nil {
		t.Fatalf("client %d goes nowhere", n)
	}
	return d.Server.Config.Name
}

// others returns the servers of the pool besides one.
func others(one route.ServerName) (second, third route.ServerName) {
	names := strings.Replace("abc", string(one), "", 1)
	return route.ServerName(names[:1]), route.ServerName(names[1:])
}

func TestDecideInOrder(t *testing.T) {
	t.Parallel()
	p := newPool(t, poolConfig(t), nil)
	home := hashed(t, p, 1)
	second, third := others(home)
	runSteps(t, p, newFlows(t, roomy), []step{
		{name: "an invented ID: by hash", client: 1, m: long("x1"), want: home, by: route.ByBalance, cause: route.CauseUnknownID, opened: true},
		{name: "once more: by flow", client: 1, m: long("x1"), want: home, by: route.ByBalance, cause: CauseFlow},
		{name: "a server's ID: by mint, in the same flow", client: 1, m: short(string(home) + "2"), want: home, by: route.ByMint, cause: route.CauseOwner},
		{name: "another server's ID beats the flow", client: 1, m: short(string(second) + "1"), want: second, by: route.ByMint, cause: route.CauseOwner, opened: true},
		{name: "and has a flow of its own", client: 1, m: short(string(second) + "2"), want: second, by: route.ByMint, cause: route.CauseOwner},
		{name: "which is not the home", client: 1, m: short("x2"), want: home, by: route.ByBalance, cause: CauseFlow},
		{name: "no ID: by flow", client: 1, m: noID(), want: home, by: route.ByBalance, cause: CauseFlow},
		{name: "the client moves: by mint", client: 2, m: short(string(third) + "1"), want: third, by: route.ByMint, cause: route.CauseOwner, opened: true},
		{name: "without a home there: by hash", client: 2, m: noID(), want: hashed(t, p, 2), by: route.ByBalance, cause: route.CauseNoID, opened: hashed(t, p, 2) != third},
		{name: "a server's ID first", client: 4, m: short(string(hashed(t, p, 4)) + "1"), want: hashed(t, p, 4), by: route.ByMint, cause: route.CauseOwner, opened: true},
		{name: "then none, and the hash leads into the same flow", client: 4, m: noID(), want: hashed(t, p, 4), by: route.ByBalance, cause: route.CauseNoID},
		{name: "which is now the home", client: 4, m: noID(), want: hashed(t, p, 4), by: route.ByBalance, cause: CauseFlow},
		{name: "an invented ID that looks minted", client: 3, m: long(string(second) + "9"), want: second, by: route.ByMint, cause: route.CauseOwner, opened: true},
	})
}

func TestDecideWhenOwnerIsDown(t *testing.T) {
	t.Parallel()
	for _, rule := range []route.WhenOwnerDown{route.OwnerDownBalance, route.OwnerDownRefuse, route.OwnerDownGroup} {
		t.Run(fmt.Sprint(rule), func(t *testing.T) {
			t.Parallel()
			c := poolConfig(t)
			c.WhenOwnerDown = rule
			c.Groups = []route.GroupConfig{{Name: "pair", Policy: route.Hash}}
			p := newPool(t, c, nil)
			home := hashed(t, p, 1)
			second, third := others(home)
			// The second and the third server are a pair; of these the second goes down.
			for i := range c.Servers {
				if c.Servers[i].Name != home {
					c.Servers[i].Group = "pair"
				}
			}
			p = newPool(t, c, nil)
			lost := step{
				name: "its owner goes down, no home", client: 1, m: short(string(second) + "1"), before: setUp(false, second),
				want: home, by: route.ByBalance, cause: route.CauseOwnerDown, opened: true,
			}
			kept := step{
				name: "the same with a home", client: 1, m: short(string(second) + "1"), before: setUp(false, second),
				want: home, by: route.ByBalance, cause: CauseFlow,
			}
			switch rule {
			case route.OwnerDownRefuse:
				lost.want, lost.by, lost.opened = "", route.ByRefused, false
				kept.want, kept.by, kept.cause = "", route.ByRefused, route.CauseOwnerDown
			case route.OwnerDownGroup:
				lost.want, lost.by = third, route.ByGroup
			case route.OwnerDownBalance:
			}
			runSteps(t, p, newFlows(t, roomy), []step{
				{name: "its owner is up", client: 1, m: short(string(second) + "1"), want: second, by: route.ByMint, cause: route.CauseOwner, opened: true},
				lost,
			})
			setUp(true, second)(t, p)
			for _, s := range p.Servers {
				s.State.Conns.Store(0)
			}
			runSteps(t, p, newFlows(t, roomy), []step{
				{name: "a home", client: 1, m: long("x"), want: home, by: route.ByBalance, cause: route.CauseUnknownID, opened: true},
				kept,
				{name: "its owner is back", before: setUp(true, second), client: 1, m: short(string(second) + "1"), want: second, by: route.ByMint, cause: route.CauseOwner, opened: true},
			})
		})
	}
}

func TestDecideWhenHomeIsDown(t *testing.T) {
	t.Parallel()
	p := newPool(t, poolConfig(t), nil)
	home := hashed(t, p, 1)
	flows := newFlows(t, roomy)
	runSteps(t, p, flows, []step{
		{name: "a home", client: 1, m: noID(), want: home, by: route.ByBalance, cause: route.CauseNoID, opened: true},
	})
	setUp(false, home)(t, p)
	next := hashed(t, p, 1)
	if next == home {
		t.Fatal("the hash does not pass over what is down")
	}
	runSteps(t, p, flows, []step{
		{name: "its server is down: a new home", client: 1, m: noID(), want: next, by: route.ByBalance, cause: route.CauseNoID, opened: true},
		{name: "which stays", before: setUp(true, home), client: 1, m: noID(), want: next, by: route.ByBalance, cause: CauseFlow},
	})
}

// TestUnknownIDsRefuse: no session could begin if what opens one were refused.
func TestUnknownIDsRefuse(t *testing.T) {
	t.Parallel()
	c := poolConfig(t)
	c.UnknownIDs = route.UnknownRefuse
	p := newPool(t, c, nil)
	home := hashed(t, p, 1)
	runSteps(t, p, newFlows(t, roomy), []step{
		{name: "a short header with an ID of nobody", client: 1, m: short("x"), by: route.ByRefused, cause: route.CauseUnknownID},
		{name: "a long header with an invented ID", client: 1, m: long("x"), want: home, by: route.ByBalance, cause: route.CauseUnknownID, opened: true},
		{name: "a DTLS handshake", client: 2, m: noID(), want: hashed(t, p, 2), by: route.ByBalance, cause: route.CauseNoID, opened: true},
		{name: "a server's ID", client: 1, m: short(string(home)), want: home, by: route.ByMint, cause: route.CauseOwner},
	})
}

// TestLimits: flows that exist go on when their server is at its limit, new ones do
// not begin, and none spills to another server.
func TestLimits(t *testing.T) {
	t.Parallel()
	c := poolConfig(t)
	for i := range c.Servers {
		c.Servers[i].MaxConnections = 2
	}
	p := newPool(t, c, nil)
	runSteps(t, p, newFlows(t, roomy), []step{
		{name: "first", client: 1, m: short("a1"), want: "a", by: route.ByMint, cause: route.CauseOwner, opened: true},
		{name: "second", client: 2, m: short("a1"), want: "a", by: route.ByMint, cause: route.CauseOwner, opened: true},
		{name: "third", client: 3, m: short("a1"), by: route.ByRefused, cause: route.CauseLimit},
		{name: "the first goes on", client: 1, m: short("a1"), want: "a", by: route.ByMint, cause: route.CauseOwner},
	})
}

func TestNewDeciderRefuses(t *testing.T) {
	t.Parallel()
	c := poolConfig(t)
	c.Policy = route.RoundRobin
	c.Groups = []route.GroupConfig{{Name: "g"}}
	c.Servers[0].Group = "g"
	c.Table = byFirstOctet(t, "a", "g")
	_, err := NewDecider(newPool(t, c, nil))
	if err == nil || !strings.Contains(err.Error(), "must be hash") || !strings.Contains(err.Error(), "group g owns IDs") {
		t.Errorf("error is %v; want it to name the policy and the group", err)
	}
	c = poolConfig(t)
	c.Table = nil
	p := newPool(t, c, nil)
	runSteps(t, p, newFlows(t, roomy), []step{
		{name: "a pool without spaces", client: 1, m: short("a1"), want: hashed(t, p, 1), by: route.ByBalance, cause: route.CauseUnknownID, opened: true},
	})
}

// TestReload: flows outlive their configuration, unless their server has another
// address now or is gone.
func TestReload(t *testing.T) {
	t.Parallel()
	c := poolConfig(t)
	before := newPool(t, c, nil)
	home := hashed(t, before, 1)
	second, _ := others(home)
	flows := newFlows(t, roomy)
	id := short(string(second) + "1")
	runSteps(t, before, flows, []step{
		{name: "a home", client: 1, m: noID(), want: home, by: route.ByBalance, cause: route.CauseNoID, opened: true},
		{name: "a server's ID", client: 1, m: id, want: second, by: route.ByMint, cause: route.CauseOwner, opened: true},
	})
	same := newPool(t, c, before)
	runSteps(t, same, flows, []step{
		{name: "nothing has changed: by flow", client: 1, m: noID(), want: home, by: route.ByBalance, cause: CauseFlow},
		{name: "nothing has changed: by mint", client: 1, m: id, want: second, by: route.ByMint, cause: route.CauseOwner},
	})
	for i := range c.Servers {
		c.Servers[i].Address.Port += 100
	}
	moved := newPool(t, c, same)
	runSteps(t, moved, flows, []step{
		{name: "other addresses: by hash", client: 1, m: noID(), want: home, by: route.ByBalance, cause: route.CauseNoID, opened: true},
		{name: "other addresses: by mint", client: 1, m: id, want: second, by: route.ByMint, cause: route.CauseOwner, opened: true},
		{name: "and then by flow", client: 1, m: noID(), want: home, by: route.ByBalance, cause: CauseFlow},
	})
	reaped := 0
	for f := flows.Reap(); f != nil; f = flows.Reap() {
		if f.Server.Config.Address.Port >= 1100 {
			t.Errorf("a flow to the new address was closed")
		}
		reaped++
	}
	if all, _ := flows.Len(); all != 2 || reaped != 2 {
		t.Errorf("%d flows, %d closed; want 2 and 2", all, reaped)
	}
	// The home is removed.
	var rest []route.ServerConfig
	for _, s := range c.Servers {
		if s.Name != home {
			rest = append(rest, s)
		}
	}
	c.Servers, c.Table = rest, byFirstOctet(t, idspace.Owner(second))
	smaller := newPool(t, c, moved)
	d := newDecider(t, smaller)
	if v := d.Decide(noID(), client(1), flows, start); v.Flow == nil || v.Flow.Server.Config.Name == home || v.Cause != route.CauseNoID {
		t.Errorf("the home is gone: got %+v", v)
	}
}

// TestReplicasAgree: two balancers from one configuration, of which one knows no
// flow, send a client to the same server.
func TestReplicasAgree(t *testing.T) {
	t.Parallel()
	table, mint := quicLB(t, quiclb.Config{ID: 2, ServerIDLength: 3, NonceLength: 5})
	c := poolConfig(t)
	c.Table = table
	var pools [2]*route.Pool
	var deciders [2]*Decider
	var flows [2]*Flows
	for i := range pools {
		pools[i] = newPool(t, c, nil)
		deciders[i], flows[i] = newDecider(t, pools[i]), newFlows(t, roomy)
	}
	for n := range 300 {
		invented := make([]byte, 8)
		_, _ = rand.Read(invented)
		first := deciders[0].Decide(long(string(invented)), client(n), flows[0], start)
		again := deciders[1].Decide(long(string(invented)), client(n), flows[1], start)
		if first.Flow.Server.Config.Name != again.Flow.Server.Config.Name {
			t.Fatalf("client %d opens at %s and at %s", n, first.Flow.Server.Config.Name, again.Flow.Server.Config.Name)
		}
		// The server mints; the client moves, and its datagrams come to the other
		// replica.
		cid := mint(first.Flow.Server.Index)
		moved := deciders[1].Decide(&Message{Field: idspace.FieldCIDShort, ID: cid}, client(n+1000), flows[1], start)
		if moved.RoutedBy != route.ByMint || moved.Flow.Server.Config.Name != first.Flow.Server.Config.Name {
			t.Fatalf("client %d was at %s and moved to %v", n, first.Flow.Server.Config.Name, moved)
		}
	}
}

// TestFlood sends random connection IDs from as many addresses: the table stays
// within its limits, clients with a server's ID keep their flows, and as many are
// routed by mint as must be by chance.
func TestFlood(t *testing.T) {
	t.Parallel()
	const datagrams = 60_000
	table, mint := quicLB(t, quiclb.Config{ID: 2, ServerIDLength: 1, NonceLength: 7})
	c := poolConfig(t)
	c.Table = table
	p := newPool(t, c, nil)
	d := newDecider(t, p)
	flows := newFlows(t, FlowLimits{Max: 2000, MaxUnknown: 500, Idle: time.Minute})
	regulars := map[int]*Flow{}
	for n := range 100 {
		regulars[n] = d.Decide(&Message{Field: idspace.FieldCIDShort, ID: mint(n % 3)}, client(n), flows, start).Flow
	}
	// One of them begins as everybody does, with an ID of its own invention.
	regulars[99] = d.Decide(long("\xe0invented"), client(5000), flows, start).Flow
	if id := mint(regulars[99].Server.Index); regulars[99].Known() ||
		d.Decide(&Message{Field: idspace.FieldCIDShort, ID: id}, client(5000), flows, start).Flow != regulars[99] || !regulars[99].Known() {
		t.Fatal("the flow did not become known by a server's ID")
	}
	random := mrand.New(mrand.NewChaCha8([32]byte{1}))
	var by [2]int
	for n := range datagrams {
		id := make([]byte, 20)
		for i := range id {
			id[i] = byte(random.Uint32())
		}
		v := d.Decide(&Message{Field: idspace.FieldCIDLong, ID: id, Opening: true}, client(10_000+n), flows, start)
		switch v.RoutedBy {
		case route.ByMint:
			by[0]++
		case route.ByBalance:
			by[1]++
		default:
			t.Fatalf("datagram %d: %+v", n, v)
		}
		if all, unknown := flows.Len(); all > 2000 || unknown > 500 {
			t.Fatalf("datagram %d: %d flows, %d unknown", n, all, unknown)
		}
		for f := flows.Reap(); f != nil; f = flows.Reap() {
			if f.Known() {
				t.Fatalf("datagram %d: a known flow had to make room for an unknown one", n)
			}
		}
	}
	for n, f := range regulars {
		if v := d.Decide(&Message{Field: idspace.FieldCIDShort, ID: mint(f.Server.Index)}, &f.Tuple, flows, start); v.Flow != f {
			t.Fatalf("client %d lost its flow", n)
		}
	}
	// One codepoint of eight, three server IDs of 256.
	want, share := datagrams*3.0/(8*256), table.AssignedShare(idspace.FieldCIDLong)
	if math.Abs(share*datagrams-want) > 1e-6 {
		t.Errorf("the table's share is %g; want %g", share, want/datagrams)
	}
	// Five standard deviations of a binomial distribution.
	if slack := 5 * math.Sqrt(want); math.Abs(float64(by[0])-want) > slack {
		t.Errorf("%d of %d random IDs are routed by mint; want %.0f, give or take %.0f", by[0], datagrams, want, slack)
	}
	checkSlots(t, p, flows)
}

// TestNoRoomForUnknown: when all flows are known, an unknown client has to wait.
func TestNoRoomForUnknown(t *testing.T) {
	t.Parallel()
	p := newPool(t, poolConfig(t), nil)
	d := newDecider(t, p)
	flows := newFlows(t, FlowLimits{Max: 3, MaxUnknown: 2, Idle: time.Minute})
	for n := range 3 {
		d.Decide(short("a1"), client(n), flows, start)
	}
	if v := d.Decide(noID(), client(9), flows, start); v.RoutedBy != route.ByRefused || v.Cause != CauseFlowLimit || v.Flow != nil {
		t.Errorf("got %+v; want it refused, cause %s", v, CauseFlowLimit)
	}
	if v := d.Decide(short("b1"), client(9), flows, start); v.RoutedBy != route.ByMint || !v.Opened {
		t.Errorf("got %+v; want a flow for a known client", v)
	}
	if f := flows.Reap(); f == nil || f.Tuple != *client(0) || flows.Reap() != nil {
		t.Errorf("%+v made room; want the oldest", f)
	}
	checkSlots(t, p, flows)
}

// TestExpire: a flow lives as long as datagrams pass, in either direction.
func TestExpire(t *testing.T) {
	t.Parallel()
	p := newPool(t, poolConfig(t), nil)
	d := newDecider(t, p)
	flows := newFlows(t, FlowLimits{Max: 10, MaxUnknown: 10, Idle: time.Minute})
	now := start
	silent := d.Decide(noID(), client(1), flows, now).Flow
	asks := d.Decide(short("a1"), client(2), flows, now).Flow
	answered := d.Decide(noID(), client(3), flows, now).Flow
	now = now.Add(30 * time.Second)
	d.Decide(short("a1"), client(2), flows, now)
	flows.Seen(answered, now)
	now = now.Add(30 * time.Second)
	flows.Expire(now)
	if f := flows.Reap(); f != silent || flows.Reap() != nil {
		t.Errorf("%+v expired; want client 1 alone", f)
	}
	if asks.LastSeen() != answered.LastSeen() || !asks.LastSeen().Equal(start.Add(30*time.Second)) {
		t.Errorf("last seen at %v and %v", asks.LastSeen(), answered.LastSeen())
	}
	if v := d.Decide(noID(), client(1), flows, now); !v.Opened {
		t.Error("the home of client 1 outlived its flow")
	}
	checkSlots(t, p, flows)
}

func TestDecideDoesNotAllocate(t *testing.T) {
	c := poolConfig(t)
	table, mint := quicLB(t, quiclb.Config{ID: 2, ServerIDLength: 3, NonceLength: 5})
	c.Table = table
	d, flows := newDecider(t, newPool(t, c, nil)), newFlows(t, roomy)
	for name, m := range map[string]*Message{
		"by mint": {Field: idspace.FieldCIDShort, ID: mint(1)}, "by flow": long("\xe0invented"), "no ID": noID(),
	} {
		tuple := client(1)
		d.Decide(m, tuple, flows, start)
		if n := testing.AllocsPerRun(1000, func() { d.Decide(m, tuple, flows, start) }); n != 0 {
			t.Errorf("%s: Decide allocates %v times; want 0", name, n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	c := poolConfig(b)
	table, mint := quicLB(b, quiclb.Config{ID: 2, ServerIDLength: 3, NonceLength: 5})
	c.Table = table
	d := newDecider(b, newPool(b, c, nil))
	flows := newFlows(b, FlowLimits{Max: 1 << 16, MaxUnknown: 1 << 16, Idle: time.Minute})
	for n := range 10_000 {
		d.Decide(&Message{Field: idspace.FieldCIDShort, ID: mint(n % 3)}, client(n), flows, start)
		d.Decide(noID(), client(n), flows, start)
	}
	for name, m := range map[string]*Message{"mint": {Field: idspace.FieldCIDShort, ID: mint(1)}, "flow": noID()} {
		b.Run(name, func(b *testing.B) {
			tuple := client(4243) // its IDs are of server 1, as 4243 is 1 modulo 3
			b.ReportAllocs()
			for b.Loop() {
				if v := d.Decide(m, tuple, flows, start); v.Flow == nil || v.Opened {
					b.Fatal("not an old flow")
				}
			}
		})
	}
}
