package control_test

import (
	"fmt"
	"math/big"
	"testing"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

// shares returns the part of all IDs that each owner has in a generation, and
// the rules by which it has it.
func (p *plane) shares(pool string, generation uint32) (share map[string]*big.Rat, rules map[string]string) {
	p.t.Helper()
	share, rules = make(map[string]*big.Rat), make(map[string]string)
	for _, s := range p.rollout(pool).GetSpaces() {
		if s.GetGeneration() != generation {
			continue
		}
		part, ok := new(big.Rat).SetString(s.GetShare())
		if !ok {
			p.t.Fatalf("%q is no share", s.GetShare())
		}
		if share[s.GetOwner()] == nil {
			share[s.GetOwner()] = new(big.Rat)
		}
		share[s.GetOwner()].Add(share[s.GetOwner()], part)
		rules[s.GetOwner()] += s.GetRule() + ";"
	}
	return share, rules
}

func (p *plane) addServer(pool string, s *mintmarkv1.Server) *mintmarkv1.PlanDiff {
	p.t.Helper()
	r, err := p.admin.AddServer(p.t.Context(), connect.NewRequest(&mintmarkv1.AddServerRequest{Pool: pool, Server: s}))
	if err != nil {
		p.t.Fatal(err)
	}
	return r.Msg.GetDiff()
}

func (p *plane) update(r *mintmarkv1.UpdateServerRequest) {
	p.t.Helper()
	if _, err := p.admin.UpdateServer(p.t.Context(), connect.NewRequest(r)); err != nil {
		p.t.Fatal(err)
	}
}

// Equal shares are equal spaces, and shares of 1, 2 and 5 are spaces in that
// ratio, in every scheme.
func TestSharesAreSpaces(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	for _, kind := range []string{"ranges", "bits", "sealed"} {
		for name, want := range map[string][]uint32{"equal": {1, 1, 1, 1, 1, 1, 1}, "different": {1, 2, 5}} {
			pool := kind + "-" + name
			m := &mintmarkv1.Pool{Name: pool, Scheme: &mintmarkv1.Scheme{Kind: kind}}
			for i, share := range want {
				m.Servers = append(m.Servers, &mintmarkv1.Server{Name: fmt.Sprintf("s%d", i), Address: fmt.Sprintf("127.0.0.1:%d", 1000+i), Share: &share})
			}
			p.putPool(m)
			got, _ := p.shares(pool, 0)
			for i, share := range want {
				ratio := new(big.Rat).Quo(got[fmt.Sprintf("s%d", i)], got["s0"])
				if ratio.Cmp(new(big.Rat).SetFrac64(int64(share), int64(want[0]))) != 0 {
					t.Errorf("%s: s%d has %v of all IDs and s0 %v; want %d:%d", pool, i, got[fmt.Sprintf("s%d", i)], got["s0"], share, want[0])
				}
			}
		}
	}
}

// A weight is about traffic and moves no space; a tenth server takes from the
// reserve only; and when the reserve is used up, a generation opens in which
// everybody has a space again, while the old ones still route.
func TestGrowth(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	m := web()
	for i := range 9 {
		m.Servers = append(m.Servers, &mintmarkv1.Server{Name: fmt.Sprintf("s%d", i), Address: fmt.Sprintf("127.0.0.1:%d", 1000+i)})
	}
	p.putPool(m)
	_, before := p.shares("web", 0)
	weight := uint32(7)
	p.update(&mintmarkv1.UpdateServerRequest{Pool: "web", Server: "s3", Weight: &weight})
	_, after := p.shares("web", 0)
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("a weight moved spaces:\n%v\n%v", before, after)
	}
	share, _ := p.shares("web", 0)
	reserve := share[""]
	d := p.addServer("web", &mintmarkv1.Server{Name: "s9", Address: "127.0.0.1:1009"})
	if len(d.GetAdded()) != 1 || len(d.GetRetired()) != 0 || len(d.GetUnchanged()) != 9 {
		t.Errorf("a tenth server: %v", d)
	}
	now, rules := p.shares("web", 0)
	for name, rule := range before {
		if name != "" && rules[name] != rule {
			t.Errorf("%s had %s and has %s", name, rule, rules[name])
		}
	}
	if want := new(big.Rat).Sub(reserve, now["s9"]); now[""].Cmp(want) != 0 {
		t.Errorf("the reserve is %v; want %v less s9's %v", now[""], reserve, now["s9"])
	}
	// Half was reserve, so as many servers again use it up.
	for i := 10; i < 19; i++ {
		p.addServer("web", &mintmarkv1.Server{Name: fmt.Sprintf("s%d", i), Address: fmt.Sprintf("127.0.0.1:%d", 1000+i)})
	}
	in1, _ := p.shares("web", 1)
	if len(in1) < 19 {
		t.Fatalf("with the reserve used up, generation 1 has %d owners; want all", len(in1))
	}
	in0, _ := p.shares("web", 0)
	if in0["s0"] == nil || p.phase("web", "s0", 0) != mintmarkv1.Phase_PHASE_RETIRING {
		t.Errorf("generation 0 of s0 is %v; want retiring, and still routed", p.phase("web", "s0", 0))
	}
}
