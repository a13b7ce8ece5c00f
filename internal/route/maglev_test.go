package route

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func hashPool(t testing.TB, servers ...ServerConfig) *Pool {
	t.Helper()
	return newPool(t, PoolConfig{Policy: Hash, Servers: servers})
}

func named(n int, change ...func(*ServerConfig)) []ServerConfig {
	var servers []ServerConfig
	for i := range n {
		servers = append(servers, server(ServerName(fmt.Sprintf("server-%02d", i)), change...))
	}
	return servers
}

// chosen returns the server for client n.
func chosen(p *Pool, n int) ServerName {
	f := hello()
	f.Client = client(n)
	d := p.Explain(nil, f)
	return d.name()
}

// These values are fixed for ever: replicas of different versions run side by
// side during an upgrade, and must agree. They were computed from the
// description at Hash by a program in another language.
func TestHashIsPinned(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]uint64{
		"":          0xefd01f60ba992926,
		"a":         0x82a2a958a9bece5b,
		"a\xff":     0x3aec69d286fbd39b,
		"server-00": 0x29ad884b61026f6e,
	} {
		if got := hash([]byte(in)); got != want {
			t.Errorf("hash(%q) = %#x; want %#x", in, got, want)
		}
	}
	small := hashPool(t, server("a"), server("b", weight(2)), server("c", draining))
	large := hashPool(t, append(named(50), server("heavy", weight(7)))...)
	if n := len(small.chooser.maglev); n != maglevSmall {
		t.Errorf("the small pool's table has %d slots; want %d", n, maglevSmall)
	}
	if n := len(large.chooser.maglev); n != maglevSize {
		t.Errorf("the large pool's table has %d slots; want %d", n, maglevSize)
	}
	for addr, want := range map[string][2]ServerName{
		"192.0.2.1":        {"b", "heavy"},
		"192.0.2.3":        {"a", "server-49"},
		"192.0.2.4":        {"b", "server-09"},
		"192.0.2.7":        {"b", "server-01"}, // c drains: walked on to b
		"203.0.113.200":    {"b", "server-02"},
		"2001:db8::1":      {"b", "server-48"},
		"2001:db8::2":      {"a", "heavy"}, // c drains: walked on to a
		"2001:db8:1:2::ff": {"b", "server-27"},
	} {
		f := &Facts{Client: netip.AddrPortFrom(netip.MustParseAddr(addr), 1)}
		ds, dl := small.Explain(nil, f), large.Explain(nil, f)
		if got := [2]ServerName{ds.name(), dl.name()}; got != want {
			t.Errorf("%s: got servers %q; want %q", addr, got, want)
		}
	}
}

// The description at Hash, in other words: sets and maps, one slot at a time.
func slowMaglev(servers []ServerConfig, size uint64) map[uint64]ServerName {
	mix := func(b string) uint64 {
		h := uint64(14695981039346656037)
		for i := range len(b) {
			h ^= uint64(b[i])
			h *= 1099511628211
		}
		h ^= h >> 33
		h *= 0xff51afd7ed558ccd
		h ^= h >> 33
		h *= 0xc4ceb9fe1a85ec53
		h ^= h >> 33
		return h
	}
	sorted := slices.Clone(servers)
	slices.SortFunc(sorted, func(a, b ServerConfig) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	wmax := 0
	for _, s := range sorted {
		wmax = max(wmax, s.Weight)
	}
	credit, visited := map[ServerName]int{}, map[ServerName]uint64{}
	for _, s := range sorted {
		credit[s.Name] = wmax - s.Weight
	}
	table := map[uint64]ServerName{}
	for {
		for _, s := range sorted {
			if s.Weight == 0 {
				continue
			}
			credit[s.Name] += s.Weight
			if credit[s.Name] < wmax {
				continue
			}
			credit[s.Name] -= wmax
			for {
				slot := (mix(string(s.Name))%size + visited[s.Name]*(mix(string(s.Name)+"\xff")%(size-1)+1)) % size
				visited[s.Name]++
				if _, taken := table[slot]; !taken {
					table[slot] = s.Name
					break
				}
			}
			if uint64(len(table)) == size {
				return table
			}
		}
	}
}

func TestMaglevIsAsDescribed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "servers")
		var servers []ServerConfig
		var members []*Server
		for i := range n {
			s := server(ServerName(fmt.Sprintf("s%d", i)), weight(rapid.IntRange(0, 3).Draw(t, "weight")))
			servers = append(servers, s)
		}
		servers[0].Weight = 1
		servers = rapid.Permutation(servers).Draw(t, "order")
		for _, s := range servers {
			members = append(members, &Server{Config: s, weight: int64(s.Weight)})
		}
		table := newMaglev(members)
		want := slowMaglev(servers, uint64(len(table)))
		for slot, m := range table {
			if got := members[m].Config.Name; got != want[uint64(slot)] {
				t.Fatalf("slot %d of %d: got %s; want %s", slot, len(table), got, want[uint64(slot)])
			}
		}
	})
}

