package test

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// A ticket key of nginx: a name of 16 bytes, and 64 of secrets.
const (
	nameBytes   = 16
	secretBytes = 64
)

// keyFile writes a ticket key with the name given, or a random one, and
// returns its path and name.
func keyFile(t *testing.T, file string, name []byte) (path string, named []byte) {
	t.Helper()
	key := make([]byte, nameBytes+secretBytes)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	copy(key, name)
	return lab.WriteFile(t, t.TempDir(), file, key), key[:nameBytes]
}

// withKeys starts an nginx with ticket keys, the first of which encrypts.
func withKeys(t *testing.T, cert *lab.Cert, name string, files ...string) *lab.Server {
	t.Helper()
	var lines []string
	for _, f := range files {
		lines = append(lines, fmt.Sprintf("ssl_session_ticket_key %s;", f))
	}
	return lab.StartNginxWith(t, cert, name, lab.Stock, lines...)
}

// Two servers that show one name are a group when each accepts the other's
// tickets, and nobody's to trust when they only look alike: a server that
// copies the name of another gets none of its sessions by it.
func TestSharedNamesAreProven(t *testing.T) {
	t.Parallel()
	cert := lab.NewCert(t)
	shared, _ := keyFile(t, "shared", nil)
	victims, name := keyFile(t, "victims", nil)
	copied, _ := keyFile(t, "copied", name)
	servers := []*lab.Server{
		withKeys(t, cert, "a", shared), withKeys(t, cert, "b", shared),
		withKeys(t, cert, "c", victims), withKeys(t, cert, "d", copied),
	}
	balancer := startProbing(t, servers, "30s")
	pool := statusOf(t, balancer.Balancer).Pools[0]
	for _, s := range pool.Servers {
		if want := map[string]string{"a": "a+b", "b": "a+b"}[s.Name]; s.Group != want {
			t.Errorf("server %s is in group %q; want %q", s.Name, s.Group, want)
		}
	}
	if len(pool.Alarms) != 1 || pool.Alarms[0].Name != fmt.Sprintf("%x", name) || strings.Join(pool.Alarms[0].Servers, " ") != "c d" {
		t.Errorf("the alarms are %+v; want one, of the name that c and d show", pool.Alarms)
	}

	const clients = 24
	home := map[lab.Client]string{}
	for range clients {
		c := lab.NewGoClient(cert, tls.VersionTLS13)
		home[c] = strings.Fields(connect(t, c, balancer.routed).Body)[0]
	}
	servers[0].Stop() // b has the key of a
	for c, was := range home {
		got := connect(t, c, balancer.routed)
		if is := strings.Fields(got.Body)[0]; (was == "a" || was == "b") && (is != "b" || !got.Resumed) {
			t.Errorf("a session of %s: %s answered, resumed %t; want b, resumed", was, is, got.Resumed)
		}
	}
	m := balancer.Metrics()
	for _, name := range []string{"c", "d"} {
		if n := m.Sum("mintmark_resumptions_total", map[string]string{"routed_by": "mint", "server": name}); n != 0 {
			t.Errorf("%v sessions were routed to %s by a name that it shares with a stranger", n, name)
		}
	}
	out, err := exec.Command(mintmark, "status", "-c", balancer.File("mintmark.yaml")).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"offered sessions resumed", "round robin would find", "ALARM: name " + fmt.Sprintf("%x", name) + " of servers c, d"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("mintmark status lacks %q:\n%s", want, out)
		}
	}
}

