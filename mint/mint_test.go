package mint_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace/sealed"
	"github.com/mintmark/mintmark/mint"
)

// A source is a control plane that says what a test wants.
type source struct {
	assignments chan mint.Assignment
	reports     chan mint.Report
}

func newSource() *source {
	return &source{assignments: make(chan mint.Assignment), reports: make(chan mint.Report, 16)}
}

func (s *source) Watch(ctx context.Context, take func(mint.Assignment) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case a := <-s.assignments:
			if a.Version == 0 {
				return errors.New("the control plane went away")
			}
			if err := take(a); err != nil {
				return err
			}
		}
	}
}

func (s *source) Report(_ context.Context, r mint.Report) error {
	s.reports <- r
	return nil
}

// assign sends an assignment and waits until it is in effect.
func (s *source) assign(a mint.Assignment) mint.Report {
	s.assignments <- a
	for {
		if r := <-s.reports; r.Version == a.Version {
			return r
		}
	}
}

func open(t *testing.T, path string, s mint.Source) *mint.Client {
	t.Helper()
	c, err := mint.Open(mint.Config{State: path, Source: s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return c
}

func key(generation uint32, minting bool) mint.Key {
	return mint.Key{
		Generation: generation, Mint: minting,
		Name: append([]byte{0x4d, 0, 0, byte(generation)}, bytes.Repeat([]byte{7}, 12)...), Text: fmt.Sprintf("4d0000%02x", generation),
	}
}

func sealedKey(generation uint32, minting bool, mark sealed.Key) mint.Key {
	k := key(generation, minting)
	k.ServerNumber, k.MarkKey = 7, mark.Reveal()
	return k
}

// A server is a TLS server that says whether the session was resumed.
type server struct {
	addr string
	cert *x509.CertPool
}

func serve(t *testing.T, base *tls.Config, c *mint.Client) *server {
	t.Helper()
	cert, pool := commonCert(t)
	base = base.Clone()
	if base == nil {
		base = new(tls.Config)
	}
	base.Certificates = []tls.Certificate{cert}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", c.TLSConfig(base))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			tc := conn.(*tls.Conn)
			if err := tc.HandshakeContext(context.Background()); err == nil {
				fmt.Fprint(tc, tc.ConnectionState().DidResume)
			}
			_ = tc.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return &server{ln.Addr().String(), pool}
}

// commonCert is the certificate of every server.
func commonCert(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	once.Do(func() { common.cert, common.pool = newCert(t) })
	return common.cert, common.pool
}

var (
	once   sync.Once
	common struct {
		cert tls.Certificate
		pool *x509.CertPool
	}
)

func newCert(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"a.test", "b.test"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}, pool
}

// A client keeps the last ticket, whatever the name that it was got under.
type client struct {
	version uint16
	session *tls.ClientSessionState
}

func (c *client) Get(string) (*tls.ClientSessionState, bool) { return c.session, c.session != nil }
func (c *client) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		c.session = s
	}
}

// visit connects and reports whether the session was resumed.
func (c *client) visit(t *testing.T, s *server, name string) bool {
	t.Helper()
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{
		RootCAs: s.cert, ServerName: name, ClientSessionCache: c, MinVersion: c.version, MaxVersion: c.version,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	return string(b) == "true"
}

// ticket returns what the client will send.
func (c *client) ticket(t *testing.T) []byte {
	t.Helper()
	ticket, _, err := c.session.ResumptionState()
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func assignment(version uint64, keys ...mint.Key) mint.Assignment {
	return mint.Assignment{Version: version, Pool: "web", Server: "a", Keys: keys}
}

// Tickets carry the mark, survive a rotation and a restart, and end when the
// control plane says that their generation is dead.
func TestTickets(t *testing.T) {
	t.Parallel()
	mark := sealed.NewKey()
	for name, newKey := range map[string]func(generation uint32, minting bool) mint.Key{
		"names":  key,
		"sealed": func(g uint32, minting bool) mint.Key { return sealedKey(g, minting, mark) },
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "mint.json")
				src := newSource()
				c := open(t, path, src)
				if c.Ready() {
					t.Error("a new server is ready to mint")
				}
				s := serve(t, nil, c)
				early := &client{version: version}
				early.visit(t, s, "a.test")
				src.assign(assignment(1, newKey(0, true)))
				if !early.visit(t, s, "a.test") {
					t.Error("a ticket of before the assignment was declined")
				}
				old := &client{version: version}
				old.visit(t, s, "a.test")
				if name == "names" && !bytes.HasPrefix(old.ticket(t), newKey(0, true).Name) {
					t.Errorf("the ticket begins with %x", old.ticket(t)[:16])
				}
				first := *old
				r := src.assign(assignment(2, newKey(1, true), newKey(0, false)))
				if len(r.Held) != 2 || len(r.Minting) != 1 || r.Minting[0] != 1 {
					t.Errorf("reported %+v", r)
				}
				if !first.visit(t, s, "a.test") {
					t.Error("after the rotation, a ticket of the generation before was declined")
				}

				// The same server after a restart, without its control plane.
				c2, err := mint.Open(mint.Config{State: path})
				if err != nil {
					t.Fatal(err)
				}
				s2 := serve(t, nil, c2)
				again := *old
				if !again.visit(t, s2, "a.test") {
					t.Error("after the restart, a ticket was declined")
				}
				src.assign(assignment(3, newKey(1, true)))
				gone := *old
				if name == "names" && gone.visit(t, s, "a.test") {
					t.Error("a ticket of a generation that is gone was accepted")
				}
			})
		}
	}
}

