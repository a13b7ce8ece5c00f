package test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// stock starts three servers of a product with nothing but a certificate.
func stock(startServer func(tb testing.TB, cert *lab.Cert, name, mark string) *lab.Server) func(*testing.T, *lab.Cert) []*lab.Server {
	return func(t *testing.T, cert *lab.Cert) []*lab.Server {
		var all []*lab.Server
		for _, name := range []string{"a", "b", "c"} {
			all = append(all, startServer(t, cert, name, lab.Stock))
		}
		return all
	}
}

// startProbing runs a balancer that finds the marks of its servers itself, and
// beside it one listener of plain round robin over the same servers.
func startProbing(t *testing.T, servers []*lab.Server, interval string) *replica {
	t.Helper()
	var list strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&list, "      - {name: %s, address: %q}\n", s.Name, s.Addr)
	}
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
    health: {type: tcp, interval: 200ms, rise: 1, fall: 1}
    discover: {probe: true, sni: %s, interval: %s}
    servers:
%s
  - name: control
    servers:
%s`, admin, r.routed, r.control, lab.ServerName, interval, &list, &list))
	return r
}

// Servers that nobody configured, started with nothing but a certificate: the
// balancer reads their names off them, and their sessions come home.
func TestStockServersNeedNoConfiguration(t *testing.T) {
	t.Parallel()
	openssl := func(tb testing.TB, cert *lab.Cert, name, _ string) *lab.Server {
		return lab.StartStockOpenSSL(tb, cert, name)
	}
	node := func(tb testing.TB, cert *lab.Cert, name, _ string) *lab.Server { return lab.StartNode(tb, cert, name) }
	for _, product := range []struct {
		name  string
		start func(tb testing.TB, cert *lab.Cert, name, mark string) *lab.Server
	}{
		{"nginx", lab.StartNginx},
		{"haproxy", lab.StartHAProxy},
		{"apache", lab.StartApache},
		{"lighttpd", lab.StartLighttpd},
		{"node", node},
		{"openssl", openssl},
	} {
		t.Run(product.name, func(t *testing.T) {
			t.Parallel()
			const clients, rounds = 10, 6 // 60 resumptions of each version
			cert := lab.NewCert(t)
			balancer := startProbing(t, stock(product.start)(t, cert), "30s")
			for _, v := range []struct{ flag, name string }{{"-tls1_3", "TLSv1.3"}, {"-tls1_2", "TLSv1.2"}} {
				routed := &crowd{addr: func(r *replica) string { return r.routed }}
				control := &crowd{addr: func(r *replica) string { return r.control }}
				for range clients {
					routed.clients = append(routed.clients, lab.NewOpenSSLClient(t, cert, v.flag))
					control.clients = append(control.clients, lab.NewOpenSSLClient(t, cert, v.flag))
				}
				// Shuffled with a fixed seed, or round robin would keep in step
				// with the clients and find every server, or none.
				shuffle := rand.New(rand.NewPCG(1, 2))
				for round := range rounds + 1 {
					for _, i := range shuffle.Perm(clients) {
						routed.visit(t, i, balancer, v.name, round == 0)
					}
					for _, i := range shuffle.Perm(clients) {
						control.visit(t, i, balancer, v.name, round == 0)
					}
				}
				t.Logf("%s: %d of %d resumed, by round robin %d of %d", v.name,
					routed.resumed, routed.attempts, control.resumed, control.attempts)
				if routed.resumed < 58 {
					t.Errorf("%s: %d of %d sessions came home; want at least 58; declined:\n%s", v.name,
						routed.resumed, routed.attempts, strings.Join(routed.declined, "\n"))
				}
				if share := float64(control.resumed) / float64(control.attempts); share < 0.1 || share > 0.6 {
					t.Errorf("%s: round robin found %d of %d; want about one in three, or this test shows nothing", v.name,
						control.resumed, control.attempts)
				}
			}
		})
	}
}

// A server that restarts has a new name. Its old sessions are lost with its
// key, those of the others are not, and its new ones come home again.
func TestRestartedServerIsProbedAgain(t *testing.T) {
	t.Parallel()
	cert := lab.NewCert(t)
	servers := []*lab.Server{}
	for _, name := range []string{"a", "b", "c"} {
		servers = append(servers, lab.StartNginx(t, cert, name, lab.Stock))
	}
	balancer := startProbing(t, servers, "2s")
	const clients = 12
	var all []lab.Client
	home := make([]string, clients) // which server each client's session is of
	visit := func(i int) lab.Result {
		r, err := all[i].Connect(balancer.routed)
		if err != nil {
			t.Fatal(err)
		}
		home[i], _, _ = strings.Cut(r.Body, " ")
		return r
	}
	for i := range clients {
		all = append(all, lab.NewGoClient(cert, tls.VersionTLS13))
		visit(i)
	}
	before := nameOf(t, servers[0])
	servers[0].Signal(syscall.SIGHUP) // new workers, a new key, the same port
	lab.Eventually(t, 20*time.Second, "the reloaded server has a new name", func() bool {
		name := nameOf(t, servers[0])
		return name != "" && name != before
	})
	lost := 0
	for i := range clients {
		was := home[i]
		if r := visit(i); !r.Resumed {
			lost++
			if was != "a" {
				t.Errorf("a session of %s was lost by the reload of a", was)
			}
		}
	}
	t.Logf("%d of %d sessions were lost, all of the server that was reloaded", lost, clients)
	if lost == 0 {
		t.Error("no session was lost: the server kept its key, and this test shows nothing")
	}
	// Within one interval every client's session is of a known name again.
	lab.Eventually(t, 20*time.Second, "all sessions resume again", func() bool {
		resumed := 0
		for i := range clients {
			if visit(i).Resumed {
				resumed++
			}
		}
		return resumed == clients
	})
}

// nameOf asks a server for the name that it mints with; "" when it has none,
// or two because it is changing them.
func nameOf(t *testing.T, s *lab.Server) string {
	t.Helper()
	out, err := exec.Command(mintmark, "probe", s.Addr, "--sni", lab.ServerName, "--json").Output()
	var got struct{ Name string }
	if jsonErr := json.Unmarshal(out, &got); jsonErr != nil {
		t.Fatalf("probing %s: %v, %v: %s", s.Name, err, jsonErr, out)
	}
	return got.Name
}

// What Debian ships with tickets turned off: the probe says so and what to
// write, and traffic is balanced as without it.
func TestProbeSaysThatTicketsAreOff(t *testing.T) {
	t.Parallel()
	cert := lab.NewCert(t)
	haproxy := lab.StartHAProxyWith(t, cert, "a", lab.Stock, "no-tls-tickets")
	apache := lab.StartApacheWith(t, cert, "b", lab.Stock, "SSLSessionTickets off", "SSLSessionCache shmcb:"+filepath.Join(t.TempDir(), "cache"))
	for _, tt := range []struct {
		server *lab.Server
		remedy string
	}{{haproxy, "no-tls-tickets"}, {apache, "SSLSessionTickets on"}} {
		out, err := exec.Command(mintmark, "probe", tt.server.Addr, "--sni", lab.ServerName, "--json").Output()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
			t.Errorf("%s: probe ended with %v; want exit status 1", tt.server.Name, err)
		}
		var got struct {
			Layout   string
			Routable bool
			Advice   []string
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		if got.Layout != "stateful" || got.Routable || !strings.Contains(strings.Join(got.Advice, "\n"), tt.remedy) {
			t.Errorf("%s: got %+v; want layout stateful with %q in its advice", tt.server.Name, got, tt.remedy)
		}
	}
	balancer := startProbing(t, []*lab.Server{haproxy, apache}, "30s")
	served := map[string]int{}
	for range 10 {
		r, err := lab.NewGoClient(cert, tls.VersionTLS13).Connect(balancer.routed)
		if err != nil {
			t.Fatal(err)
		}
		served[strings.Fields(r.Body)[0]]++
	}
	if served["a"] != 5 || served["b"] != 5 {
		t.Errorf("round robin gave %v; want 5 each", served)
	}
}

// Names outlive a restart of the balancer, on disk.
func TestNamesAreKeptOnDisk(t *testing.T) {
	t.Parallel()
	cert := lab.NewCert(t)
	balancer := startProbing(t, []*lab.Server{
		lab.StartNginx(t, cert, "a", "4d4d0001"), lab.StartNginx(t, cert, "b", "4d4d0002"),
	}, "30s")
	data, err := os.ReadFile(balancer.File("routed.names"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"4d4d0001", "4d4d0002"} {
		if !strings.Contains(string(data), name) {
			t.Errorf("the cache lacks %s:\n%s", name, data)
		}
	}
}
