package test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/agent/adapter"
	"github.com/mintmark/mintmark/mint"
	"github.com/mintmark/mintmark/mint/control"
	"github.com/mintmark/mintmark/test/lab"
)

// rolloutLimit bounds how long a rollout may take in which nobody is away.
const rolloutLimit = 2 * time.Minute

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
	f := newFleet(t, "15s", map[string]managed{"a": managedNginx, "b": managedNginx})
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

func managedHAProxy(t *testing.T, cert *lab.Cert, name, dir string) (*lab.Server, string) {
	file := filepath.Join(dir, "tickets")
	writeKeys(t, adapter.Config{Kind: "haproxy", File: file, PIDFile: "x", Reload: []string{"true"}})
	s := lab.StartHAProxyWith(t, cert, name, lab.Stock, "tls-ticket-keys "+file)
	return s, fmt.Sprintf(`{kind: haproxy, file: %q, socket: %q}`, file, s.Socket)
}

func managedApache(t *testing.T, cert *lab.Cert, name, dir string) (*lab.Server, string) {
	file := filepath.Join(dir, "ticket48")
	writeKeys(t, adapter.Config{Kind: "apache", File: file, PIDFile: "x", Test: []string{"true"}, Reload: []string{"true"}})
	s := lab.StartApacheWith(t, cert, name, lab.Stock, "SSLSessionTickets on", "SSLSessionTicketKeyFile "+file)
	return s, fmt.Sprintf(`{kind: apache, file: %q, pid_file: %q, test: [apache2, -t, -f, %[3]q], reload: [sh, -c, "kill -USR1 $(cat %[2]s)"]}`,
		file, filepath.Join(s.Dir, "apache.pid"), filepath.Join(s.Dir, "apache.conf"))
}

// startGo runs a Go server with the SDK, which joins by itself.
func (f *fleet) startGo(name string) {
	f.t.Helper()
	dir := f.t.TempDir()
	cert, err := tls.LoadX509KeyPair(f.cert.CertFile, f.cert.KeyFile)
	if err != nil {
		f.t.Fatal(err)
	}
	addr := lab.FreeAddr(f.t)
	f.Run("server", "add", "web/"+name, addr)
	source, err := control.New(control.Config{
		URLs: []string{f.URL}, Dir: filepath.Join(dir, "credentials"),
		TokenFile: lab.WriteFile(f.t, dir, "join.token", []byte(f.Run("token", "create", "agent", "web/"+name))),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	client, err := mint.Open(mint.Config{State: filepath.Join(dir, "mint.json"), Source: source})
	if err != nil {
		f.t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", addr, client.TLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}}))
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = client.Run(ctx) })
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			fmt.Fprintf(w, "%s %v\n", name, r.TLS.DidResume)
		}),
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	wg.Go(func() { _ = server.Serve(ln) })
	f.t.Cleanup(func() {
		stop()
		_ = server.Close()
		wg.Wait()
	})
}

// A crowdLoad is clients that come back with their sessions, without end, through
// one balancer and the other.
type crowdLoad struct {
	f    *fleet
	stop chan struct{}
	wg   sync.WaitGroup

	mu       sync.Mutex
	visits   int
	broken   int // connections that failed
	resumed  int
	declined map[string]int // full handshakes, by the server that was right
	wrong    []string
	may      func(owner, got string) bool // nil: only the owner may answer
}

// start adds clients. Their first visit is over when it returns.
func (l *crowdLoad) start(n int) {
	l.f.t.Helper()
	for range n {
		c := lab.NewGoClient(l.f.cert, tls.VersionTLS13)
		var first lab.Result
		lab.Eventually(l.f.t, rolloutLimit, "a new client is served", func() (ok bool) {
			var err error
			first, err = c.Connect(l.f.addrs[0]) // a server may have been killed just now
			return err == nil
		})
		l.wg.Go(func() { l.visit(c, serverOf(first)) })
	}
}

func serverOf(r lab.Result) string {
	name, _, _ := strings.Cut(strings.TrimSpace(r.Body), " ")
	return name
}

// visit comes back until the load is over. A connection that breaks is tried
// again: what counts is where it arrives.
func (l *crowdLoad) visit(c *lab.GoClient, owner string) {
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			return
		case <-time.After(30 * time.Millisecond): // some thirty visits a second of each client
		}
		got, err := c.Connect(l.f.addrs[i%2])
		l.mu.Lock()
		if err != nil {
			l.broken++
			if c.Ticket() == nil {
				owner = "" // broken in the handshake: Go's client throws the ticket away
			}
			l.mu.Unlock()
			continue
		}
		l.visits++
		name := serverOf(got)
		switch {
		case owner == "":
		case name != owner && (l.may == nil || !l.may(owner, name)):
			l.wrong = append(l.wrong, fmt.Sprintf("an ID of %s arrived at %s, through balancer %d", owner, name, i%2+1))
		case got.Resumed:
			l.resumed++
		default:
			l.declined[owner]++
		}
		l.mu.Unlock()
		owner = name
	}
}

// allow says from now on who else may answer.
func (l *crowdLoad) allow(may func(owner, got string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.may = may
}

// more waits until there were n more visits.
func (l *crowdLoad) more(n int) {
	l.f.t.Helper()
	l.until(l.count() + n)
}

// until waits until there were n visits.
func (l *crowdLoad) until(n int) {
	l.f.t.Helper()
	lab.Eventually(l.f.t, rolloutLimit, fmt.Sprintf("there were %d visits", n), func() bool { return l.count() >= n })
}

func (l *crowdLoad) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.visits
}

