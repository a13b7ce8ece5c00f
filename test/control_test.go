package test

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// rolloutLimit bounds how long a rollout may take in which nobody is away.
const rolloutLimit = 60 * time.Second

// managed starts a server that takes its keys from an agent, and returns it
// with the adapter of its agent. dir is where both meet.
type managed func(t *testing.T, cert *lab.Cert, name, dir string) (s *lab.Server, adapter string)

func managedNginx(t *testing.T, cert *lab.Cert, name, dir string) (*lab.Server, string) {
	s := lab.StartNginxWith(t, cert, name, lab.Stock, fmt.Sprintf("include %s/*.conf;", dir))
	return s, fmt.Sprintf(`{kind: nginx, dir: %q, pid_file: %q, test: [nginx, -t, -q, -e, stderr, -p, %[3]q, -c, %[3]s/nginx.conf], reload: [sh, -c, "kill -HUP $(cat %[3]s/nginx.pid)"]}`,
		dir, filepath.Join(s.Dir, "nginx.pid"), s.Dir)
}

// A fleet is servers with agents behind two balancers of one control plane.
type fleet struct {
	*lab.Plane
	t       *testing.T
	addrs   []string // of the balancers
	servers map[string]*lab.Server
	agents  map[string]*lab.Agent
	cert    *lab.Cert
}

const fleetListener = "  - {name: web, listen: %q, protocol: tls, pool: web}\n"

func newFleet(t *testing.T, lifetime string, kinds map[string]managed) *fleet {
	t.Helper()
	f := &fleet{
		t: t, addrs: []string{lab.FreeAddr(t), lab.FreeAddr(t)}, cert: lab.NewCert(t),
		servers: make(map[string]*lab.Server), agents: make(map[string]*lab.Agent),
	}
	f.Plane = lab.StartPlane(t, mintmark, fmt.Sprintf(fleetListener, f.addrs[0]))
	adapters := make(map[string]string)
	args := []string{"pool", "create", "web", "--scheme", "ranges", "--set", "session_lifetime=" + lifetime}
	for name, start := range kinds {
		f.servers[name], adapters[name] = start(t, f.cert, name, t.TempDir())
		args = append(args, "--server", name+"="+f.servers[name].Addr)
	}
	f.Run(args...)
	f.StartFollower("lb2", fmt.Sprintf(fleetListener, f.addrs[1]))
	for name, adapter := range adapters {
		f.agents[name] = f.StartAgent("web/"+name, f.servers[name].Addr, adapter)
	}
	return f
}

// minting waits until every server was seen to mint in a generation.
func (f *fleet) minting(generation int, names ...string) {
	f.t.Helper()
	lab.Eventually(f.t, rolloutLimit, fmt.Sprintf("%v mint generation %d", names, generation), func() bool {
		agents := f.Agents()
		for _, name := range names {
			if a := agents["web/"+name]; !a.Verified || !slices.Equal(a.MintingGenerations, []int{generation}) {
				return false
			}
		}
		return true
	})
}

// Without an ID written by hand, servers get disjoint spaces, and every
// session comes home through either balancer, before and after a rotation.
func TestControlPlaneConfiguresBothEnds(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "5s", map[string]managed{"a": managedNginx, "b": managedNginx})
	f.minting(0, "a", "b")
	var clients []lab.Client
	for range 12 {
		clients = append(clients, lab.NewGoClient(f.cert, tls.VersionTLS13))
	}
	visit := func(round int, first bool) {
		t.Helper()
		for i, c := range clients {
			got, err := c.Connect(f.addrs[(i+round)%2])
			if err != nil {
				t.Fatalf("client %d: %v", i, err)
			}
			if got.Resumed == first {
				t.Errorf("round %d, client %d: resumed %v at %s", round, i, got.Resumed, got.Body)
			}
		}
	}
	visit(0, true)
	for round := range 4 {
		visit(round, false)
	}
	f.Run("rollout", "rotate", "web")
	for round := range 4 {
		visit(round, false)
	}
	f.minting(1, "a", "b")
	for round := range 4 {
		visit(round, false)
	}
	// The old generation dies, because clients have tickets of the new one.
	lab.Eventually(t, 3*time.Minute, "generation 0 is gone", func() bool { return f.Rollout("web").Phase("a", 0) == "" })
	if out := f.Run("status"); !strings.Contains(out, "nothing is waited for") || strings.Contains(out, "ALARM") {
		t.Errorf("at rest, the status is\n%s", out)
	}
}