// connect makes one connection that must succeed.
func connect(t *testing.T, c lab.Client, addr string) lab.Result {
	t.Helper()
	r, err := c.Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sessionOf returns a client with a session that the server given has minted.
func sessionOf(t *testing.T, cert *lab.Cert, r *replica, server string) lab.Client {
	t.Helper()
	for {
		c := lab.NewGoClient(cert, tls.VersionTLS13)
		if strings.HasPrefix(connect(t, c, r.routed).Body, server+" ") {
			return c
		}
	}
}

// A server goes over to a new key and still accepts tickets of the old one. No
// probe shows the old name any more; a balancer that restarts has it on disk.
func TestOldNamesOutliveARestart(t *testing.T) {
	t.Parallel()
	cert := lab.NewCert(t)
	before, _ := keyFile(t, "before", nil)
	after, newName := keyFile(t, "after", nil)
	keys := lab.WriteFile(t, t.TempDir(), "keys.conf", fmt.Appendf(nil, "ssl_session_ticket_key %s;", before))
	a := lab.StartNginxWith(t, cert, "a", lab.Stock, "include "+keys+";")
	servers := []*lab.Server{a, lab.StartNginx(t, cert, "b", lab.Stock), lab.StartNginx(t, cert, "c", lab.Stock)}
	balancer := startProbing(t, servers, "1s")

	var old []lab.Client // with sessions of a
	for range 8 {
		old = append(old, sessionOf(t, cert, balancer, "a"))
	}
	lab.WriteFile(t, dirOf(keys), "keys.conf", fmt.Appendf(nil, "ssl_session_ticket_key %s;\nssl_session_ticket_key %s;", after, before))
	a.Signal(syscall.SIGHUP)
	lab.Eventually(t, settleLimit, "the balancer knows the new name", func() bool {
		return statusOf(t, balancer.Balancer).Pools[0].Servers[0].Mints == fmt.Sprintf("%x", newName)
	})
	balancer.Stop()
	balancer.Start()
	for i, c := range old {
		if r := connect(t, c, balancer.routed); !r.Resumed || !strings.HasPrefix(r.Body, "a ") {
			t.Errorf("client %d with a ticket of the old key: resumed %t, by %s", i, r.Resumed, r.Body)
		}
	}
	if n := balancer.Metrics().Sum("mintmark_decisions_total", map[string]string{"pool": "routed", "routed_by": "mint"}); int(n) != len(old) {
		t.Errorf("%v connections were routed by mint; want %d", n, len(old))
	}
}

func dirOf(path string) string { return path[:strings.LastIndexByte(path, '/')] }

// A phase of TestRestartUnderLoad.
type phase int

const (
	beforeRestart phase = iota
	underWay            // a connection may break
	nameUnknown         // server a is back, with a key that nobody knows
	nameKnown           // what it mints now has to come home
)

// A restart is what the visitors of TestRestartUnderLoad know of it, and what
// became of their sessions.
type restart struct {
	mu      sync.Mutex
	phase   phase
	outcome map[string]int
}

func (r *restart) enter(p phase) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase = p
}

// A visitor comes back with its session, and forgets it now and then.
type visitor struct {
	*restart
	cert   *lab.Cert
	addr   string
	client *lab.GoClient
	visits int
	home   string // which server its session is of, "" without one
	since  phase  // when it asked for it
}

const forgetEvery = 4

func (v *visitor) visit() error {
	if v.visits%forgetEvery == 0 {
		v.forget()
	}
	v.visits++
	v.mu.Lock()
	asked := v.phase
	v.mu.Unlock()
	got, err := v.client.Connect(v.addr)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.forget()
		if asked <= underWay && v.phase >= underWay {
			return nil // the restart, or a part of it, was meanwhile
		}
		return err
	}
	was, since := v.home, v.since
	v.home, _, _ = strings.Cut(got.Body, " ")
	v.since = asked
	switch {
	case was == "":
	case got.Resumed:
		v.outcome[was+" resumed"]++
	case was == "a" && since < nameKnown:
		v.outcome["a lost"]++
	default:
		return fmt.Errorf("a session of %s was lost, although its name was known", was)
	}
	return nil
}

func (v *visitor) forget() { v.client, v.home = lab.NewGoClient(v.cert, tls.VersionTLS13), "" }

