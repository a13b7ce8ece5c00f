package l4test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// plainHello is the hello of a client that offers nothing to resume.
func plainHello() []byte { return hellotest.Build(hellotest.Options{SNI: "www.example.com"}) }

// withPSK is the hello of a client that offers a TLS 1.3 session of that
// server.
func withPSK(server string) []byte { return hellotest.Build(hellotest.TLS13(idOf(server))) }

// overTLS returns the setup of a listener with protocol tls and a pool of
// servers.
func overTLS(t *testing.T, servers ...route.ServerName) setup {
	return setup{settings: l4.Settings{TLS: true}, pool: newPool(t, route.PoolConfig{}, servers...)}
}

// expect sends hello and checks that it reaches the server, unchanged.
func (r *rig) expect(hello []byte, s *server) {
	r.t.Helper()
	c, b := r.pair(s, hello)
	finish(r.t, c, b)
}

// testCandidates offers one ID or several, in every place where one may stand.
func testCandidates(t *testing.T, f Factory) {
	for _, c := range []struct {
		name  string
		o     hellotest.Options
		field idspace.Field
	}{
		{"psk", hellotest.Options{PSKs: [][]byte{idOf("b")}, SNI: "x.example"}, idspace.FieldPSK},
		{"second psk", hellotest.Options{PSKs: [][]byte{idOf("zzz"), idOf("b")}}, idspace.FieldPSK},
		{"ticket", hellotest.Options{Ticket: idOf("b"), SessionID: idOf("a")}, idspace.FieldTicket},
		{"session id", hellotest.Options{SessionID: idOf("b")}, idspace.FieldSessionID},
		{"psk before ticket before session id", hellotest.Options{
			PSKs: [][]byte{idOf("b")}, Ticket: idOf("a"), SessionID: idOf("a"),
		}, idspace.FieldPSK},
		{"session id of a hello that offers more", hellotest.Options{
			PSKs: [][]byte{idOf("zzz")}, Ticket: []byte{}, SessionID: idOf("b"), Versions: []uint16{0x0304, 0x0303},
		}, idspace.FieldSessionID},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, f, overTLS(t, "a", "b"))
			r.serve("a")
			r.expect(hellotest.Build(c.o), r.serve("b"))
			r.wantDecided("web", c.field, route.ByMint, 1)
		})
	}
	t.Run("none", func(t *testing.T) {
		r := start(t, f, overTLS(t, "a"))
		r.expect(plainHello(), r.serve("a"))
		r.wantDecided("web", idspace.FieldNone, route.ByBalance, 1)
	})
}

// testSegmentedHello cuts a hello in two at every byte.
func testSegmentedHello(t *testing.T, f Factory) {
	r := start(t, f, overTLS(t, "a", "b"))
	r.serve("a")
	b := r.serve("b")
	hello := withPSK("b")
	buffered := &r.metrics.Listener(listenerName).HelloBuffered
	for cut := 1; cut < len(hello); cut++ {
		c := r.dial()
		mustWrite(t, c, hello[:cut])
		// The second part is sent once the first has been taken.
		eventually(t, func() error {
			if buffered.Load() == 0 {
				return fmt.Errorf("nothing is buffered after %d bytes", cut)
			}
			return nil
		})
		mustWrite(t, c, hello[cut:])
		s := b.accept(t)
		wantRead(t, s, hello)
		finish(t, c, s)
		_, _ = c.Close(), s.Close()
	}
	r.wantDecided("web", idspace.FieldPSK, route.ByMint, len(hello)-1)
}

// testRecordsOfOneByte spreads hellos over as many records as they have bytes.
func testRecordsOfOneByte(t *testing.T, f Factory) {
	r := start(t, f, overTLS(t, "a", "b"))
	r.serve("a")
	b := r.serve("b")
	o := hellotest.TLS13(idOf("b"))
	o.RecordSize = 1
	r.expect(hellotest.Build(o), b)
	o.Junk = 8 << 10
	r.expect(hellotest.Build(o), b)
	r.wantDecided("web", idspace.FieldPSK, route.ByMint, 2)
}

