package dgram

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/route"
)

// A slowFlow and a slowTable are flows and their table, without an index.
type slowFlow struct {
	client, server int
	known, home    bool
	seen           int64
	order          int // of what is seen in the same instant
}

type slowTable struct {
	limits FlowLimits
	flows  []*slowFlow
	clock  int
}

func (t *slowTable) find(client, server int) *slowFlow {
	for _, f := range t.flows {
		if f.client == client && f.server == server {
			return f
		}
	}
	return nil
}

func (t *slowTable) home(client int) *slowFlow {
	for _, f := range t.flows {
		if f.client == client && f.home {
			return f
		}
	}
	return nil
}

func (t *slowTable) see(f *slowFlow, now int64) {
	t.clock++
	f.seen, f.order = now, t.clock
}

func (t *slowTable) count(known bool) (n int) {
	for _, f := range t.flows {
		if f.known == known {
			n++
		}
	}
	return n
}

func (t *slowTable) oldest(known bool) *slowFlow {
	var oldest *slowFlow
	for _, f := range t.flows {
		if f.known == known && (oldest == nil || f.order < oldest.order) {
			oldest = f
		}
	}
	return oldest
}

func (t *slowTable) close(f *slowFlow) {
	t.flows = slices.DeleteFunc(t.flows, func(g *slowFlow) bool { return g == f })
}

func (t *slowTable) open(client, server int, known bool, now int64) *slowFlow {
	if len(t.flows) == t.limits.Max || !known && t.count(false) == t.limits.MaxUnknown {
		victim := t.oldest(false)
		if victim == nil && known {
			victim = t.oldest(true)
		}
		if victim == nil {
			return nil
		}
		t.close(victim)
	}
	f := &slowFlow{client: client, server: server, known: known}
	t.see(f, now)
	t.flows = append(t.flows, f)
	return f
}

// TestFlowsAreTheirTwin does random things to a table and to its twin.
func TestFlowsAreTheirTwin(t *testing.T) {
	t.Parallel()
	pool := newPool(t, poolConfig(t), nil)
	rapid.Check(t, func(t *rapid.T) {
		limits := FlowLimits{Max: rapid.IntRange(1, 6).Draw(t, "max"), Idle: 10 * time.Second}
		limits.MaxUnknown = rapid.IntRange(1, limits.Max).Draw(t, "max unknown")
		table, err := NewFlows(limits)
		if err != nil {
			t.Fatal(err)
		}
		slow := &slowTable{limits: limits}
		for _, s := range pool.Servers {
			s.State.Conns.Store(0)
		}
		now := start
		reaped, opened := 0, 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			c, s := rapid.IntRange(0, 3).Draw(t, "client"), rapid.IntRange(0, 2).Draw(t, "server")
			server := pool.Servers[s]
			f, g := table.Find(client(c), server), slow.find(c, s)
			switch action := rapid.SampledFrom([]string{"open", "open known", "seen", "recognise", "settle", "expire", "wait"}).Draw(t, "action"); action {
			case "open", "open known":
				if f != nil {
					continue
				}
				server.State.Conns.Add(1) // the slot
				slow.open(c, s, action == "open known", now.UnixNano())
				if table.open(client(c), server, action == "open known", now) == nil {
					server.Release()
				} else {
					opened++
				}
			case "wait":
				now = now.Add(time.Duration(rapid.IntRange(0, 4).Draw(t, "seconds")) * time.Second)
			case "expire":
				table.Expire(now)
				slow.flows = slices.DeleteFunc(slow.flows, func(g *slowFlow) bool { return now.UnixNano()-g.seen >= limits.Idle.Nanoseconds() })
			default:
				if f == nil || g == nil {
					break
				}
				switch action {
				case "seen":
					table.Seen(f, now)
					slow.see(g, now.UnixNano())
				case "recognise":
					table.recognise(f)
					table.Seen(f, now)
					g.known = true
					slow.see(g, now.UnixNano())
				case "settle":
					table.settle(f)
					if old := slow.home(c); old != nil {
						old.home = false
					}
					g.home = true
				}
			}
			for f := table.Reap(); f != nil; f = table.Reap() {
				reaped++
			}
			compare(t, table, slow, pool)
		}
		table.CloseAll()
		for f := table.Reap(); f != nil; f = table.Reap() {
			reaped++
		}
		if reaped != opened {
			t.Fatalf("%d flows were reaped; %d were opened", reaped, opened)
		}
		compare(t, table, &slowTable{}, pool)
	})
}

func compare(t *rapid.T, table *Flows, slow *slowTable, pool *route.Pool) {
	t.Helper()
	all, unknown := table.Len()
	if all != len(slow.flows) || unknown != slow.count(false) || len(table.flows) != all {
		t.Fatalf("%d flows (%d in the index), %d unknown; want %d and %d", all, len(table.flows), unknown, len(slow.flows), slow.count(false))
	}
	homes := 0
	slots := make([]int64, len(pool.Servers))
	for _, g := range slow.flows {
		f := table.Find(client(g.client), pool.Servers[g.server])
		if f == nil {
			t.Fatalf("the flow %+v is missing", *g)
		}
		if f.known != g.known || f.home != g.home || f.lastSeen.UnixNano() != g.seen || f.Server != pool.Servers[g.server] || f.Tuple != *client(g.client) {
			t.Fatalf("got %+v; want %+v", *f, *g)
		}
		if g.home {
			homes++
			if table.Home(&f.Tuple) != f {
				t.Fatalf("%+v is not the home of its client", *g)
			}
		}
		slots[g.server]++
	}
	if len(table.homes) != homes {
		t.Fatalf("%d homes; want %d", len(table.homes), homes)
	}
	for i, s := range pool.Servers {
		if s.State.Conns.Load() != slots[i] {
			t.Fatalf("server %d has %d slots; want %d", i, s.State.Conns.Load(), slots[i])
		}
	}
}

func TestNewFlowsRefuses(t *testing.T) {
	t.Parallel()
	for _, l := range []FlowLimits{
		{}, {Max: 1, MaxUnknown: 1}, {Max: 1, Idle: 1}, {MaxUnknown: 1, Idle: 1}, {Max: 1, MaxUnknown: 2, Idle: 1}, {Max: 1, MaxUnknown: 1, Idle: -1},
	} {
		if _, err := NewFlows(l); err == nil {
			t.Errorf("%+v was accepted", l)
		}
	}
}

func TestTuple(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"192.0.2.7:1234", "[2001:db8::7]:1234"} {
		addr := netip.MustParseAddrPort(text)
		tuple := TupleOf(addr, netip.MustParseAddrPort("[::1]:443"))
		if got := tuple.ClientAddrPort(); got != addr {
			t.Errorf("got %v; want %v", got, addr)
		}
		if tuple.LocalPort != 443 || tuple.Local != netip.MustParseAddr("::1").As16() {
			t.Errorf("local address is %v port %d", tuple.Local, tuple.LocalPort)
		}
	}
	if TupleOf(netip.MustParseAddrPort("192.0.2.7:1"), netip.AddrPort{}) != TupleOf(netip.MustParseAddrPort("[::ffff:192.0.2.7]:1"), netip.AddrPort{}) {
		t.Error("a mapped address is another client")
	}
}
