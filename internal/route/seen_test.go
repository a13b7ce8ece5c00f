package route

import (
	"net/netip"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

func seenPool(t testing.TB, seen *Seen) *Pool {
	t.Helper()
	table, err := idspace.Compile([]idspace.Rule{
		{Owner: "a", Bits: idspace.Prefix("a-")},
		{Owner: "left", Bits: idspace.Prefix("l-")},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPool(PoolConfig{
		Name: "p", Table: table, Seen: seen, Gone: []idspace.Owner{"left"}, RandomIDs: RandomRoute,
		Servers: []ServerConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// An ID that is looked up is seen, by each of the pools that share a Seen, and
// a look at what would happen (Explain) is no use of an ID.
func TestSeen(t *testing.T) {
	t.Parallel()
	seen := NewSeen()
	p, q := seenPool(t, seen), seenPool(t, seen)
	at := time.Unix(1_900_000_000, 0)
	pick := func(p *Pool, id string, now time.Time) Decision {
		d := p.Pick([]Candidate{{Field: idspace.FieldCookie, ID: []byte(id)}}, &Facts{Now: now, Client: netip.MustParseAddrPort("192.0.2.1:1")})
		if d.Server != nil {
			d.Server.Release()
		}
		return d
	}
	got := func() map[idspace.Owner]time.Time {
		m := map[idspace.Owner]time.Time{}
		seen.Each(func(o idspace.Owner, slot uint8, last time.Time) {
			if slot != 0 {
				t.Errorf("slot %d of %s was seen", slot, o)
			}
			m[o] = last
		})
		return m
	}
	pick(p, "x-1", at)
	if m := got(); len(m) != 0 {
		t.Errorf("seen %v after an ID of nobody", m)
	}
	pick(p, "a-1", at)
	pick(p, "a-2", at.Add(500*time.Millisecond)) // within the grain
	if m := got(); len(m) != 1 || !m["a"].Equal(at) {
		t.Errorf("seen %v; want a at %v", m, at)
	}
	pick(q, "a-3", at.Add(time.Minute))
	pick(p, "a-1", at) // a clock that went back
	if m := got(); !m["a"].Equal(at.Add(time.Minute)) {
		t.Errorf("seen %v; want a a minute later", m)
	}
	q.Explain([]Candidate{{Field: idspace.FieldCookie, ID: []byte("a-1")}}, &Facts{Now: at.Add(time.Hour)})
	if m := got(); !m["a"].Equal(at.Add(time.Minute)) {
		t.Errorf("explaining an ID used it: seen %v", m)
	}
	seen.Keep(map[idspace.Owner]bool{"b": true})
	if m := got(); len(m) != 0 {
		t.Errorf("seen %v after all owners were forgotten", m)
	}
}

// What a server minted that has left the pool is seen, because its space is
// not free before its IDs are dead, and goes where IDs of a server that is
// down go.
func TestOwnerGone(t *testing.T) {
	t.Parallel()
	p := seenPool(t, NewSeen())
	c := []Candidate{{Field: idspace.FieldCookie, ID: []byte("l-1")}}
	d, steps := p.ExplainSteps(c, &Facts{})
	if d.RoutedBy != ByBalance || d.Cause != CauseOwnerDown || d.Server == nil {
		t.Errorf("got %v, %v; want balance, owner_down: %q", d.RoutedBy, d.Cause, steps)
	}
	seen := 0
	p.Pick(c, &Facts{Now: time.Unix(1_900_000_000, 0)}).Server.Release()
	p.Config.Seen.Each(func(o idspace.Owner, _ uint8, _ time.Time) {
		if o == "left" {
			seen++
		}
	})
	if seen != 1 {
		t.Error("an ID of a server that left was not seen")
	}
	cfg := p.Config
	cfg.Gone = nil
	if _, err := NewPool(cfg, nil); err == nil {
		t.Error("a pool with a space of nobody was accepted")
	}
}

func TestSeenAllocatesNothing(t *testing.T) {
	p := seenPool(t, NewSeen())
	c := []Candidate{{Field: idspace.FieldCookie, ID: []byte("a-1")}}
	f := &Facts{Now: time.Unix(1_900_000_000, 0)}
	if n := testing.AllocsPerRun(1000, func() {
		f.Now = f.Now.Add(time.Second)
		p.Pick(c, f).Server.Release()
	}); n != 0 {
		t.Errorf("%v allocations for each ID", n)
	}
}

func BenchmarkPickSeen(b *testing.B) {
	for name, seen := range map[string]*Seen{"seen": NewSeen(), "unseen": nil} {
		b.Run(name, func(b *testing.B) {
			p := seenPool(b, seen)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				c := []Candidate{{Field: idspace.FieldCookie, ID: []byte("a-1")}}
				f := &Facts{Now: time.Unix(1_900_000_000, 0)}
				for pb.Next() {
					f.Now = f.Now.Add(100)
					p.Pick(c, f).Server.Release()
				}
			})
		})
	}
}
