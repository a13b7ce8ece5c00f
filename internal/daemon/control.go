package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/access/join"
	"github.com/mintmark/mintmark/internal/follow"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/store"
	"github.com/mintmark/mintmark/internal/webui"
)

// errControlChanged is returned by Reload for a change that a running process
// cannot make.
var errControlChanged = errors.New("the settings under control changed: restart the process to put them into effect")

// controlCloseTimeout is what calls in progress get at the end.
const controlCloseTimeout = time.Second

// A controlPlane is the control plane in this process.
type controlPlane struct {
	store  store.Store
	server *control.Server
	ui     *webui.UI
	ln     net.Listener
	http   *http.Server
}

// startControl starts the control plane, if it is in this process, and
// following it. What it starts ends with background.
func (d *Daemon) startControl(ctx, background context.Context, wg *sync.WaitGroup, c *config.Control) error {
	var source follow.Source
	if c.Listen != nil {
		p, err := d.openControl(ctx, c)
		if err != nil {
			return err
		}
		d.control = p
		wg.Go(func() { p.run(background, d) })
		if !d.followsControl() {
			close(d.synced)
			return nil
		}
		b, err := localBalancer(ctx, p.server, balancerName(c))
		if err != nil {
			return err
		}
		source = b
	} else {
		source = follow.NewAPI(join.NewRemote(join.RemoteConfig{
			URLs: c.Connect, Dir: c.Credentials, TokenFile: c.TokenFile, CA: c.CA, Role: string(access.RoleBalancer), Logger: d.log,
		}))
	}
	f := follow.New(follow.Config{
		Source: source, Cache: c.Cache, Apply: d.applySnapshot, Seen: d.eachSeen, OnSync: d.onSync, Logger: d.log,
	})
	if d.cfg.ServeStale {
		switch err := f.ServeStale(ctx); {
		case errors.Is(err, follow.ErrNoCache):
			d.log.Warn("there is no snapshot to serve by, waiting for the control plane", "cache", c.Cache)
		case err != nil:
			d.log.Error("the cached snapshot is of no use, waiting for the control plane", "cache", c.Cache, "error", err)
		default:
			d.log.Warn("routing by the last snapshot until the control plane answers", "cache", c.Cache)
		}
	}
	wg.Go(func() { _ = f.Run(background) }) // ends with its context
	return nil
}

// balancerName is that of the balancer in the control plane's own process.
func balancerName(c *config.Control) string {
	if c.Name != "" {
		return c.Name
	}
	if name, err := os.Hostname(); err == nil && config.CheckName(name) == nil {
		return name
	}
	return "local"
}

// localBalancer makes the balancer of this process known to its control plane.
func localBalancer(ctx context.Context, s *control.Server, name string) (*control.Balancer, error) {
	b := s.Balancer(name)
	if err := b.Enroll(ctx); err != nil {
		return nil, fmt.Errorf("making balancer %s known: %w", name, err)
	}
	return b, nil
}