// Each server has its weight's part of the table, to within 2 %, and has
// slots at all however light it is.
func TestMaglevIsBalanced(t *testing.T) {
	t.Parallel()
	for _, weights := range [][]int{{1, 1, 1}, {1, 2, 3, 4}, slices.Repeat([]int{1}, 40), slices.Repeat([]int{1}, 600), {MaxWeight, 1}} {
		var members []*Server
		var total float64
		for i, w := range weights {
			members = append(members, &Server{Config: server(ServerName(fmt.Sprint(i))), weight: int64(w)})
			total += float64(w)
		}
		table := newMaglev(members)
		count := make([]float64, len(weights))
		for _, m := range table {
			count[m]++
		}
		for i, w := range weights {
			want := float64(len(table)) * float64(w) / total
			if count[i] < 1 || math.Abs(count[i]-want) > 0.02*want+1 {
				t.Errorf("weights %v...: server %d has %v of %d slots; want %.1f", weights[:2], i, count[i], len(table), want)
			}
		}
	}
}

// The order in which servers are written, their addresses and what is up make
// no difference to the table: replicas agree.
func TestHashIsEqualOnReplicas(t *testing.T) {
	t.Parallel()
	servers := named(7)
	reversed := slices.Clone(servers)
	slices.Reverse(reversed)
	for i := range reversed {
		reversed[i].Address.Port = 99
	}
	one, other := hashPool(t, servers...), hashPool(t, reversed...)
	for n := range 2000 {
		if a, b := chosen(one, n), chosen(other, n); a != b {
			t.Fatalf("client %d: got %s on one replica and %s on the other", n, a, b)
		}
	}
}

// The port of a client changes with each connection and must not count, nor
// may the way in which an IPv4 address arrived.
func TestHashKeyIsTheAddress(t *testing.T) {
	t.Parallel()
	p := hashPool(t, named(7)...)
	for n := range 200 {
		f := hello()
		f.Client = client(n)
		want := p.Explain(nil, f)
		f.Client = netip.AddrPortFrom(f.Client.Addr(), 1)
		if got := p.Explain(nil, f); got.Server != want.Server {
			t.Errorf("client %d: another port, another server", n)
		}
		f.Client = netip.AddrPortFrom(netip.AddrFrom16(f.Client.Addr().As16()), 1)
		if got := p.Explain(nil, f); got.Server != want.Server {
			t.Errorf("client %d: as IPv4 in IPv6, another server", n)
		}
	}
}

// A server that goes away moves its own clients, to all the others, and nobody
// else's; one that comes back gets the same clients again.
func TestHashWalksOn(t *testing.T) {
	t.Parallel()
	const clients = 6000
	p := hashPool(t, named(6)...)
	gone := p.Servers[2]
	before := make([]ServerName, clients)
	for n := range clients {
		before[n] = chosen(p, n)
	}
	moved := make(map[ServerName]int)
	for state, change := range map[string]func(away bool){
		"down":         func(away bool) { gone.State.Up.Store(!away) },
		"draining":     func(away bool) { gone.State.DrainSince.Store(map[bool]int64{true: 1}[away]) },
		"at its limit": func(away bool) { gone.limit = map[bool]int64{true: 1}[away]; gone.State.Conns.Store(1) },
	} {
		clear(moved)
		change(true)
		for n := range clients {
			after := chosen(p, n)
			switch {
			case before[n] == gone.Config.Name:
				moved[after]++
			case after != before[n]:
				t.Fatalf("%s: client %d moved from %s to %s", state, n, before[n], after)
			}
		}
		change(false)
		if len(moved) != 5 || moved[gone.Config.Name] != 0 {
			t.Errorf("%s: its clients went to %v; want all the others", state, moved)
		}
		for s, n := range moved {
			if n < 100 || n > 300 {
				t.Errorf("%s: server %s got %d of about 1000 clients; want about 200", state, s, n)
			}
		}
		for n := range clients {
			if got := chosen(p, n); got != before[n] {
				t.Fatalf("%s is over: client %d is at %s; want %s as before", state, n, got, before[n])
			}
		}
	}
}

// Configured servers that come and go move few clients besides their own.
func TestMaglevDisruption(t *testing.T) {
	t.Parallel()
	const clients = 10000
	all := hashPool(t, named(20)...)
	fewer := hashPool(t, named(20)[:19]...)
	heavier := hashPool(t, append(named(20)[:19], server("server-19", weight(2)))...)
	for name, c := range map[string]struct {
		p    *Pool
		most int
	}{
		"one of 20 removed":              {fewer, clients/20 + clients/25},
		"weight of one of 20 is doubled": {heavier, clients/20 + clients/25},
	} {
		moved := 0
		for n := range clients {
			if chosen(all, n) != chosen(c.p, n) {
				moved++
			}
		}
		if moved > c.most || moved == 0 {
			t.Errorf("%s: %d of %d clients moved; want some, at most %d", name, moved, clients, c.most)
		}
	}
}

func BenchmarkNewMaglev(b *testing.B) {
	for _, n := range []int{3, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			members := make([]*Server, n)
			for i := range members {
				members[i] = &Server{Config: server(ServerName(fmt.Sprint(i))), weight: 1}
			}
			for b.Loop() {
				newMaglev(members)
			}
		})
	}
}