// testJunk puts 16 KiB of extensions that nobody knows in front of the ID, and
// then as much as a hello may have.
func testJunk(t *testing.T, f Factory) {
	r := start(t, f, overTLS(t, "a", "b"))
	r.serve("a")
	b := r.serve("b")
	o := hellotest.TLS13(idOf("b"))
	o.Junk = 16 << 10
	r.expect(hellotest.Build(o), b)
	o.Junk = 0
	o.PadTo = 64 << 10
	r.expect(hellotest.Build(o), b)
	r.wantDecided("web", idspace.FieldPSK, route.ByMint, 2)
}

// testPoolBySNI has several pools.
func testPoolBySNI(t *testing.T, f Factory) {
	shop := newPool(t, route.PoolConfig{Name: "shop"}, "a")
	mail := newPool(t, route.PoolConfig{Name: "mail"}, "b")
	su := setup{
		settings: l4.Settings{TLS: true},
		routes:   []route.SNIRoute{{Pattern: "*.shop.example", Pool: shop}, {Pattern: "mail.example", Pool: mail}},
	}
	r := start(t, f, su)
	a, b := r.serve("a"), r.serve("b")
	// An ID never chooses a server outside the pool.
	r.expect(hellotest.Build(hellotest.Options{SNI: "www.SHOP.example", SessionID: idOf("b")}), a)
	r.expect(hellotest.Build(hellotest.Options{SNI: "mail.example", SessionID: idOf("b")}), b)
	r.wantDecided("shop", idspace.FieldSessionID, route.ByBalance, 1)
	r.wantDecided("mail", idspace.FieldSessionID, route.ByMint, 1)
	for i, o := range []hellotest.Options{{SNI: "shop.example"}, {}} {
		c := r.dial()
		mustWrite(t, c, hellotest.Build(o))
		wantAlert(t, c, 112) // unrecognized_name
		r.wantRefused(route.CauseNoRoute, i+1)
	}
}

// testSkippedIDs counts what is not looked up.
func testSkippedIDs(t *testing.T, f Factory) {
	su := overTLS(t, "a", "b")
	su.pool.Config.RandomIDs = route.RandomSkip
	r := start(t, f, su)
	a := r.serve("a")
	psks := make([][]byte, 20)
	for i := range psks {
		psks[i] = idOf("zzz")
	}
	r.expect(hellotest.Build(hellotest.Options{PSKs: psks, SessionID: idOf("b")}), a)
	r.wantSample(`mintmark_ids_skipped_total{field="psk",pool="web"}`, 12)
	r.wantSample(`mintmark_ids_skipped_total{field="session_id",pool="web"}`, 1)
}

// testRandomIDs tells the decision what it must know to leave out session IDs
// that may be random.
func testRandomIDs(t *testing.T, f Factory) {
	skipped := 0
	su := overTLS(t, "a", "b")
	su.pool.Config.RandomIDs = route.RandomAuto
	r := start(t, f, su)
	servers := []*server{r.serve("a"), r.serve("b")}
	for _, o := range []hellotest.Options{
		{Ticket: idOf("zzz")},
		{PSKs: [][]byte{idOf("zzz")}},
		{Versions: []uint16{0x0304}},
	} {
		o.SessionID = idOf("b")
		c := r.dial()
		mustWrite(t, c, hellotest.Build(o))
		s := acceptAny(t, servers)
		wantRead(t, s, hellotest.Build(o))
		finish(t, c, s)
		skipped++
	}
	r.wantSample(`mintmark_ids_skipped_total{field="session_id",pool="web"}`, float64(skipped))
	r.expect(hellotest.Build(hellotest.Options{SessionID: idOf("b"), Ticket: []byte{}}), servers[1])
	r.wantDecided("web", idspace.FieldSessionID, route.ByMint, 1)
}

