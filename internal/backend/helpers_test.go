package backend

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mintmark/mintmark/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A network is a fake of the machine's: addresses that accept, refuse or hang,
// and names. The zero behaviour of an address is to refuse.
type network struct {
	mu      sync.Mutex
	servers map[string]func(ctx context.Context) (net.Conn, error)
	names   map[string][]string
	dials   []dialled
	lookups []time.Time
	resolve func(host string) error // when set, may make a lookup fail
}

type dialled struct {
	at      time.Time
	address string
}

func accept(context.Context) (net.Conn, error) {
	conn, _ := net.Pipe()
	return conn, nil
}

func refuse(context.Context) (net.Conn, error) { return nil, syscall.ECONNREFUSED }

func hang(ctx context.Context) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func failWith(err error) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) { return nil, err }
}

// set changes what addresses do.
func (n *network) set(do func(context.Context) (net.Conn, error), addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.servers == nil {
		n.servers = make(map[string]func(context.Context) (net.Conn, error))
	}
	for _, a := range addresses {
		n.servers[a] = do
	}
}

// name changes the addresses of a name.
func (n *network) name(host string, addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.names == nil {
		n.names = make(map[string][]string)
	}
	n.names[host] = addresses
}

func (n *network) failLookups(f func(host string) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.resolve = f
}

func (n *network) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dials = append(n.dials, dialled{at: time.Now(), address: address})
	do := n.servers[address]
	n.mu.Unlock()
	if do == nil {
		do = refuse
	}
	conn, err := do(ctx)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	return conn, nil
}

func (n *network) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lookups = append(n.lookups, time.Now())
	if n.resolve != nil {
		if err := n.resolve(host); err != nil {
			return nil, err
		}
	}
	var addrs []netip.Addr
	for _, a := range n.names[host] {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, nil
}

// took returns when address was dialled, as time since from, and forgets it.
func (n *network) took(address string, from time.Time) []time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	var at []time.Duration
	for _, d := range n.dials {
		if d.address == address {
			at = append(at, d.at.Sub(from))
		}
	}
	n.dials = slices.DeleteFunc(n.dials, func(d dialled) bool { return d.address == address })
	return at
}

func (n *network) lookedUp() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.lookups)
}

// A fixture is a Monitor that runs on a fake network.
type fixture struct {
	*Monitor
	net *network
	log *bytes.Buffer // guarded by mu

	mu      sync.Mutex
	changes []string
	last    *route.Server // that OnChange named
	dials   int
}

func (f *fixture) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(b)
}

// logged returns how many log lines contain text.
func (f *fixture) logged(text string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Count(f.log.String(), text)
}

func (f *fixture) changed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.changes)
}

func newFixture() *fixture {
	f := &fixture{net: &network{}, log: &bytes.Buffer{}}
	f.Monitor = NewMonitor(Config{
		Logger:   slog.New(slog.NewTextHandler(f, nil)),
		Dial:     f.net.Dial,
		Resolver: f.net,
		OnChange: func(s *route.Server, up bool, reason string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.last = s
			f.changes = append(f.changes, fmt.Sprintf("%s %v: %s", s.Config.Name, up, reason))
		},
		OnDial: func(*route.Server, int, time.Duration, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.dials++
		},
	})
	return f
}

// bubble runs test in a bubble of fake time, with a Monitor that runs until
// test returns.
func bubble(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		synctest.Wait()
		test(t, f)
	})
}

// health is an ordinary check.
func health() route.HealthConfig {
	return route.HealthConfig{Type: route.HealthTCP, Interval: 10 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3}
}

// snapshotOf returns a snapshot with one pool of servers "name=address".
func snapshotOf(t testing.TB, prev *route.Snapshot, h route.HealthConfig, servers ...string) *route.Snapshot {
	t.Helper()
	cfg := route.PoolConfig{Name: "web", Health: h}
	for _, s := range servers {
		name, address, _ := strings.Cut(s, "=")
		a, err := parseAddress(address)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Servers = append(cfg.Servers, route.ServerConfig{Name: route.ServerName(name), Address: a, Weight: 1})
	}
	var before *route.Pool
	if prev != nil {
		before = prev.Pools["web"]
	}
	p, err := route.NewPool(cfg, before)
	if err != nil {
		t.Fatal(err)
	}
	return &route.Snapshot{Pools: map[route.PoolName]*route.Pool{"web": p}}
}

func serverOf(s *route.Snapshot, name route.ServerName) *route.Server {
	return s.Pools["web"].Server(name)
}

func (f *fixture) dial(t *testing.T, s *route.Server) error {
	t.Helper()
	conn, err := f.Dial(t.Context(), s, 5*time.Second)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// about says whether two durations are the same but for jitter.
func about(got, want time.Duration) bool {
	return got >= want*9/10 && got <= want*11/10
}

// parseAddress reads what Address.String writes.
func parseAddress(s string) (route.Address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return route.Address{Network: "unix", Host: path}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return route.Address{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return route.Address{Network: "tcp", Host: host, Port: uint16(n)}, err
}
