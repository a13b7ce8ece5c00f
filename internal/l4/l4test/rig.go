package l4test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
)

// patience is how long a test waits for something that must happen. It is
// long, because a test machine can be busy; nothing waits so long when all is
// well.
const patience = 20 * time.Second

// listenerName is the listener of every rig.
const listenerName = "front"

// A rig is an engine that serves a socket, with everything around it.
type rig struct {
	t       *testing.T
	engine  Engine
	metrics *metrics.Set
	dialer  *dialer
	log     *lines
	addr    net.Addr
	pools   []*route.Pool
	served  chan struct{}
	stop    context.CancelFunc
}

// A setup is what a rig is made from.
type setup struct {
	settings l4.Settings // without Listener and AccessLog
	config   l4.Config   // without Dialer and Metrics
	pool     *route.Pool // what no route takes
	routes   []route.SNIRoute
	ln       net.Listener // nil: TCP on the loopback interface
	json     bool         // access log
	recover  bool         // from panics; otherwise they end the test
}

// start starts an engine and ends it with the test, when nothing may be left:
// no connection, no slot, no buffer.
func start(t *testing.T, f Factory, s setup) *rig {
	t.Helper()
	r := &rig{
		t: t, metrics: metrics.New(""), dialer: newDialer(), log: &lines{json: s.json},
		served: make(chan struct{}),
	}
	rl, err := route.NewListener(listenerName, s.routes, s.pool)
	if err != nil {
		t.Fatal(err)
	}
	snap := &route.Snapshot{
		Pools:     map[route.PoolName]*route.Pool{},
		Listeners: map[route.ListenerName]*route.Listener{listenerName: rl},
	}
	if s.pool != nil {
		snap.Pools[s.pool.Config.Name] = s.pool
	}
	for _, sr := range s.routes {
		snap.Pools[sr.Pool.Config.Name] = sr.Pool
	}
	for _, p := range snap.Pools {
		r.pools = append(r.pools, p)
	}
	r.metrics.Update(snap)
	s.settings.Listener = rl
	if s.settings.AccessLog == nil {
		s.settings.AccessLog = r.log
	}
	s.config.Dialer = r.dialer
	s.config.Metrics = r.metrics
	s.config.PropagatePanics = !s.recover
	if s.config.Logger == nil {
		s.config.Logger = slog.New(slog.DiscardHandler)
	}
	ln := s.ln
	if ln == nil {
		ln = listen(t, "tcp", "127.0.0.1:0")
	}
	r.addr = ln.Addr()
	r.engine = f(s.config, &s.settings)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		defer close(r.served)
		if err := r.engine.Serve(ctx, ln); err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	t.Cleanup(func() { r.end(ln) })
	return r
}

// end stops the engine and looks for what it has left behind.
func (r *rig) end(ln net.Listener) {
	r.stop()
	<-r.served
	_ = ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if cut := r.engine.Drain(ctx); cut != 0 {
		r.t.Errorf("%d connections did not end by themselves", cut)
	}
	m := r.metrics.Listener(listenerName)
	if n := m.Active.Load(); n != 0 {
		r.t.Errorf("%d connections are counted as active after the drain", n)
	}
	if n := m.HelloBuffered.Load(); n != 0 {
		r.t.Errorf("%d bytes of hello buffers are left after the drain", n)
	}
	for _, p := range r.pools {
		for _, s := range p.Servers {
			if n := s.State.Conns.Load(); n != 0 {
				r.t.Errorf("server %s has %d connection slots taken after the drain", s.Config.Name, n)
			}
		}
	}
}

// listen opens a socket that is closed with the test.
func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// socketPath returns a path short enough for a unix socket.
func socketPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "s")
}

// dial connects a client to the rig; the connection is closed with the test.
func (r *rig) dial() *net.TCPConn {
	r.t.Helper()
	c, err := r.tryDial()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// tryDial connects a client to the rig, for the caller to close.
func (r *rig) tryDial() (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(r.t.Context(), r.addr.Network(), r.addr.String())
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(patience))
}

// samples scrapes the metrics: sample name with labels, to value.
func (r *rig) samples() map[string]float64 {
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(r.metrics.Registry(), promhttp.HandlerOpts{}).
		ServeHTTP(rec, httptest.NewRequestWithContext(r.t.Context(), "GET", "/metrics", nil))
	out := make(map[string]float64)
	for line := range strings.Lines(rec.Body.String()) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok && strings.HasPrefix(name, "mintmark_") {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				r.t.Fatalf("reading metrics: %q: %v", line, err)
			}
			out[name+"}"] = v
		}
	}
	return out
}

