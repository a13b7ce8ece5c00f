package test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mintmark/mintmark/internal/daemon"
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
    health: {type: tcp, interval: 10s, timeout: 10s, rise: 1, fall: 1} # a busy machine is slow, and its servers not down
    discover: {probe: true, sni: %s, interval: %s}
    servers:
%s
  - name: control
    servers:
%s`, admin, r.routed, r.control, lab.ServerName, interval, &list, &list))
	// A start does not wait long for probes, and those of a busy machine's
	// servers are repeated with the interval.
	lab.Eventually(t, 2*settleLimit, "every server was probed", func() bool {
		return !slices.ContainsFunc(statusOf(t, r.Balancer).Pools[0].Servers, func(s daemon.ServerStatus) bool { return s.Layout == "" })
	})
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
				// Shuffled, or round robin would keep in step with the clients and
				// find every server, or none. With a fixed seed, another one for
				// each kind, so that they do not all show the same luck.
				seed := fnv.New64()
				_, _ = io.WriteString(seed, product.name+v.name)
				shuffle := rand.New(rand.NewPCG(seed.Sum64(), 0))
				for round := range rounds + 1 {
					for _, i := range shuffle.Perm(clients) {
						routed.visit(t, i, balancer, v.name, round == 0)
					}
					for _, i := range shuffle.Perm(clients) {
						control.visit(t, i, balancer, v.name, round == 0)
					}
				}
				t.Logf("%s, %s: %d of %d resumed, by round robin %d of %d", product.name, v.name,
					routed.resumed, routed.attempts, control.resumed, control.attempts)
				if routed.resumed < 58 {
					t.Errorf("%s: %d of %d sessions came home; want at least 58; declined:\n%s", v.name,
						routed.resumed, routed.attempts, strings.Join(routed.declined, "\n"))
				}
				if share := float64(control.resumed) / float64(control.attempts); share < 0.15 || share > 0.55 {
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
	lab.Eventually(t, settleLimit, "the reloaded server has a new name", func() bool {
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
	lab.Eventually(t, settleLimit, "all sessions resume again", func() bool {
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

// packagedBindOptions returns what the configuration file that comes with
// HAProxy's package sets for every bind line.
func packagedBindOptions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("/etc/haproxy/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 0 && words[0] == "ssl-default-bind-options" {
			return words[1:]
		}
	}
	t.Fatalf("/etc/haproxy/haproxy.cfg has no ssl-default-bind-options:\n%s", text)
	return nil
}

// What Debian ships with tickets turned off, in its own words: the probe says
// so and what to write, and traffic is balanced as without it.
func TestProbeSaysThatTicketsAreOff(t *testing.T) {
	t.Parallel()
	cert := lab.NewCert(t)
	haproxy := lab.StartHAProxyWith(t, cert, "a", lab.Stock, packagedBindOptions(t)...)
	apache := lab.StartApacheWith(t, cert, "b", lab.Stock, "Define APACHE_RUN_DIR "+t.TempDir(),
		"LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so", "TypesConfig /dev/null",
		"Include /etc/apache2/mods-available/ssl.conf")
	for _, tt := range []struct {
		server *lab.Server
		remedy string
	}{{haproxy, "no-tls-tickets"}, {apache, "SSLSessionTickets on"}} {
		out, err := exec.Command(mintmark, "probe", tt.server.Addr, "--sni", lab.ServerName, "--json").Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
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
	out, err := exec.Command(mintmark, "status", "-c", balancer.File("mintmark.yaml")).Output()
	if want := "server a mints nothing to route by (stateful): `mintmark probe " + haproxy.Addr + "`"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("mintmark status: %v, lacks %q:\n%s", err, want, out)
	}
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

// statusOf asks a balancer how it is, as a person would.
func statusOf(t *testing.T, b *lab.Balancer) daemon.Status {
	t.Helper()
	out, err := exec.Command(mintmark, "status", "-c", b.File("mintmark.yaml"), "--json").Output()
	var s daemon.Status
	if jsonErr := json.Unmarshal(out, &s); err != nil || jsonErr != nil {
		t.Fatalf("mintmark status: %v, %v: %s", err, jsonErr, out)
	}
	return s
}

// The fault that really happens: one of three servers has a wrong key file. It
// is found and named, it alone, on the wire with TLS 1.2 and by the probe with
// TLS 1.3.
func TestWrongKeyFileIsFound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		version  uint16
		discover string
		field    string
	}{
		{"within ten TLS 1.2 connections", tls.VersionTLS12, "", "ticket"},
		{"within one probe when all traffic is TLS 1.3", tls.VersionTLS13, "discover: {probe: true, sni: lab.test, interval: 2s}", "psk"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cert := lab.NewCert(t)
			var list strings.Builder
			for i, name := range []string{"a", "b", "c"} {
				mark := fmt.Sprintf("4d4d000%d", i+1)
				mints := mark
				if name == "b" {
					mints = "4d4d0001" // the key file of a
				}
				s := lab.StartNginx(t, cert, name, mints)
				fmt.Fprintf(&list, "      - {name: %s, address: %q, ids: [{range: {from: %q, to: %q}}]}\n", name, s.Addr, mark, mark)
			}
			addr, admin := lab.FreeAddr(t), lab.FreeAddr(t)
			b := lab.StartBalancer(t, mintmark, admin, fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - {name: web, listen: %q, protocol: tls, pool: web}
pools:
  - name: web
    %s
    servers:
%s`, admin, addr, tt.discover, &list))
			for range 9 { // three on each server
				if _, err := lab.NewGoClient(cert, tt.version).Connect(addr); err != nil {
					t.Fatal(err)
				}
			}
			lab.Eventually(t, settleLimit, "status names the server with the wrong key file", func() bool {
				for _, s := range statusOf(t, b).Pools[0].Servers {
					if s.Name == "b" {
						return s.ForeignMints > 0 && s.Examples[0].Owner == "a"
					}
				}
				return false
			})
			for _, s := range statusOf(t, b).Pools[0].Servers {
				if s.Name != "b" && s.ForeignMints != 0 {
					t.Errorf("server %s has %d foreign mints; want none", s.Name, s.ForeignMints)
				}
			}
			m := b.Metrics()
			if n := m.Sum("mintmark_foreign_mints_total", map[string]string{"pool": "web", "server": "b", "field": tt.field}); n == 0 {
				t.Errorf("mintmark_foreign_mints_total of b in field %s is 0", tt.field)
			}
			if n, all := m.Sum("mintmark_foreign_mints_total", map[string]string{"server": "b"}), m.Sum("mintmark_foreign_mints_total", nil); n != all {
				t.Errorf("%v of %v foreign mints are counted for b; want all", n, all)
			}
		})
	}
}

