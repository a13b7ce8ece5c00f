package test

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// pageLimit bounds how long a page may take to show what has happened. It is
// generous: the machine runs other tests as well.
const pageLimit = 60 * time.Second

// A journey is a person at a browser, who starts with nothing, and what is
// really there: two nginx, their agents, a balancer.
type journey struct {
	*lab.Browser
	t       *testing.T
	plane   *lab.Plane
	addr    string // of the balancer
	cert    *lab.Cert
	servers map[string]*lab.Server
	dirs    map[string]string // where an agent puts what its nginx reads
	// adapters are what the agents are told of their nginx.
	adapters map[string]string
}

// TestWebUI is the whole way of somebody who has never read the documentation:
// from an empty store to sessions that come home, and a drain. Each step looks
// at the page, and at what nginx and its clients see.
func TestWebUI(t *testing.T) {
	t.Parallel()
	j := &journey{
		t: t, addr: lab.FreeAddr(t), cert: lab.NewCert(t),
		servers: make(map[string]*lab.Server), dirs: make(map[string]string), adapters: make(map[string]string),
	}
	plane, token := lab.StartEmptyPlane(t, mintmark, fmt.Sprintf(fleetListener, j.addr))
	j.plane = plane
	j.Browser = lab.StartBrowser(t, plane.URL)

	j.Open("/")
	j.Fill("#token", token)
	j.Press("Log in")
	j.Fill("#password", "correct horse battery")
	j.Fill("#again", "correct horse battery")
	j.Press("Set the password")
	j.Says(pageLimit, "Start with a pool", "Listener web waits for pool web")

	j.createPool()
	j.joinAgents()
	clients := j.traffic()
	j.explainTicket(clients[0])
	j.drain(clients)
	j.goBack()
}

// createPool makes the pool of two nginx, after its plan was shown.
func (j *journey) createPool() {
	j.t.Helper()
	var lines strings.Builder
	for _, name := range []string{"a", "b"} {
		j.dirs[name] = j.t.TempDir()
		j.servers[name], j.adapters[name] = managedNginx(j.t, j.cert, name, j.dirs[name])
		fmt.Fprintf(&lines, "%s %s\n", name, j.servers[name].Addr)
	}
	j.Press("Create the first pool")
	if name := lab.Eval[string](j.Browser, "document.querySelector('#name').value"); name != "web" {
		j.t.Errorf("the form suggests the name %q; want that of the pool that a listener waits for", name)
	}
	j.Fill("#servers", lines.String())
	j.Press("Show the plan")
	j.Says(pageLimit, "Nothing has been changed yet", "+ new", "range 00000000-")
	j.Press("Go back, change nothing")
	if got := lab.Eval[string](j.Browser, "document.querySelector('#servers').value"); got != lines.String() {
		j.t.Errorf("after going back the servers are %q", got)
	}
	j.Press("Show the plan")
	j.Press("Create the pool")
	// Without an agent nothing was written for nginx, and the page says who.
	j.Says(pageLimit, "Rollout", "Join the agent of a", "Every balancer has it on disk and routes by it.")
	for name, dir := range j.dirs {
		if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) > 0 {
			j.t.Errorf("before its agent has joined, nginx %s has %v", name, files)
		}
	}
}

var agentToken = regexp.MustCompile(`mm1\.agent\.\S+`)

// joinAgents runs the agents with the tokens that the pages make, and watches
// the rollout to its end.
func (j *journey) joinAgents() {
	j.t.Helper()
	for _, name := range []string{"a", "b"} {
		j.Open("/servers/web/" + name)
		j.Press("Make a token for " + name)
		token := agentToken.FindString(j.Text())
		if token == "" {
			j.t.Fatalf("the page has no token:\n%s", j.Text())
		}
		j.plane.StartAgentBy(token, "web/"+name, j.servers[name].Addr, j.adapters[name])
	}
	j.Open("/pools/web")
	j.Says(pageLimit, "finished", "Nothing is waited for.", "2 of 2")
	j.Open("/servers")
	j.Says(pageLimit, "connected", "nginx")
	for name := range j.servers {
		j.mintsItsSpace(name, 0)
		if files, _ := filepath.Glob(filepath.Join(j.dirs[name], "*.conf")); len(files) == 0 {
			j.t.Errorf("nginx %s has no key from its agent", name)
		}
	}
}

// mintsItsSpace holds that the tickets of a server, asked directly, begin with a
// value of the range that the picture of the space says is its own.
func (j *journey) mintsItsSpace(name string, generation int) {
	j.t.Helper()
	j.Open("/spaces/web?owner=" + name)
	about := lab.Eval[string](j.Browser, fmt.Sprintf(`document.querySelector('[aria-labelledby="g%d"] .cell[data-owner="%s"]').querySelector('title').textContent`, generation, name))
	m := regexp.MustCompile(`range ([0-9a-f]+)-([0-9a-f]+)`).FindStringSubmatch(about)
	if m == nil {
		j.t.Fatalf("the picture says of %s: %q", name, about)
	}
	from, _ := hex.DecodeString(m[1])
	to, _ := hex.DecodeString(m[2])
	client := lab.NewGoClient(j.cert, tls.VersionTLS13)
	if _, err := client.Connect(j.servers[name].Addr); err != nil {
		j.t.Fatal(err)
	}
	if ticket := client.Ticket(); len(ticket) < len(from) || bytes.Compare(ticket[:len(from)], from) < 0 || bytes.Compare(ticket[:len(to)], to) > 0 {
		j.t.Errorf("nginx %s minted a ticket that begins with %x; the picture says %s", name, ticket[:min(8, len(ticket))], m[0])
	}
}