// testHash tells the decision who the client is.
func testHash(t *testing.T, f Factory) {
	const clients = 32
	su := tcp(t)
	su.pool = newPool(t, route.PoolConfig{Policy: route.Hash}, "a", "b")
	su.settings.AcceptFrom = loopback()
	r := start(t, f, su)
	servers := []*server{r.serve("a"), r.serve("b")}
	went := map[net.Addr]int{}
	for i := range clients {
		var first net.Addr
		for range 2 { // the same client, the same server
			c := r.dial()
			mustWrite(t, c, proxyHeader(t, 2, fmt.Sprintf("192.0.2.%d:1000", i), "198.51.100.1:443"))
			s := acceptAny(t, servers)
			if to := s.LocalAddr(); first == nil {
				first = to
			} else if to.String() != first.String() {
				t.Errorf("client %d went to %v and to %v", i, first, to)
			}
			finish(t, c, s)
		}
		for _, s := range servers {
			if s.addr.String() == first.String() {
				went[s.addr]++
			}
		}
	}
	if len(went) != len(servers) {
		t.Errorf("%d clients went to %v; want both servers", clients, went)
	}
}

// acceptAny returns the next connection to any of two servers.
func acceptAny(t *testing.T, servers []*server) net.Conn {
	t.Helper()
	var c net.Conn
	select {
	case c = <-servers[0].conns:
	case c = <-servers[1].conns:
	case <-time.After(patience):
		t.Fatal("no connection reached a server")
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// A tlsServer is a real TLS server with ticket keys of its own, whose tickets
// begin with the first letter of its name.
type tlsServer struct {
	*server
	config *tls.Config
}

func (r *rig) serveTLS(name route.ServerName, cert tls.Certificate, curves ...tls.CurveID) *tlsServer {
	r.t.Helper()
	mark := []byte(name[:1])
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: curves}
	cfg.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ticket, err := cfg.EncryptTicket(cs, ss)
		if err != nil {
			return nil, err
		}
		return append(bytes.Clone(mark), ticket...), nil
	}
	cfg.UnwrapSession = func(id []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		if !bytes.HasPrefix(id, mark) {
			return nil, nil //nolint:nilnil // crypto/tls: not a ticket of ours
		}
		return cfg.DecryptTicket(id[1:], cs)
	}
	return &tlsServer{r.serve(name), cfg}
}

// serveAll handshakes on every connection and sends the server's name.
func (s *tlsServer) serveAll(t *testing.T) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case c := <-s.conns:
				wg.Go(func() { s.answer(t, c) })
			}
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait() })
}

func (s *tlsServer) answer(t *testing.T, raw net.Conn) {
	_ = raw.SetDeadline(time.Now().Add(patience))
	c := tls.Server(raw, s.config)
	if err := c.HandshakeContext(context.Background()); err != nil {
		t.Errorf("server %s: %v", s.name, err)
	} else if _, err := c.Write([]byte(s.name)); err != nil {
		t.Errorf("server %s: %v", s.name, err)
	}
	_ = c.Close() // the client may have gone
}

// connectTLS makes a connection and returns the name of the server that
// answered, and what the client knows of the connection.
func (r *rig) connectTLS(cfg *tls.Config) (route.ServerName, tls.ConnectionState) {
	r.t.Helper()
	c := tls.Client(r.dial(), cfg)
	b := make([]byte, 1)
	if _, err := io.ReadFull(c, b); err != nil {
		r.t.Fatalf("TLS client: %v", err)
	}
	_, _ = c.Read(make([]byte, 1)) // the end
	_ = c.Close()
	return route.ServerName(b), c.ConnectionState()
}

