// Package daemon composes a running balancer: it opens the sockets, gives
// each listener its proxy, checks the servers, answers on the admin address,
// and puts a changed configuration into effect as a whole or not at all.
//
// It knows every other part and decides nothing itself: where a message goes
// is package route's, what a file means is package config's.
//
// Life: Run opens everything, serves until its context ends, then goes
// through three phases: stop accepting, drain until the configuration's
// shutdown_grace is over, close. See ARCHITECTURE.md, "Life of a config
// change", for Reload.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/backend"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/discover"
	"github.com/mintmark/mintmark/internal/learn"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/reactor"
	"github.com/mintmark/mintmark/internal/route"
)

// firstRoundLimit bounds how long a start waits for the first round of health
// checks before it calls itself ready: servers that do not answer must not
// keep a balancer out of service for those that do.
const firstRoundLimit = 5 * time.Second

// Config is what a Daemon is built from.
type Config struct {
	// Path of the configuration file. Reload reads it again.
	Path string
	// Functions are the ID functions that the program brings, by the name
	// that the file uses.
	Functions map[string]idspace.Function
	// Logger receives what happens; nil discards it.
	Logger *slog.Logger
	// Version is shown by the build_info metric.
	Version string
	// Abort ends the drain at once when it is closed: the second signal.
	Abort <-chan struct{}
	// ServeStale routes by the last snapshot of the control plane while that
	// is away at the start. Without it such a balancer opens nothing.
	ServeStale bool
	// OnAdminToken, when set, is given the token of the first admin of a
	// control plane that starts for the first time, and its URL. The token is
	// not to be had again.
	OnAdminToken func(token, url string)
	// OnReady, when set, is called once, with the admin address ("" without
	// one), when every socket is open and the servers were asked once.
	OnReady func(admin string)
}

// A Daemon is one running balancer. Its methods are safe for concurrent use;
// Run may be called once.
type Daemon struct {
	// Immutable after New.
	cfg     Config
	log     *slog.Logger
	monitor *backend.Monitor
	prober  *discover.Runner
	watch   *learn.Watch
	metrics *metrics.Set
	loops   *reactor.Group // nil: none on this system. Set by Run, once
	failed  chan error     // capacity 1: the first failure ends Run, later ones have nothing to add

	notReady atomic.Pointer[string] // why new connections are not welcome; nil: they are
	snapshot atomic.Pointer[route.Snapshot]

	// mu serialises changes of the configuration. It guards all below.
	mu        sync.Mutex
	current   *config.Config
	listeners map[route.ListenerName]*listener
	datagrams map[route.ListenerName]*datagramListener
	admin     *adminServer
	inherited inherited
	layouts   map[route.PoolName]discover.Layout // what the probes found
	lists     map[route.PoolName]*learn.List
	probes    map[serverKey]probeSeen
	stopping  bool
	file      []byte                         // the configuration file that is in force
	pools     *config.Pools                  // of the control plane; nil: none yet
	seen      map[route.PoolName]*route.Seen // of its planned pools
	control   *controlPlane                  // in this process; nil: none
	revision  uint64                         // of the snapshot that was acknowledged last
	synced    chan struct{}                  // closed once that was the case

	serving  sync.WaitGroup // accept loops
	draining sync.WaitGroup // listeners that no longer accept, their connections still running
	drainCtx context.Context
	cutDrain context.CancelFunc // ends drainCtx: what still runs is closed
	cut      atomic.Int64       // connections that were closed that way
}

// New returns a Daemon that has not touched anything outside memory.
func New(cfg Config) *Daemon {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	drainCtx, cutDrain := context.WithCancel(context.Background())
	d := &Daemon{
		drainCtx: drainCtx, cutDrain: cutDrain,
		cfg:       cfg,
		log:       cfg.Logger,
		metrics:   metrics.New(cfg.Version),
		failed:    make(chan error, 1),
		listeners: make(map[route.ListenerName]*listener),
		layouts:   make(map[route.PoolName]discover.Layout),
		probes:    make(map[serverKey]probeSeen),
		seen:      make(map[route.PoolName]*route.Seen),
		synced:    make(chan struct{}),
	}
	d.monitor = backend.NewMonitor(backend.Config{
		Logger:   cfg.Logger,
		OnChange: d.serverChanged,
		OnDial:   d.metrics.ServerDialed,
	})
	d.prober = discover.NewRunner(discover.Config{
		Logger: cfg.Logger, Dial: d.dialProbe, OnChange: d.discovered, OnResult: d.probedOnce,
	})
	d.watch = learn.NewWatch(learn.WatchConfig{Names: d.prober, Foreign: d.metrics.ForeignMint, Logger: cfg.Logger})
	d.notReady.Store(new("waiting for the first round of health checks"))
	return d
}

