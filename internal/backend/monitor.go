package backend

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// maxChecks is how many checks run at the same time. With thousands of servers
// a start would otherwise need as many descriptors at once as there are
// servers.
const maxChecks = 512

// A Resolver finds the addresses of a name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config is what a Monitor needs. Every field may be left zero.
type Config struct {
	// Logger receives one line at each change of a server's state.
	Logger *slog.Logger
	// Dial connects; the default is that of a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolver finds the addresses of names; the default is net.DefaultResolver.
	Resolver Resolver
	// OnChange, when set, is called at each change of a server's state, in
	// order for each server. It must return soon and must not call the Monitor.
	OnChange func(s *route.Server, up bool, reason string)
	// OnDial, when set, is called at the end of each Dial with its result, and
	// by Connected. It is called by many goroutines at once. loop is what
	// Connected was given, 0 for a Dial.
	OnDial func(s *route.Server, loop int, took time.Duration, err error)
}

// A Monitor runs the health checks and name resolution of all pools. Its
// methods are safe for concurrent use.
type Monitor struct {
	// Immutable after NewMonitor.
	cfg     Config
	log     *slog.Logger
	slots   chan struct{} // capacity maxChecks: one element for each check that runs
	ownDial bool          // cfg.Dial was given

	// watches is read by Dial; Update swaps it while it holds mu. The map is
	// immutable.
	watches atomic.Pointer[map[*route.State]*watch]

	// mu serialises Update and the beginning and end of Run. It is taken
	// before a watch's mu.
	mu    sync.Mutex
	phase phase
	ctx   context.Context // of Run, while phase is running
	wg    sync.WaitGroup  // all loops; added to only while phase is running
}

// A phase of a Monitor's life.
type phase uint8

const (
	idle phase = iota
	running
	ended
)

// NewMonitor returns a Monitor that has not started anything.
func NewMonitor(cfg Config) *Monitor {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ownDial := cfg.Dial != nil
	if !ownDial {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	m := &Monitor{cfg: cfg, ownDial: ownDial, log: cfg.Logger, slots: make(chan struct{}, maxChecks)}
	m.watches.Store(new(map[*route.State]*watch))
	return m
}

// Run checks and resolves until ctx ends, and returns nil when everything that
// it started has ended. It may be called once. Update may be called before and
// while it runs.
func (m *Monitor) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.phase != idle {
		m.mu.Unlock()
		return errors.New("backend: Monitor.Run was called twice")
	}
	m.phase, m.ctx = running, ctx
	for _, w := range *m.watches.Load() {
		w.start(ctx)
	}
	m.mu.Unlock()

	<-ctx.Done()

	m.mu.Lock()
	m.phase = ended
	for _, w := range *m.watches.Load() {
		w.stop()
	}
	m.mu.Unlock()
	m.wg.Wait()
	return nil
}

// Update replaces the servers that are checked by those of s. Servers that
// stay (that have the same State) keep their state, their history and their
// schedule; what is in progress for servers that go is cancelled. A server
// with another address or another check is checked at once. nil is a snapshot
// without servers.
func (m *Monitor) Update(s *route.Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := *m.watches.Load()
	after := make(map[*route.State]*watch)
	if s != nil {
		for _, p := range s.Pools {
			for _, server := range p.Servers {
				after[server.State] = m.watch(before[server.State], server)
			}
		}
	}
	// Swapped before the ones that go are stopped, so that a Dial rather finds
	// no watch than one that has stopped.
	m.watches.Store(&after)
	for state, w := range before {
		if after[state] == nil {
			w.stop()
		}
	}
}

// watch returns the watch of server: w with what has changed, or a new one
// when w is nil. The caller holds m.mu.
func (m *Monitor) watch(w *watch, server *route.Server) *watch {
	if w != nil {
		w.update(server)
		return w
	}
	w = newWatch(m, server)
	if m.phase == running {
		w.start(m.ctx)
	}
	return w
}

// WaitFirstRound waits until every server that is there now has been asked
// once, or has gone. It returns nil then, and otherwise the error of ctx when
// that ends. Servers without checks need no asking.
func (m *Monitor) WaitFirstRound(ctx context.Context) error {
	for _, w := range *m.watches.Load() {
		select {
		case <-w.asked:
			continue // also when ctx has ended: then this is a question, not a wait
		default:
		}
		select {
		case <-w.asked:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Status returns what is known of a server, and false if it is not one of the
// last Update.
func (m *Monitor) Status(s *route.Server) (Status, bool) {
	w := m.find(s)
	if w == nil {
		return Status{}, false
	}
	return w.status(), true
}

// find returns the watch of s, nil without one.
func (m *Monitor) find(s *route.Server) *watch { return (*m.watches.Load())[s.State] }