// A server restarts under load and comes back with a new key, whose name
// nobody knows. Its own sessions are lost with the old key, those of the
// others are not; and as soon as it is up again it is probed, long before the
// interval is over, and from then on its new sessions come home.
func TestRestartUnderLoad(t *testing.T) {
	t.Parallel()
	const clients = 6
	cert := lab.NewCert(t)
	var servers []*lab.Server
	for _, name := range []string{"a", "b", "c"} {
		servers = append(servers, lab.StartNginx(t, cert, name, lab.Stock))
	}
	balancer := startProbing(t, servers, "1h")
	r := &restart{outcome: make(map[string]int)}
	load := startLoad(clients, func() func() error {
		return (&visitor{restart: r, cert: cert, addr: balancer.routed}).visit
	})
	old := sessionOf(t, cert, balancer, "a")
	load.wantAlive(t, 100)
	r.enter(underWay)
	servers[0].Stop()
	lab.Eventually(t, settleLimit, "the balancer knows that the server is down", func() bool {
		return balancer.Metrics().Sum("mintmark_server_up", map[string]string{"pool": "routed", "server": "a"}) == 0
	})
	servers[0].Restart()
	r.enter(nameUnknown)
	began := time.Now()
	lab.Eventually(t, settleLimit, "the new name is in force beside the three before", func() bool {
		return strings.Contains(balancer.Log(), "pool=routed names=4")
	})
	r.enter(nameKnown)
	t.Logf("the new name was in force %v after the restart", time.Since(began).Round(time.Millisecond))
	load.wantAlive(t, 300)
	done, errs := load.end()
	for i, err := range errs {
		if i == 5 {
			t.Errorf("and %d more", len(errs)-i)
			break
		}
		t.Error(err)
	}
	t.Logf("%d connections: %v", done, r.outcome)
	if connect(t, old, balancer.routed).Resumed {
		t.Error("a session of the old key was resumed: the server kept it, and this test shows nothing")
	}
	if r.outcome["a resumed"] == 0 {
		t.Error("no session of the server that was restarted was resumed")
	}
}

// A server that shakes hands with nobody who has no certificate is probed with
// one.
func TestProbeShowsACertificate(t *testing.T) {
	t.Parallel()
	cert := lab.NewCert(t)
	s := lab.StartStockOpenSSL(t, cert, "a", "-Verify", "1", "-CAfile", cert.CertFile)
	admin, addr := lab.FreeAddr(t), lab.FreeAddr(t)
	config := func(more string) string {
		return fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners: [{name: web, listen: %q, protocol: tls, pool: web}]
pools:
  - name: web
    discover: {probe: true, sni: %s%s}
    servers: [{name: a, address: %q}]
`, admin, addr, lab.ServerName, more, s.Addr)
	}
	b := lab.StartBalancer(t, mintmark, admin, config(""))
	if got := statusOf(t, b).Pools[0].Servers[0]; got.Mints != "" {
		t.Errorf("without a certificate: got %+v; want no name", got)
	}
	b.Reload(config(fmt.Sprintf(", cert: %q, key: %q, interval: 1s", cert.CertFile, cert.KeyFile)))
	lab.Eventually(t, settleLimit, "the probe with a certificate finds a name", func() bool {
		got := statusOf(t, b).Pools[0].Servers[0]
		return got.Layout == "key-name" && got.ProbeError == ""
	})
}

// nginx invents a session_id for clients that take no tickets. Nothing can be
// resumed by it, and it says nothing about the server's key.
func TestInventedSessionIDsAreNoForeignMints(t *testing.T) {
	t.Parallel()
	cert := lab.NewCert(t)
	s := lab.StartNginx(t, cert, "a", "4d4d0001")
	admin, addr := lab.FreeAddr(t), lab.FreeAddr(t)
	b := lab.StartBalancer(t, mintmark, admin, fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners: [{name: web, listen: %q, protocol: tls, pool: web}]
pools:
  - name: web
    servers: [{name: a, address: %q, ids: [{range: {from: "4d4d0001", to: "4d4d0001"}}]}]
`, admin, addr, s.Addr))
	for range 10 {
		if r := connect(t, lab.NewOpenSSLClient(t, cert, "-tls1_2", "-no_ticket"), addr); r.Resumed {
			t.Fatal("a first visit was resumed")
		}
	}
	if r := connect(t, lab.NewOpenSSLClient(t, cert, "-tls1_2"), addr); r.Resumed {
		t.Fatal("a first visit was resumed")
	}
	lab.Eventually(t, settleLimit, "all connections have ended", func() bool {
		return b.Metrics().Sum("mintmark_connections_active", nil) == 0
	})
	if n := b.Metrics().Sum("mintmark_foreign_mints_total", nil); n != 0 {
		t.Errorf("%v foreign mints of a server that mints what it should; want none", n)
	}
}