// Run loads the file, serves until ctx ends, drains, and returns nil; or it
// returns why it could not. A config.Problems error means that the file is at
// fault. Every goroutine that it started has ended when it returns.
func (d *Daemon) Run(ctx context.Context) error {
	data, err := config.Read(d.cfg.Path)
	if err != nil {
		return err
	}
	cfg, err := config.Parse(d.cfg.Path, data, d.options(nil))
	if err != nil {
		return err
	}
	d.file = data
	in, err := inheritSockets()
	if err != nil {
		return err
	}
	d.inherited = in
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopBackground()
	defer d.cutDrain()

	if err := d.startLoops(background, &wg); err != nil {
		return err
	}
	if err := d.apply(ctx, cfg); err != nil {
		d.closeAll()
		return err
	}
	if cfg.Control == nil {
		d.warnInherited()
	} else if err := d.startControl(ctx, background, &wg, cfg.Control); err != nil {
		d.closeAll()
		return err
	}
	wg.Go(func() {
		if err := d.monitor.Run(background); err != nil {
			d.fail(fmt.Errorf("checking servers: %w", err))
		}
	})
	wg.Go(func() { _ = d.prober.Run(background) }) // ends with its context
	wg.Go(func() { d.announce(ctx) })
	stopWatchdog := startWatchdog()
	defer stopWatchdog()

	select {
	case <-ctx.Done():
		d.log.Info("shutting down", "cause", context.Cause(ctx))
		err = nil
	case err = <-d.failed:
	}
	d.shutdown()
	return err
}

// startLoops starts the event loops, on systems that have them.
func (d *Daemon) startLoops(ctx context.Context, wg *sync.WaitGroup) error {
	loops, err := reactor.New(0)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	d.loops = loops
	wg.Go(func() {
		defer loops.Close()
		if err := loops.Run(ctx); err != nil {
			d.fail(err)
		}
	})
	return nil
}

// serverChanged is told when a server goes up or down. One that comes up may
// have made a new ticket key, so it is asked.
func (d *Daemon) serverChanged(s *route.Server, up bool, reason string) {
	d.metrics.ServerChanged(s, up, reason)
	if up {
		d.prober.Kick(s.Pool.Config.Name, s.Config.Name)
	}
}

// announce tells the world that the balancer is ready, once each server has
// been asked or the wait has lasted long enough.
func (d *Daemon) announce(ctx context.Context) {
	if d.followsControl() {
		select {
		case <-d.synced:
		case <-ctx.Done():
			return
		}
	}
	first, cancel := context.WithTimeout(ctx, firstRoundLimit)
	defer cancel()
	_ = d.waitFirstRound(first) // late servers are dealt with as they answer
	if ctx.Err() != nil {
		return
	}
	d.notReady.Store(nil)
	notify("READY=1")
	admin := ""
	d.mu.Lock()
	if d.admin != nil {
		admin = d.admin.ln.Addr().String()
	}
	d.mu.Unlock()
	d.log.Info("ready", "admin", admin)
	if d.cfg.OnReady != nil {
		d.cfg.OnReady(admin)
	}
}

// shutdown goes through the three phases: not ready and no new connections,
// drain, close. Abort cuts the second short.
func (d *Daemon) shutdown() {
	d.notReady.Store(new("shutting down"))
	notify("STOPPING=1")
	d.mu.Lock()
	d.stopping = true
	grace := d.current.ShutdownGrace
	for name, l := range d.listeners {
		d.retire(l)
		delete(d.listeners, name)
	}
	d.retireDatagrams()
	d.mu.Unlock()
	d.serving.Wait()

	drained := make(chan struct{})
	go func() {
		d.draining.Wait()
		close(drained)
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	case <-d.cfg.Abort:
	}
	d.cutDrain()
	<-drained
	if n := d.cut.Load(); n > 0 {
		d.log.Warn("closed connections that outlived the grace period", "connections", n, "shutdown_grace", grace)
	}
	d.closeAll()
}

// retire ends the listener's accepting and lets its connections run on until
// they end by themselves or the shutdown cuts them. The caller holds mu.
func (d *Daemon) retire(l *listener) {
	l.stopAccepting()
	d.draining.Go(func() {
		d.cut.Add(int64(l.proxy.Drain(d.drainCtx)))
		l.close()
	})
}

// closeAll closes what Run opened. Nothing may be serving any more.
func (d *Daemon) closeAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.listeners {
		l.close()
	}
	for _, l := range d.datagrams {
		l.close()
	}
	if d.admin != nil {
		d.admin.close()
		d.admin = nil
	}
	d.inherited.close()
}

func (d *Daemon) warnInherited() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if unused := d.inherited.close(); len(unused) > 0 {
		d.log.Warn("closing passed sockets that no listener is bound to", "sockets", unused)
	}
}

// fail ends Run with err; only the first failure counts.
func (d *Daemon) fail(err error) {
	select {
	case d.failed <- err:
	default:
	}
}

func (d *Daemon) options(pools *config.Pools) config.Options {
	return config.Options{Functions: d.cfg.Functions, Pools: pools}
}

// errStopping is returned by Reload once Run is on its way out.
var errStopping = errors.New("reloading: the process is shutting down")

// Reload reads the file again and puts it into effect, all or nothing. On an
// error the configuration before stays in force, and the error is logged,
// counted and returned.
func (d *Daemon) Reload(ctx context.Context) error {
	notifyReloading()
	defer notify("READY=1")
	err := d.reload(ctx)
	d.logReload(err)
	// Last: whoever the metric tells that a reload failed finds the reason in the log.
	d.metrics.ConfigReloaded(err == nil)
	return err
}

func (d *Daemon) logReload(err error) {
	if err == nil {
		d.log.Info("configuration reloaded", "file", d.cfg.Path)
		return
	}
	const refused = "configuration refused, the last good one stays"
	var problems config.Problems
	if !errors.As(err, &problems) {
		d.log.Error(refused, "file", d.cfg.Path, "error", err)
	}
	for _, p := range problems {
		d.log.Error(refused, "file", d.cfg.Path, "line", p.Line, "path", p.Path, "reason", p.Reason, "remedy", p.Remedy)
	}
}
