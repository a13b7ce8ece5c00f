package test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// settleLimit bounds how long a process may take to do what it was told, and
// metrics may lag behind what a client has seen. It is generous: the machine
// runs other tests as well.
const settleLimit = 30 * time.Second

// A backend is a server with the part of the pool's configuration that says
// which IDs it mints.
type backend struct {
	*lab.Server
	ids string
}

// marked starts three servers whose tickets begin with 4d4d0001, 4d4d0002
// and 4d4d0003. The rules are written in a different way for each: they mean
// the same.
func marked(startServer func(testing.TB, *lab.Cert, string, string) *lab.Server) func(*testing.T, *lab.Cert) []backend {
	return func(t *testing.T, cert *lab.Cert) []backend {
		return []backend{
			{startServer(t, cert, "a", "4d4d0001"), `{range: {from: "4d4d0001", to: "4d4d0001"}}`},
			{startServer(t, cert, "b", "4d4d0002"), `{bits: {offset: 0, mask: "ffffffff", values: ["4d4d0002"]}}`},
			{startServer(t, cert, "c", "4d4d0003"), `{bits: {offset: 1, mask: "ffffff", values: ["4d0003"]}}`},
		}
	}
}

// prefixed starts three `openssl s_server` without tickets.
func prefixed(args ...string) func(*testing.T, *lab.Cert) []backend {
	return func(t *testing.T, cert *lab.Cert) []backend {
		var all []backend
		for _, name := range []string{"a", "b", "c"} {
			prefix := "SRV-" + name
			all = append(all, backend{
				lab.StartOpenSSL(t, cert, name, prefix, args...),
				fmt.Sprintf("{prefix: %q}", prefix),
			})
		}
		return all
	}
}