// wantSample waits until a sample has the value.
func (r *rig) wantSample(name string, want float64) {
	r.t.Helper()
	eventually(r.t, func() error {
		if got := r.samples()[name]; got != want {
			return fmt.Errorf("%s is %v; want %v", name, got, want)
		}
		return nil
	})
}

// wantRefused waits until n connections have been refused for the cause.
func (r *rig) wantRefused(cause route.Cause, n int) {
	r.t.Helper()
	r.wantSample(fmt.Sprintf(`mintmark_refused_total{cause=%q,listener="front"}`, cause), float64(n))
}

// wantDecided waits until n decisions have been made.
func (r *rig) wantDecided(pool route.PoolName, field idspace.Field, by route.RoutedBy, n int) {
	r.t.Helper()
	r.wantSample(fmt.Sprintf(`mintmark_decisions_total{field=%q,listener="front",pool=%q,routed_by=%q}`, field, pool, by), float64(n))
}

// eventually calls f until it returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 20*time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(wait)
	}
}

// lines is an access log in memory.
type lines struct {
	json bool
	mu   sync.Mutex
	buf  bytes.Buffer
}

// JSON makes engines write JSON.
func (l *lines) JSON() bool { return l.json }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// all returns the lines so far.
func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.buf.String(), "\n"), "\n")
}

// A dialer connects to servers by name.
type dialer struct {
	mu      sync.Mutex
	servers map[route.ServerName]func(ctx context.Context) (net.Conn, error)
	targets map[route.ServerName]netip.AddrPort // where one connect() is all there is to do
	dials   map[route.ServerName]int
}

func newDialer() *dialer {
	return &dialer{
		servers: make(map[route.ServerName]func(context.Context) (net.Conn, error)),
		targets: make(map[route.ServerName]netip.AddrPort),
		dials:   make(map[route.ServerName]int),
	}
}

// to sends connections for a server to an address.
func (d *dialer) to(name route.ServerName, a net.Addr) {
	d.with(name, func(ctx context.Context) (net.Conn, error) {
		var nd net.Dialer
		return nd.DialContext(ctx, a.Network(), a.String())
	})
	if t, ok := a.(*net.TCPAddr); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.targets[name] = t.AddrPort()
	}
}

func (d *dialer) with(name route.ServerName, f func(context.Context) (net.Conn, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.servers[name] = f
	delete(d.targets, name)
}

var _ l4.Connector = (*dialer)(nil)

// Target implements l4.Connector.
func (d *dialer) Target(s *route.Server) (netip.AddrPort, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	to, ok := d.targets[s.Config.Name]
	if ok {
		d.dials[s.Config.Name]++
	}
	return to, ok
}

// Connected implements l4.Connector.
func (d *dialer) Connected(*route.Server, int, time.Duration, error) {}

// count returns how often a server was dialed.
func (d *dialer) count(name route.ServerName) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dials[name]
}

var errDown = errors.New("connection refused (by the test)")

// Dial implements l4.Dialer.
func (d *dialer) Dial(ctx context.Context, s *route.Server, timeout time.Duration) (net.Conn, error) {
	d.mu.Lock()
	f := d.servers[s.Config.Name]
	d.dials[s.Config.Name]++
	d.mu.Unlock()
	if f == nil {
		return nil, errDown
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return f(ctx)
}

// newPool returns a pool whose servers own the IDs that begin with the first
// letter of their name.
func newPool(t *testing.T, cfg route.PoolConfig, servers ...route.ServerName) *route.Pool {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "web"
	}
	given := cfg.Servers
	cfg.Servers = nil
	var rules []idspace.Rule
	for _, s := range servers {
		sc := route.ServerConfig{Name: s, Weight: 1}
		for _, g := range given {
			if g.Name == s {
				sc = g
			}
		}
		cfg.Servers = append(cfg.Servers, sc)
		letter := []byte{s[0]}
		rules = append(rules, idspace.Rule{Owner: idspace.Owner(s), Range: &idspace.Range{From: letter, To: letter}})
	}
	table, err := idspace.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Table = table
	cfg.RandomIDs = route.RandomRoute // the spaces of these tests are dense
	p, err := route.NewPool(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// idOf returns an ID that the server of that name has minted.
func idOf(name string) []byte { return bytes.Repeat([]byte(name[:1]), 32) }

// loopback is the network that the clients of a rig are in.
func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
