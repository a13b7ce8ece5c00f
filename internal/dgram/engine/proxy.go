package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/dgram"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
)

const (
	// DefaultMaxFlows is what a MaxFlows of 0 means. Each flow holds a descriptor
	// and a port of this machine, of which Linux has 28,000 unless told otherwise:
	// a flood of forged addresses must leave some.
	DefaultMaxFlows = 16384
	// DefaultIdle is what an Idle of 0 means. Nothing is lost when a flow is
	// forgotten whose client sends IDs; the others find their server by the hash of
	// their address, as long as the servers stay as they are.
	DefaultIdle = 2 * time.Minute

	// quiet is for how long nothing may have come from clients until a drain believes
	// that the traffic has gone elsewhere.
	quiet = time.Second
	// quietCheck is how often that is looked at.
	quietCheck = 50 * time.Millisecond
)

// Config is what a Proxy is made of. It does not change when settings do.
type Config struct {
	// Logger receives what operators should see. nil discards it.
	Logger *slog.Logger
	// Metrics counts. nil counts where nobody looks.
	Metrics *metrics.Set
	// Portable takes the runtime's poller instead of what the system has.
	Portable bool
}

// Settings of a listener. A Proxy can be given new ones at any time.
type Settings struct {
	Listener *route.Listener // its pool is where everything goes
	Reader   dgram.ReaderConfig
	// Significant is how many octets of a QUIC connection ID say whose it is; what
	// follows does not matter. 0: not known.
	Significant int
	// MaxFlows is how many flows the listener may have on each of its addresses;
	// 0 means DefaultMaxFlows.
	MaxFlows int
	// Idle is how long a flow may be without a datagram; 0 means DefaultIdle.
	Idle time.Duration

	// Made by Check.
	reader *dgram.Reader
	pool   *metrics.Pool
}

// Check prepares s for use. It must be called once before New or Update; the error
// joins all that is wrong.
func (s *Settings) Check() error {
	if s.Listener.Pool == nil || len(s.Listener.Routes) > 0 {
		return fmt.Errorf("listener %s: a listener for datagrams has one pool and no routes", s.Listener.Name)
	}
	var errReader, errPool error
	s.reader, errReader = dgram.NewReader(s.Reader)
	_, errPool = dgram.NewDecider(s.Listener.Pool)
	if s.MaxFlows <= 0 {
		s.MaxFlows = DefaultMaxFlows
	}
	if s.Idle <= 0 {
		s.Idle = DefaultIdle
	}
	return errors.Join(errReader, errPool)
}

// limits returns the limits of one of several workers. Where some clients send IDs
// with owners, those that never do may fill half of the table.
func (s *Settings) limits(workers int) dgram.FlowLimits {
	most := max(2, (s.MaxFlows+workers-1)/workers)
	unknown := most
	if s.Listener.Pool.Config.Table != nil {
		unknown = most / 2
	}
	return dgram.FlowLimits{Max: most, MaxUnknown: unknown, Idle: s.Idle, Settled: settled}
}

// settled is how long a flow of a client that nobody knows is kept at least. A flood
// of forged addresses would otherwise open and close sockets as fast as it comes,
// and take the time that other clients' datagrams need.
const settled = time.Second

// A Proxy serves one listener of the configuration. Its methods are safe for
// concurrent use.
type Proxy struct {
	// Immutable after New.
	log      *slog.Logger
	metrics  *metrics.Listener
	portable bool
	began    time.Time // what last counts from: a step of the system's clock must not hold a drain

	settings atomic.Pointer[Settings]
	last     atomic.Int64 // when a client's datagram last passed, nanoseconds since began

	mu      sync.Mutex
	workers map[worker]bool // those that run
}

// A worker runs for one socket.
type worker interface {
	run() error
	wake() // makes run look at the settings, and whether it is to end
	stop() // makes run return
}

// New returns a Proxy that has not started anything.
func New(cfg Config, s *Settings) *Proxy {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = metrics.New("")
	}
	p := &Proxy{
		log:      cfg.Logger.With("listener", string(s.Listener.Name)),
		metrics:  cfg.Metrics.Listener(s.Listener.Name),
		portable: cfg.Portable || !native,
		began:    time.Now(),
		workers:  make(map[worker]bool),
	}
	p.Update(s)
	return p
}

// Update swaps the settings. Flows stay: a datagram of one is decided for anew under
// the new settings, like all others.
func (p *Proxy) Update(s *Settings) {
	s.pool = p.metrics.Pool(s.Listener.Pool)
	p.settings.Store(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.workers {
		w.wake()
	}
}

// Serve forwards what comes to the sockets until ctx ends, and then returns nil; or
// it returns why it cannot go on. It closes the sockets. It may be called several
// times at once, with different sockets.
func (p *Proxy) Serve(ctx context.Context, s *Sockets) error {
	defer s.Close()
	workers := make([]worker, 0, s.Len())
	for i := range s.Len() {
		w, err := p.newWorker(s, i)
		if err != nil {
			for _, w := range workers {
				w.stop()
				_ = w.run() // closes what it has
			}
			return fmt.Errorf("preparing to forward datagrams of %v: %w", s.Addr(), err)
		}
		workers = append(workers, w)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, w := range workers {
		p.enter(w)
		wg.Go(func() {
			defer p.leave(w)
			if err := w.run(); err != nil {
				cancel(fmt.Errorf("forwarding datagrams of %v: %w", s.Addr(), err))
			}
		})
	}
	<-ctx.Done()
	for _, w := range workers {
		w.stop()
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// heard notes that a client's datagram passed.
func (p *Proxy) heard(now time.Time) { p.last.Store(int64(now.Sub(p.began))) }

func (p *Proxy) enter(w worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workers[w] = true
}

func (p *Proxy) leave(w worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, w)
}

// Drain waits until the traffic has gone to another balancer: until no client's
// datagram has passed for a second, or ctx ends. It then returns how many flows are
// left. Serve goes on meanwhile, and has to be ended afterwards.
//
// A flow has no end that could be waited for, and needs none: a session whose client
// sends IDs goes on through another balancer with its next datagram. What servers send
// says nothing: they repeat themselves for half a minute and more to clients that are
// gone (RFC 9000, 10.1), and where there are many flows, some always are.
func (p *Proxy) Drain(ctx context.Context) (left int) {
	begin := time.Now()
	ticker := time.NewTicker(quietCheck)
	defer ticker.Stop()
	for {
		last := p.began.Add(time.Duration(p.last.Load()))
		if last.Before(begin) {
			last = begin
		}
		if p.metrics.Active.Load() == 0 || time.Since(last) >= quiet {
			return 0
		}
		select {
		case <-ctx.Done():
			return int(p.metrics.Active.Load())
		case <-ticker.C:
		}
	}
}

// Workers returns how many sockets an address is bound by: one for every other
// processor. Most of what datagrams cost is work of the kernel on their way, for which
// it takes other processors where it can, and fewer workers make larger batches.
func Workers() int { return (processors + 1) / 2 }

// processors is what the program began with. Event loops add to GOMAXPROCS while they
// run, which is no reason for more workers: on two processors a second one made a
// datagram half as dear again.
var processors = runtime.GOMAXPROCS(0) //nolint:gochecknoglobals // only the beginning knows it; never written