// openControl opens the store and the address of the API.
func (d *Daemon) openControl(ctx context.Context, c *config.Control) (_ *controlPlane, err error) {
	p := &controlPlane{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.store, err = store.Open(ctx, c.Store, store.Options{KeyFile: c.KeyFile}); err != nil {
		return nil, err
	}
	keeper, err := access.New(ctx, p.store, access.Options{Logger: d.log})
	if err != nil {
		return nil, err
	}
	if p.server, err = control.New(control.Config{Store: p.store, Access: keeper, Logger: d.log, Version: d.cfg.Version}); err != nil {
		return nil, err
	}
	k := keyOf(*c.Listen)
	d.mu.Lock()
	p.ln = d.inherited.take(k, "control")
	d.mu.Unlock()
	if p.ln == nil {
		if p.ln, err = listen(ctx, k); err != nil {
			return nil, fmt.Errorf("opening the control address %v: %w", k, err)
		}
	}
	scheme := "https://"
	if c.Plain {
		scheme = "http://"
	}
	url := scheme + p.ln.Addr().String()
	if p.ui, err = d.newUI(c, p.server, keeper, url); err != nil {
		return nil, err
	}
	p.http = p.server.HTTPServer(controlNames(c, p.ln.Addr()), c.Plain, p.ui.Handler())
	p.http.ErrorLog = slog.NewLogLogger(d.log.Handler(), slog.LevelDebug) // failed handshakes of strangers
	token, err := keeper.AdminToken(ctx)
	if err != nil {
		return nil, err
	}
	d.log.Info("control plane", "api", url, "store", c.Store)
	if token != "" && d.cfg.OnAdminToken != nil {
		d.cfg.OnAdminToken(token, url)
	}
	return p, nil
}

// controlNames are the names in the API's certificate.
func controlNames(c *config.Control, addr net.Addr) []string {
	if len(c.Names) > 0 {
		return c.Names
	}
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, _, err := net.SplitHostPort(addr.String()); err == nil {
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() && !ip.IsLoopback() {
			names = append(names, host)
		}
	}
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	return names
}

// run serves the API until ctx ends.
func (p *controlPlane) run(ctx context.Context, d *Daemon) {
	var wg sync.WaitGroup
	wg.Go(func() {
		err := p.serve()
		if !errors.Is(err, http.ErrServerClosed) {
			d.fail(fmt.Errorf("serving the control address: %w", err))
		}
	})
	wg.Go(func() { _ = p.server.Run(ctx) }) // ends with its context
	wg.Go(func() { _ = p.ui.Run(ctx) })     // ends with its context
	<-ctx.Done()
	closing, cancel := context.WithTimeout(context.Background(), controlCloseTimeout)
	defer cancel()
	if err := p.http.Shutdown(closing); err != nil {
		_ = p.http.Close() // streams never end by themselves
	}
	wg.Wait()
	p.close()
}

func (p *controlPlane) serve() error {
	if p.http.TLSConfig == nil {
		return p.http.Serve(p.ln)
	}
	return p.http.ServeTLS(p.ln, "", "")
}

// close closes what openControl opened.
func (p *controlPlane) close() {
	if p.ln != nil {
		_ = p.ln.Close() // Shutdown has closed it already
	}
	if p.store != nil {
		_ = p.store.Close() // every commit was on disk when it returned
	}
}

// followsControl reports whether pools come from a control plane. One that has
// no listeners is no balancer.
func (d *Daemon) followsControl() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.current
	return c != nil && c.Control != nil && (c.Control.Listen == nil || len(c.Listeners)+len(c.Waiting) > 0)
}

// applySnapshot puts the pools of the control plane into effect.
func (d *Daemon) applySnapshot(ctx context.Context, s *follow.Snapshot) error {
	pools := &config.Pools{YAML: s.GetPoolsYaml(), Plans: s.GetPlans()}
	d.mu.Lock()
	defer d.mu.Unlock()
	// The file as it was when it was last in order: somebody may be editing it.
	cfg, err := config.Parse(d.cfg.Path, d.file, d.options(pools))
	if err != nil {
		return err
	}
	if err := d.applyLocked(ctx, cfg); err != nil {
		return err
	}
	d.pools = pools
	for _, w := range cfg.Waiting {
		d.log.Warn("a listener waits: the control plane has no such pool", "listener", w.Listener, "pool", w.Pool)
	}
	return nil
}

// onSync notes that a snapshot was acknowledged.
func (d *Daemon) onSync(revision uint64) {
	d.mu.Lock()
	first := d.revision == 0
	d.revision = revision
	d.mu.Unlock()
	if first {
		d.warnInherited()
		close(d.synced)
	}
}

// seenOf returns what remembers which spaces of a planned pool of the control
// plane are in use; nil for other pools. The caller holds mu.
func (d *Daemon) seenOf(cfg *config.Config, pc *route.PoolConfig) *route.Seen {
	if cfg.Control == nil || pc.Table == nil {
		return nil
	}
	if d.seen[pc.Name] == nil {
		d.seen[pc.Name] = route.NewSeen()
	}
	return d.seen[pc.Name]
}

// eachSeen tells which spaces were seen, of all pools.
func (d *Daemon) eachSeen(f func(pool string, owner idspace.Owner, slot uint8, last time.Time)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, s := range d.seen {
		s.Each(func(owner idspace.Owner, slot uint8, last time.Time) { f(string(name), owner, slot, last) })
	}
}
