package discover

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mintmark/mintmark/internal/probe"
	"github.com/mintmark/mintmark/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// A tlsServer mints tickets behind a mark; both may change while it runs. It
// counts the connections that it gets.
type tlsServer struct {
	addr string
	cert tls.Certificate

	mu     sync.Mutex
	config *tls.Config
	conns  int
}

// mint makes the server mint behind mark with the ticket key given.
func (s *tlsServer) mint(mark string, key byte) {
	c := &tls.Config{Certificates: []tls.Certificate{s.cert}}
	c.SetSessionTicketKeys([][32]byte{{key}})
	c.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ticket, err := c.EncryptTicket(cs, ss)
		return append([]byte(mark), ticket...), err
	}
	c.UnwrapSession = func(id []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ticket, ok := bytes.CutPrefix(id, []byte(mark))
		if !ok {
			return nil, nil
		}
		return c.DecryptTicket(ticket, cs)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config = c
}

func (s *tlsServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// serve runs a server for the length of the test. One without a mark is
// silent: it takes connections and says nothing.
func serve(t *testing.T, cert tls.Certificate, mark string, key byte) *tlsServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &tlsServer{addr: ln.Addr().String(), cert: cert}
	if mark != "" {
		s.mint(mark, key)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			config := s.config
			s.conns++
			s.mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				if config != nil {
					_, _ = io.Copy(io.Discard, tls.Server(c, config))
				}
				_, _ = io.Copy(io.Discard, c) // until the client hangs up
			})
		}
	})
	return s
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A discovery is a runner over one pool, with the layouts that it told.
type discovery struct {
	t       *testing.T
	runner  *Runner
	pool    *route.Pool
	layouts chan string
	last    string
}

// discover runs a Runner over the servers given until the test ends.
func discover(t *testing.T, interval time.Duration, servers map[route.ServerName]*tlsServer) *discovery {
	t.Helper()
	d := &discovery{t: t, layouts: make(chan string, 100)}
	var cfg route.PoolConfig
	cfg.Name = "p"
	for _, name := range []route.ServerName{"a", "b", "c", "d"} {
		if servers[name] != nil {
			cfg.Servers = append(cfg.Servers, route.ServerConfig{Name: name, Weight: 1})
		}
	}
	var err error
	if d.pool, err = route.NewPool(cfg, nil); err != nil {
		t.Fatal(err)
	}
	d.runner = NewRunner(Config{
		Dial: func(ctx context.Context, s *route.Server) (net.Conn, error) {
			var nd net.Dialer
			return nd.DialContext(ctx, "tcp", servers[s.Config.Name].addr)
		},
		OnChange: func(_ route.PoolName, l Layout) { d.layouts <- spell(l) },
	})
	d.runner.Update([]Pool{{Name: "p", Servers: d.pool.Servers, Interval: interval, Lifetime: time.Hour}})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = d.runner.Run(ctx) // ends with its context
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return d
}

// want waits until the layout is the one given.
func (d *discovery) want(layout string) {
	d.t.Helper()
	limit := time.After(patience)
	for d.last != layout {
		select {
		case d.last = <-d.layouts:
		case <-limit:
			d.t.Fatalf("the last layout is\n%swant\n%s", d.last, layout)
		}
	}
}

// A name on two servers is theirs together when one accepts the other's
// ticket, and nobody's when it does not; and that is asked again.
func TestSharedNamesAreTested(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t)
	servers := map[route.ServerName]*tlsServer{
		"a": serve(t, cert, "one-key-", 1), "b": serve(t, cert, "one-key-", 1),
		"c": serve(t, cert, "victims-", 2), "d": serve(t, cert, "victims-", 3), // a copy, with a key of its own
	}
	d := discover(t, time.Hour, servers)
	d.want("a+b: one-key-\ngroup a+b\nalarm victims- [c d]\n")
	// The key of c is given to d, under the name that it had.
	servers["d"].mint("victims-", 2)
	d.runner.Kick("p", "d")
	d.want("a+b: one-key-\nc+d: victims-\ngroup a+b\ngroup c+d\n")
	// And b gets a key of its own, under the old name.
	servers["b"].mint("one-key-", 4)
	d.runner.Kick("p", "b")
	d.want("c+d: victims-\ngroup c+d\nalarm one-key- [a b]\n")
}

// What asks for a probe right after one is not forgotten: a server that
// restarts comes up at any time.
func TestKicksWait(t *testing.T) {
	t.Parallel()
	a := serve(t, selfSigned(t), "first---", 1)
	d := discover(t, time.Hour, map[route.ServerName]*tlsServer{"a": a})
	d.want("a: first---\n")
	a.mint("second--", 2)
	before := a.connections()
	for range 10 { // not ten probes
		d.runner.Kick("p", "a")
	}
	d.want("a: first---\na: second--\n")
	if n := a.connections() - before; n > 2*probe.DefaultConnections {
		t.Errorf("ten kicks made %d connections; want one probe", n)
	}
}

// A server that takes connections and says nothing costs the others of its
// pool no time, and a start no more than the limit.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t)
	d := discover(t, time.Hour, map[route.ServerName]*tlsServer{
		"a": serve(t, cert, "name-of-a", 1), "b": serve(t, cert, "", 0),
	})
	began := time.Now()
	d.want("a: name-of-a\n")
	if took := time.Since(began); took > probeLimit-time.Second/2 {
		t.Errorf("the name of a was used after %v; want before the probe of b has given up", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := d.runner.WaitFirstRound(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > probeLimit+time.Second {
		t.Errorf("the first round took %v; want at most %v", took, probeLimit)
	}
}

// Servers that are down are not probed in turn: a probe of what does not
// answer takes long, and the others wait.
func TestDownServersAreLeftOut(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t)
	servers := map[route.ServerName]*tlsServer{"a": serve(t, cert, "name-of-a", 1), "b": serve(t, cert, "name-of-b", 2)}
	d := discover(t, 20*time.Millisecond, servers)
	d.want("a: name-of-a\nb: name-of-b\n")
	d.pool.Server("b").State.Up.Store(false)
	servers["a"].wantProbes(t, 2) // one of b may have been under way
	servers["b"].mint("new-of-b-", 3)
	before := servers["b"].connections()
	servers["a"].wantProbes(t, 20)
	if n := servers["b"].connections() - before; n != 0 {
		t.Errorf("b is down and got %d connections of probes", n)
	}
	d.pool.Server("b").State.Up.Store(true)
	d.want("a: name-of-a\nb: name-of-b\nb: new-of-b-\n")
}

// wantProbes waits until n more probes have reached the server.
func (s *tlsServer) wantProbes(t *testing.T, n int) {
	t.Helper()
	goal := s.connections() + n*2*probe.DefaultConnections // with both versions
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience); s.connections() < goal; {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d probes did not come within %v", n, patience)
		}
	}
}