// Stateful session IDs have no mark. A pool that learns sends them home all
// the same, for as long as its list remembers.
func TestLearnedSessionIDsComeHome(t *testing.T) {
	t.Parallel()
	const clients, rounds = 10, 6
	cert := lab.NewCert(t)
	var list strings.Builder
	for _, name := range []string{"a", "b", "c"} {
		s := lab.StartHAProxyWith(t, cert, name, lab.Stock, "no-tls-tickets")
		fmt.Fprintf(&list, "      - {name: %s, address: %q}\n", name, s.Addr)
	}
	admin := lab.FreeAddr(t)
	r := &replica{routed: lab.FreeAddr(t), control: lab.FreeAddr(t)}
	config := fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - {name: routed, listen: %q, protocol: tls, pool: routed}
  - {name: control, listen: %q, protocol: tls, pool: control}
pools:
  - name: routed
    learn: {max_entries: 1000, lifetime: 1h}
    servers:
%s
  - name: control
    servers:
%s`, admin, r.routed, r.control, &list, &list)
	r.Balancer = lab.StartBalancer(t, mintmark, admin, config)
	routed := &crowd{addr: func(r *replica) string { return r.routed }}
	control := &crowd{addr: func(r *replica) string { return r.control }}
	for range clients {
		routed.clients = append(routed.clients, lab.NewOpenSSLClient(t, cert, "-tls1_2"))
		control.clients = append(control.clients, lab.NewOpenSSLClient(t, cert, "-tls1_2"))
	}
	shuffle := rand.New(rand.NewPCG(1, 2))
	for round := range rounds + 1 {
		if round == rounds/2 {
			before := r.Metrics().Sum("mintmark_config_last_reload_success_timestamp_seconds", nil)
			r.Reload(config) // what was learned survives a reload
			lab.Eventually(t, settleLimit, "the file is reloaded", func() bool {
				return r.Metrics().Sum("mintmark_config_last_reload_success_timestamp_seconds", nil) != before
			})
		}
		for _, i := range shuffle.Perm(clients) {
			routed.visit(t, i, r, "TLSv1.2", round == 0)
		}
		for _, i := range shuffle.Perm(clients) {
			control.visit(t, i, r, "TLSv1.2", round == 0)
		}
	}
	t.Logf("%d of %d resumed, by round robin %d", routed.resumed, routed.attempts, control.resumed)
	if routed.resumed != routed.attempts {
		t.Errorf("%d of %d sessions came home; declined:\n%s", routed.resumed, routed.attempts, strings.Join(routed.declined, "\n"))
	}
	if 2*control.resumed > control.attempts+6 {
		t.Errorf("round robin found %d of %d: this test shows nothing", control.resumed, control.attempts)
	}
	decided := map[string]string{"pool": "routed", "routed_by": "learned"}
	if n := r.Metrics().Sum("mintmark_decisions_total", decided); n != clients*rounds {
		t.Errorf("%v connections were routed by learned; want %d", n, clients*rounds)
	}
}