// twoReplicas runs two balancers from one file; only their addresses differ.
// It has two listeners over the same servers: one whose pool knows their
// spaces, and one, the control, that balances round robin.
func twoReplicas(t *testing.T, servers []backend) []*replica {
	t.Helper()
	var known, control strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&known, "      - {name: %s, address: %q, ids: [%s]}\n", s.Name, s.Addr, s.ids)
		fmt.Fprintf(&control, "      - {name: %s, address: %q}\n", s.Name, s.Addr)
	}
	var all []*replica
	for range 2 {
		r := &replica{routed: lab.FreeAddr(t), control: lab.FreeAddr(t)}
		admin := lab.FreeAddr(t)
		r.Balancer = lab.StartBalancer(t, mintmark, admin, fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - {name: routed, listen: %q, protocol: tls, pool: routed}
  - {name: control, listen: %q, protocol: tls, pool: control}
pools:
  - name: routed
    policy: round-robin
    servers:
%s
  - name: control
    policy: round-robin
    servers:
%s`, admin, r.routed, r.control, &known, &control))
		all = append(all, r)
	}
	return all
}

// A replica is one of several balancers over the same servers.
type replica struct {
	*lab.Balancer
	routed, control string // addresses
}

// A crowd is clients that come back with their sessions.
type crowd struct {
	addr     func(*replica) string
	clients  []lab.Client
	resumed  int
	attempts int
	declined []string // what a person needs to know of each that was not resumed
}

// visit has client i connect through r.
func (c *crowd) visit(t *testing.T, i int, r *replica, version string, first bool) {
	t.Helper()
	got, err := c.clients[i].Connect(c.addr(r))
	if err != nil {
		t.Fatalf("client %d: %v", i, err)
	}
	if got.Version != version {
		t.Fatalf("client %d: got %s; want %s", i, got.Version, version)
	}
	if first {
		if got.Resumed {
			t.Fatalf("client %d resumed a session that it did not have", i)
		}
		return
	}
	c.attempts++
	if got.Resumed {
		c.resumed++
	} else {
		c.declined = append(c.declined, fmt.Sprintf("client %d through %s: %s", i, c.addr(r), got.Body))
	}
}

// Two replicas share nothing but the text of their configuration. Clients go
// to one and the other in turn, one replica is killed and started again in
// the middle, and still every session comes home to the server that minted
// it. Round robin over the same servers, in the same run, finds it one time
// in three.
func TestEverySessionComesHome(t *testing.T) {
	t.Parallel()
	const (
		clients = 12
		rounds  = 6 // 72 resumptions of each kind
	)
	nginx := marked(lab.StartNginx)
	openssl := func(args ...string) func(*testing.T, *lab.Cert) lab.Client {
		return func(t *testing.T, cert *lab.Cert) lab.Client { return lab.NewOpenSSLClient(t, cert, args...) }
	}
	golang := func(version uint16) func(*testing.T, *lab.Cert) lab.Client {
		return func(_ *testing.T, cert *lab.Cert) lab.Client { return lab.NewGoClient(cert, version) }
	}
	for _, kind := range []struct {
		name    string
		start   func(*testing.T, *lab.Cert) []backend
		client  func(*testing.T, *lab.Cert) lab.Client
		version string
		field   string
	}{
		{"nginx, TLS 1.3 tickets", nginx, openssl("-tls1_3"), "TLSv1.3", "psk"},
		{"nginx, TLS 1.2 tickets", nginx, openssl("-tls1_2"), "TLSv1.2", "ticket"},
		{"nginx, TLS 1.3 tickets, Go clients", nginx, golang(tls.VersionTLS13), "TLSv1.3", "psk"},
		{"nginx, TLS 1.2 tickets, Go clients", nginx, golang(tls.VersionTLS12), "TLSv1.2", "ticket"},
		{"openssl, TLS 1.2 session IDs", prefixed(), openssl("-tls1_2"), "TLSv1.2", "session_id"},
		{"openssl, TLS 1.2 session IDs, clients that offer TLS 1.3", prefixed("-tls1_2"), openssl(), "TLSv1.2", "session_id"},
		{"openssl, TLS 1.3 without tickets", prefixed(), openssl("-tls1_3"), "TLSv1.3", "psk"},
		{"haproxy, TLS 1.3 tickets", marked(lab.StartHAProxy), golang(tls.VersionTLS13), "TLSv1.3", "psk"},
		{"apache, TLS 1.3 tickets", marked(lab.StartApache), golang(tls.VersionTLS13), "TLSv1.3", "psk"},
		{"lighttpd, TLS 1.3 tickets", marked(lab.StartLighttpd), golang(tls.VersionTLS13), "TLSv1.3", "psk"},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			cert := lab.NewCert(t)
			replicas := twoReplicas(t, kind.start(t, cert))
			routed := &crowd{addr: func(r *replica) string { return r.routed }}
			control := &crowd{addr: func(r *replica) string { return r.control }}
			for _, c := range []*crowd{routed, control} {
				for range clients {
					c.clients = append(c.clients, kind.client(t, cert))
				}
			}
			// A fixed seed: what this test does must not change from run to run.
			// Without shuffling, the control's round robin would keep in step
			// with the clients and find every server, or none.
			shuffle := rand.New(rand.NewPCG(1, 2))
			through := 0 // resumptions through the replica that stays up
			for round := range rounds + 1 {
				switch round {
				case rounds / 2:
					replicas[0].Kill()
				case rounds/2 + 1:
					replicas[0].Start()
				}
				for _, i := range shuffle.Perm(clients) {
					r := replicas[(i+round)%2]
					if !r.Running() {
						r = replicas[1]
					}
					if r == replicas[1] && round > 0 {
						through++
					}
					routed.visit(t, i, r, kind.version, round == 0)
				}
				for _, i := range shuffle.Perm(clients) {
					control.visit(t, i, replicas[1], kind.version, round == 0)
				}
			}
			t.Logf("resumed: %d of %d routed by mint, %d of %d by round robin",
				routed.resumed, routed.attempts, control.resumed, control.attempts)
			if routed.attempts < 60 || routed.resumed != routed.attempts {
				t.Errorf("%d of %d sessions came home; want all of at least 60; declined:\n%s",
					routed.resumed, routed.attempts, strings.Join(routed.declined, "\n"))
			}
			// One in three is 24 of 72; chance alone stays between these.
			if share := float64(control.resumed) / float64(control.attempts); share < 0.15 || share > 0.55 {
				t.Errorf("round robin: %d of %d sessions came home; want about one in three", control.resumed, control.attempts)
			}
			wantCounted(t, replicas[1], kind.field, through)
		})
	}
}

// wantCounted checks that a replica's metrics tell what the clients saw: n
// connections routed by mint because of field, all of them resumed.
func wantCounted(t *testing.T, r *replica, field string, n int) {
	t.Helper()
	decided := map[string]string{"listener": "routed", "pool": "routed", "field": field, "routed_by": "mint"}
	accepted := map[string]string{"pool": "routed", "routed_by": "mint", "result": "accepted"}
	declined := map[string]string{"pool": "routed", "routed_by": "mint", "result": "declined"}
	lab.Eventually(t, settleLimit, fmt.Sprintf("metrics show %d connections routed by mint and resumed", n), func() bool {
		m := r.Metrics()
		return m.Sum("mintmark_decisions_total", decided) == float64(n) &&
			m.Sum("mintmark_resumptions_total", accepted) == float64(n)
	})
	if got := r.Metrics().Sum("mintmark_resumptions_total", declined); got != 0 {
		t.Errorf("metrics show %v declined resumptions that were routed by mint; want none", got)
	}
}

// curl keeps its sessions for the life of one process, so one process asks
// many times.
func TestCurlComesHome(t *testing.T) {
	t.Parallel()
	cert := lab.NewCert(t)
	replicas := twoReplicas(t, marked(lab.StartNginx)(t, cert))
	const n = 21
	resumed := func(bodies []string) (count int) {
		for _, b := range bodies {
			if strings.Contains(b, " r TLSv1.3") {
				count++
			}
		}
		return count
	}
	if got := resumed(lab.Curl(t, cert, replicas[0].routed, n)); got != n-1 {
		t.Errorf("routed by mint: curl resumed %d of %d sessions; want all", got, n-1)
	}
	if got := resumed(lab.Curl(t, cert, replicas[0].control, n)); got == n-1 {
		t.Errorf("round robin: curl resumed %d of %d sessions; the servers share their tickets", got, n-1)
	}
}