// connect has a client visit the balancer, and returns who answered.
func (j *journey) connect(c *lab.GoClient) (server string, resumed bool) {
	j.t.Helper()
	got, err := c.Connect(j.addr)
	if err != nil {
		j.t.Fatal(err)
	}
	server, how, _ := strings.Cut(got.Body, " ")
	if strings.HasPrefix(how, "r") != got.Resumed {
		j.t.Errorf("nginx says %q, the client resumed %v", got.Body, got.Resumed)
	}
	return server, got.Resumed
}

// traffic has clients come, and come back, while the overview is watched.
func (j *journey) traffic() []*lab.GoClient {
	j.t.Helper()
	j.Open("/")
	j.Says(pageLimit, "Live", "no client has come back yet")
	var clients []*lab.GoClient
	home := make(map[*lab.GoClient]string)
	for range 10 {
		c := lab.NewGoClient(j.cert, tls.VersionTLS13)
		home[c], _ = j.connect(c)
		clients = append(clients, c)
	}
	for round := range 4 {
		for i, c := range clients {
			if server, resumed := j.connect(c); !resumed || server != home[c] {
				j.t.Errorf("round %d, client %d: came to %s, resumed %v; want %s", round, i, server, resumed, home[c])
			}
		}
	}
	// The page has followed by itself: every session came home, where round
	// robin over two would have found half.
	j.Says(pageLimit, "100 % round robin would find 50.0 %", "100 % of 40", "Servers up 2 of 2")
	j.Says(pageLimit, "Nothing needs you.")
	if n := j.plane.Metrics().Sum("mintmark_resumptions_total", map[string]string{"pool": "web", "result": "accepted"}); n != 40 {
		j.t.Errorf("the balancer counted %v sessions that came home; want 40", n)
	}
	return clients
}

// explainTicket pastes the ticket of a client, which then goes where the page
// said.
func (j *journey) explainTicket(c *lab.GoClient) {
	j.t.Helper()
	j.Open("/explain")
	j.Fill("#value", hex.EncodeToString(c.Ticket()))
	j.Press("Explain")
	server, _ := j.connect(c)
	j.Says(pageLimit, "It goes to "+server, "Routed by mint", server+" minted it in generation 0", "range ")
}

// drain drains a, after the page has said what that means, and looks whether it
// is so.
func (j *journey) drain(clients []*lab.GoClient) {
	j.t.Helper()
	j.Open("/servers/web/a")
	j.Press("Drain")
	j.Says(pageLimit, "New sessions go to the other servers", "Sessions that a minted still come home to it")
	j.Press("Drain a")
	j.Says(pageLimit, "draining", "End the drain")
	lab.Eventually(j.t, pageLimit, "the balancer drains a", func() bool {
		return j.plane.Metrics().Sum("mintmark_server_draining", map[string]string{"server": "a"}) == 1
	})
	for i, c := range clients {
		want := "b"
		if j.goesTo(c, "a") {
			want = "a"
		}
		if server, resumed := j.connect(c); !resumed || server != want {
			j.t.Errorf("while a drains, client %d came to %s, resumed %v; want %s", i, server, resumed, want)
		}
	}
	for range 6 {
		if server, _ := j.connect(lab.NewGoClient(j.cert, tls.VersionTLS13)); server != "b" {
			j.t.Errorf("while a drains, a new client came to %s", server)
		}
	}
}

// goesTo reports whether the page says that a client's ticket goes to a server.
func (j *journey) goesTo(c *lab.GoClient, server string) bool {
	j.t.Helper()
	j.Open("/explain")
	j.Fill("#value", hex.EncodeToString(c.Ticket()))
	j.Press("Explain")
	return strings.Contains(j.Text(), "It goes to "+server)
}

// goBack returns to the state before the drain: a new generation, which nginx
// mints, while sessions of the one before still come home.
func (j *journey) goBack() {
	j.t.Helper()
	old := lab.NewGoClient(j.cert, tls.VersionTLS13)
	home, _ := j.connect(old)
	j.Open("/log")
	j.Says(pageLimit, "put pool web", "update server web/a", "create token agent web/a")
	link := lab.Eval[string](j.Browser, `[...document.querySelectorAll('tr')].find((r) => r.textContent.includes('put pool')).querySelector('a.do').getAttribute('href')`)
	j.Open(link)
	j.Says(pageLimit, "It is a new generation", "+ new", "stays")
	j.Press("Go back")
	j.Says(pageLimit, "Generation 1", "2 of 2 The servers mint it, seen on the wire.", "Generation 0", "Retiring")
	for name := range j.servers {
		j.mintsItsSpace(name, 1)
	}
	lab.Eventually(j.t, pageLimit, "a drains no more", func() bool {
		return j.plane.Metrics().Sum("mintmark_server_draining", map[string]string{"server": "a"}) == 0
	})
	if server, resumed := j.connect(old); !resumed || server != home {
		j.t.Errorf("a session of generation 0 came to %s, resumed %v; want %s", server, resumed, home)
	}
}