func (l *crowdLoad) end() {
	l.f.t.Helper()
	close(l.stop)
	l.wg.Wait()
	l.f.t.Logf("%d visits, %d resumed, declined %v", l.visits, l.resumed, l.declined)
	if len(l.wrong) > 0 {
		l.f.t.Errorf("%d IDs were routed elsewhere, the first: %v", len(l.wrong), l.wrong[:min(5, len(l.wrong))])
	}
}

func newLoad(f *fleet) *crowdLoad {
	return &crowdLoad{f: f, stop: make(chan struct{}), declined: make(map[string]int)}
}

// From an empty directory: a control plane, two balancers, agents beside two
// nginx, a HAProxy and an Apache, and a Go server with the SDK, all with
// spaces that nobody wrote. Under constant load there is a rotation, a server
// is added, one is drained and one removed, and no ID that was valid before a
// step ever arrives elsewhere, except where its server is gone.
func TestWholeFleet(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "10m", map[string]managed{"n1": managedNginx, "n2": managedNginx, "h": managedHAProxy, "ap": managedApache})
	f.startGo("go")
	all := []string{"n1", "n2", "h", "ap", "go"}
	f.minting(0, all...)
	seen := map[string]string{}
	for _, s := range f.Rollout("web").Rollout.Spaces {
		if other, taken := seen[s.Rule]; taken {
			t.Errorf("%s and %s have the same space", s.Owner, other)
		}
		seen[s.Rule] = s.Owner
	}
	if len(seen) < len(all) {
		t.Errorf("there are the spaces %v; want one for each of %v", seen, all)
	}
	l := newLoad(f)
	l.start(20)

	// Apache keeps one key, so the rotation has to be asked for by its price.
	if _, err := f.Try("", "rollout", "rotate", "web"); err == nil || !strings.Contains(err.Error(), "server ap (Apache httpd) keeps 1 keys: sessions of generation 0 end there") {
		t.Errorf("rotating without the price: %v", err)
	}
	f.Run("rollout", "rotate", "web", "--end-sessions")
	f.minting(1, all...)
	if r := f.Rollout("web"); r.Phase("n1", 0) != "retiring" || r.Phase("n1", 1) != "minting" {
		t.Errorf("after the rotation, generation 0 of n1 is %s, generation 1 %s", r.Phase("n1", 0), r.Phase("n1", 1))
	}

	s, adapterOf := managedNginx(t, f.cert, "n3", t.TempDir())
	f.Run("server", "add", "web/n3", s.Addr, "--weight", "0")
	f.servers["n3"], f.agents["n3"] = s, f.StartAgent("web/n3", s.Addr, adapterOf)
	f.minting(1, "n3")
	f.Run("server", "weight", "web/n3", "5")
	l.start(10)

	f.Run("server", "drain", "web/n2")
	l.start(10)
	if !strings.Contains(f.Run("pool", "list", "--json"), `"draining": true`) {
		t.Error("nobody is shown as draining")
	}

	l.allow(func(owner, _ string) bool { return owner == "n2" })
	f.Run("server", "remove", "web/n2")
	lab.Eventually(t, rolloutLimit, "n2 is retired", func() bool { return f.Rollout("web").Phase("n2", 1) == "retiring" })
	l.start(10)
	l.more(200) // load goes on over the last step
	l.until(1000)
	l.end()
	for name, n := range l.declined {
		if name != "n2" && name != "ap" {
			t.Errorf("server %s declined %d of its own sessions", name, n)
		}
	}
	if l.resumed < l.visits/2 {
		t.Errorf("%d of %d visits resumed a session", l.resumed, l.visits)
	}
}

// Two pairs of nginx that share their keys. When a member is killed under
// load, its sessions are accepted by its partner and arrive nowhere else, also
// while a rotation is under way; and a member that drains hands its sessions
// over with the next resumption of each.
func TestGroups(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "10m", map[string]managed{"a1": managedNginx, "a2": managedNginx, "b1": managedNginx, "b2": managedNginx})
	partner := map[string]string{"a1": "a2", "a2": "a1", "b1": "b2", "b2": "b1"}
	for name := range partner {
		f.Run("server", "group", "web/"+name, name[:1])
	}
	all := []string{"a1", "a2", "b1", "b2"}
	f.minting(0, all...)
	f.hold(partner)
	l := newLoad(f)
	l.start(24)

	f.Run("rollout", "rotate", "web")
	l.allow(func(owner, got string) bool { return owner == "a1" && got == "a2" })
	f.servers["a1"].KillAll()
	l.start(8)
	l.more(200) // load over the death of a member
	f.servers["a1"].Restart()
	f.minting(1, all...)
	f.hold(partner)

	l.allow(func(owner, got string) bool { return owner == "a1" && got == "a2" || owner == "b1" && got == "b2" })
	f.Run("server", "drain", "web/b1")
	lab.Eventually(t, settleLimit, "the balancer drains b1", func() bool {
		return f.Metrics().Sum("mintmark_server_draining", map[string]string{"server": "b1"}) == 1
	})
	l.more(1000) // many visits of each client
	l.end()
	if len(l.declined) > 0 {
		t.Errorf("sessions were declined: %v", l.declined)
	}
	// Whoever had a session of b1 has one of b2 now.
	c := newLoad(f)
	c.start(8)
	c.until(50)
	c.end()
}

// hold waits until every server accepts sessions of its partner.
func (f *fleet) hold(partner map[string]string) {
	f.t.Helper()
	for name, other := range partner {
		lab.Eventually(f.t, rolloutLimit, fmt.Sprintf("%s holds the key of %s", other, name), func() bool {
			c := lab.NewGoClient(f.cert, tls.VersionTLS13)
			if _, err := c.Connect(f.servers[name].Addr); err != nil {
				return false
			}
			got, err := c.Connect(f.servers[other].Addr)
			return err == nil && got.Resumed
		})
	}
}
