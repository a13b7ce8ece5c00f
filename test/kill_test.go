package test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// kills is how often TestControlPlaneKilled kills; `make soak` does it 200
// times.
var kills = flag.Int("kills", 20, "how often the control plane is killed")

// A control plane that is killed at random moments, while it is changed, has
// lost nothing that it confirmed when it is back, and balancers routed
// meanwhile. A balancer that starts while it is away routes from its disk.
func TestControlPlaneKilled(t *testing.T) {
	t.Parallel()
	f := &fleet{
		t: t, cert: lab.NewCert(t), servers: make(map[string]*lab.Server), agents: make(map[string]*lab.Agent),
	}
	addr, second := lab.FreeAddr(t), lab.FreeAddr(t)
	f.addrs = []string{addr, addr}
	f.Plane = lab.StartPlane(t, mintmark, "")
	f.Run("pool", "create", "web", "--scheme", "ranges", "--set", "session_lifetime=10m")
	for _, name := range []string{"a", "b"} {
		s, adapter := managedNginx(t, f.cert, name, t.TempDir())
		f.Run("server", "add", "web/"+name, s.Addr)
		f.servers[name], f.agents[name] = s, f.StartAgent("web/"+name, s.Addr, adapter)
	}
	lb1 := f.StartFollower("lb1", fmt.Sprintf(fleetListener, addr))
	lb2 := f.StartFollower("lb2", fmt.Sprintf(fleetListener, second))
	f.settled("a", "b")
	l := newLoad(f)
	l.start(8)
	confirmed, tried := map[string]uint32{}, map[string]uint32{}
	for i := range *kills {
		f.killWhileChanging(t, uint32(i)*100, confirmed, tried) //nolint:gosec // small
		if i == *kills/2 {
			lb2.Kill() // it comes back while the control plane is there again
			lb2.Start()
		}
	}
	l.until(20 * *kills)
	l.end()
	if l.broken > 0 {
		t.Errorf("%d of %d connections broke while the control plane was killed", l.broken, l.visits+l.broken)
	}
	if len(l.declined) > 0 {
		t.Errorf("of %d visits, servers declined %v", l.visits, l.declined)
	}

	// Without a control plane, and with its last routes on disk.
	f.Kill()
	lb1.Kill()
	lb1.StartStale(addr)
	if lb1.Ready() {
		t.Error("a balancer that never synced says that it is ready")
	}
	c := newLoad(f)
	c.start(4)
	c.until(20) // a few visits of each
	c.end()
	if c.broken > 0 || len(c.declined) > 0 {
		t.Errorf("from its disk, the balancer broke %d connections, and servers declined %v", c.broken, c.declined)
	}
}

// killWhileChanging changes weights without end, kills the control plane at a
// random moment of it, starts it again, and looks that it has what it
// confirmed, or what it was being told.
func (f *fleet) killWhileChanging(t *testing.T, from uint32, confirmed, tried map[string]uint32) {
	t.Helper()
	dead := time.After(time.Duration(rand.Int64N(int64(300 * time.Millisecond))))
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		<-dead
		f.Kill()
	}()
	for i := uint32(1); ; i++ {
		name := []string{"a", "b"}[i%2]
		tried[name] = from + i
		_, err := f.Try("", "server", "weight", "web/"+name, strconv.Itoa(int(from+i)))
		if err != nil {
			break
		}
		confirmed[name] = from + i
	}
	<-killed
	f.Start()
	got := f.weights()
	for name, want := range confirmed {
		if got[name] != want && got[name] != tried[name] {
			t.Errorf("%s has the weight %d; %d was confirmed and %d tried last", name, got[name], want, tried[name])
		}
		confirmed[name] = got[name]
	}
}

func (f *fleet) weights() map[string]uint32 {
	f.t.Helper()
	all := make(map[string]uint32)
	for _, p := range f.Pools() {
		for _, s := range p.Servers {
			if s.Weight != nil {
				all[s.Name] = *s.Weight
			}
		}
	}
	return all
}

// settled waits until nothing moves any more: one by one, servers are put into
// a generation each of which has room for them.
func (f *fleet) settled(names ...string) {
	f.t.Helper()
	lab.Eventually(f.t, rolloutLimit, fmt.Sprintf("%v mint the newest generation", names), func() bool {
		want, agents := f.Rollout("web").Rollout.MintingGeneration, f.Agents()
		for _, name := range names {
			a := agents["web/"+name]
			if !a.Verified || len(a.MintingGenerations) != 1 || a.MintingGenerations[0] != want {
				return false
			}
		}
		return !strings.Contains(f.Run("rollout", "status", "web"), "prepared")
	})
}