// testResumptions comes back with real tickets to a server that accepts them,
// and to one that has lost its keys.
func testResumptions(t *testing.T, f Factory) {
	cert := selfSigned(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			su := overTLS(t, "a", "b")
			su.pool.Config.RandomIDs = route.RandomSkip // crypto/tls invents session IDs
			r := start(t, f, su)
			servers := map[route.ServerName]*tlsServer{}
			for _, name := range []route.ServerName{"a", "b"} {
				servers[name] = r.serveTLS(name, cert)
				servers[name].serveAll(t)
			}
			clients := map[route.ServerName]*tls.Config{}
			for len(clients) < len(servers) { // by turns: one client for each
				cfg := client(version)
				name, _ := r.connectTLS(cfg)
				clients[name] = cfg
			}
			const rounds = 3
			for range rounds {
				for want, cfg := range clients {
					if name, cs := r.connectTLS(cfg); name != want || !cs.DidResume {
						t.Fatalf("client of %s was answered by %s, resumed: %v", want, name, cs.DidResume)
					}
				}
			}
			for name := range clients {
				r.wantSample(fmt.Sprintf(`mintmark_resumptions_total{pool="web",result="accepted",routed_by="mint",server=%q}`, name), rounds)
			}
			// The keys are lost: the ticket still leads to its server.
			servers["a"].config.SetSessionTicketKeys([][32]byte{{1}})
			if name, cs := r.connectTLS(clients["a"]); name != "a" || cs.DidResume {
				t.Errorf("answered by %s, resumed: %v; want a full handshake with a", name, cs.DidResume)
			}
			r.wantSample(`mintmark_resumptions_total{pool="web",result="declined",routed_by="mint",server="a"}`, 1)
			// That b declines what a has minted says nothing about the routing.
			su.pool.Server("a").State.Up.Store(false)
			if name, cs := r.connectTLS(clients["a"]); name != "b" || cs.DidResume {
				t.Errorf("answered by %s, resumed: %v; want a full handshake with b", name, cs.DidResume)
			}
			ticketField := map[uint16]idspace.Field{tls.VersionTLS12: idspace.FieldTicket, tls.VersionTLS13: idspace.FieldPSK}[version]
			r.wantDecided("web", ticketField, route.ByBalance, 1)
			for name := range r.samples() {
				if strings.Contains(name, "resumptions_total") && strings.Contains(name, `"balance"`) {
					t.Errorf("there is %s", name)
				}
			}
		})
	}
}

// testHelloRetryRequest makes the server ask for another hello, on the same
// connection: it goes to the same server, and the resumption is seen.
func testHelloRetryRequest(t *testing.T, f Factory) {
	su := overTLS(t, "a", "b")
	su.pool = newPool(t, route.PoolConfig{Servers: []route.ServerConfig{{Name: "b", Weight: 0}}}, "a", "b")
	su.pool.Config.RandomIDs = route.RandomSkip // crypto/tls invents session IDs
	r := start(t, f, su)
	r.serve("b")
	r.serveTLS("a", selfSigned(t), tls.CurveP384).serveAll(t)
	c := client(tls.VersionTLS13)
	c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP384} // the key share is for the first
	r.connectTLS(c)
	for range 2 {
		if name, cs := r.connectTLS(c); name != "a" || !cs.DidResume || !cs.HelloRetryRequest {
			t.Fatalf("answered by %s, resumed: %v, HelloRetryRequest: %v", name, cs.DidResume, cs.HelloRetryRequest)
		}
	}
	r.wantDecided("web", idspace.FieldPSK, route.ByMint, 2)
	r.wantSample(`mintmark_resumptions_total{pool="web",result="accepted",routed_by="mint",server="a"}`, 2)
}

// client returns the configuration of a client with a cache of one session.
func client(version uint16) *tls.Config {
	return &tls.Config{
		ServerName:         "localhost",
		InsecureSkipVerify: true, //nolint:gosec // the certificate is made up here
		MinVersion:         version,
		MaxVersion:         version,
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// wantAlert reads a fatal TLS alert and then the end of the stream.
func wantAlert(t *testing.T, c net.Conn, description byte) {
	t.Helper()
	wantEnd(t, c, []byte{0x15, 3, 3, 0, 2, 2, description})
}