// A ticket that was issued under other conditions is refused: another name,
// other demands on the client's certificate.
func TestTicketOfAnotherScope(t *testing.T) {
	t.Parallel()
	src := newSource()
	c := open(t, filepath.Join(t.TempDir(), "mint.json"), src)
	src.assign(assignment(1, key(0, true)))
	s := serve(t, nil, c)
	visitor := &client{version: tls.VersionTLS13}
	visitor.visit(t, s, "a.test")
	at := *visitor
	if at.visit(t, s, "b.test") {
		t.Error("a session of a.test was resumed at b.test")
	}
	_, pool := newCert(t)
	for name, other := range map[string]*tls.Config{
		"other authorities": {ClientCAs: pool},
		"a demand":          {ClientAuth: tls.RequestClientCert},
	} {
		at := *visitor
		if at.visit(t, serve(t, other, c), "a.test") {
			t.Errorf("%s: a session without was resumed", name)
		}
	}
	at = *visitor
	if !at.visit(t, serve(t, nil, c), "a.test") {
		t.Error("a session was declined under the same conditions")
	}
}

// A ticket with any bit of it changed is no session.
func TestDamagedTickets(t *testing.T) {
	t.Parallel()
	src := newSource()
	c := open(t, filepath.Join(t.TempDir(), "mint.json"), src)
	src.assign(assignment(1, key(0, true)))
	cfg := c.TLSConfig(nil)
	s := serve(t, nil, c)
	visitor := &client{version: tls.VersionTLS13}
	visitor.visit(t, s, "a.test")
	ticket := visitor.ticket(t)
	cs := tls.ConnectionState{ServerName: "a.test"}
	if ss, err := cfg.UnwrapSession(ticket, cs); err != nil || ss == nil {
		t.Fatalf("the ticket itself: %v, %v", ss, err)
	}
	for i := range ticket {
		bad := bytes.Clone(ticket)
		bad[i] ^= 1 << (i % 8)
		if ss, _ := cfg.UnwrapSession(bad, cs); ss != nil {
			t.Fatalf("byte %d was changed, and the ticket was accepted", i)
		}
	}
	for n := range ticket {
		if ss, _ := cfg.UnwrapSession(ticket[:n], cs); ss != nil {
			t.Fatalf("cut to %d bytes, the ticket was accepted", n)
		}
	}
}

// IDs of the application carry the mark, are never the same, and are known as
// the server's own as long as their generation lives.
func TestNewID(t *testing.T) {
	t.Parallel()
	mark := sealed.NewKey()
	for name, tc := range map[string]struct {
		k    mint.Key
		size int
	}{
		"names":  {key(0, true), 8 + 32},
		"sealed": {sealedKey(0, true, mark), sealed.TextSize + 22},
	} {
		src := newSource()
		c := open(t, filepath.Join(t.TempDir(), "mint.json"), src)
		if _, err := c.NewID(); !errors.Is(err, mint.ErrNothingToMint) {
			t.Errorf("%s: before the assignment: %v", name, err)
		}
		src.assign(assignment(1, tc.k))
		seen := map[string]bool{}
		for range 100 {
			id, err := c.NewID()
			if err != nil || len(id) != tc.size || seen[id] || !c.Owns(id) {
				t.Fatalf("%s: got %q, %v, again %v, own %v", name, id, err, seen[id], c.Owns(id))
			}
			seen[id] = true
			if name == "names" && !strings.HasPrefix(id, tc.k.Text) {
				t.Errorf("%q has no mark", id)
			}
		}
		if c.Owns("x" + strings.Repeat("0", 43)) {
			t.Errorf("%s: a made-up ID is the server's", name)
		}
	}
}

// The state file is for its owner only, and no key shows itself.
func TestSecretsStayPut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mint.json")
	src := newSource()
	open(t, path, src)
	k := sealedKey(0, true, sealed.NewKey())
	src.assign(assignment(1, k))
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the state file has mode %v, %v", info.Mode(), err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
		if s := fmt.Sprintf(verb, k); strings.Contains(s, fmt.Sprintf("%x", k.MarkKey)) || strings.Contains(s, fmt.Sprint(k.MarkKey)) {
			t.Errorf("%s shows %s", verb, s)
		}
	}
}

// While the control plane is away, the server mints as before, and an
// assignment that is no good changes nothing.
func TestControlPlaneAway(t *testing.T) {
	t.Parallel()
	src := newSource()
	c := open(t, filepath.Join(t.TempDir(), "mint.json"), src)
	src.assign(assignment(1, key(0, true)))
	src.assignments <- mint.Assignment{} // the stream ends
	if _, err := c.NewID(); err != nil {
		t.Error(err)
	}
	bad := key(1, true)
	bad.Name = bad.Name[:3]
	src.assignments <- assignment(2, bad)
	if id, err := c.NewID(); err != nil || !strings.HasPrefix(id, key(0, true).Text) {
		t.Errorf("after a bad assignment: %q, %v", id, err)
	}
	src.assign(assignment(3, key(1, true), key(0, false)))
	if id, err := c.NewID(); err != nil || !strings.HasPrefix(id, key(1, true).Text) {
		t.Errorf("after a good one: %q, %v", id, err)
	}
}

// A state file that is damaged, or missing where nothing would fill it, is an
// error that names it.
func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged")
	if err := os.WriteFile(damaged, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "missing"), damaged} {
		if _, err := mint.Open(mint.Config{State: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
