package daemon

import (
	"context"
	"fmt"
	"maps"
	"net"
	"reflect"

	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/learn"
	"github.com/mintmark/mintmark/internal/reactor"
	"github.com/mintmark/mintmark/internal/route"
)

// A change is a configuration made ready: all that can fail has been done,
// nothing of it is in force.
type change struct {
	cfg      *config.Config
	snapshot *route.Snapshot
	sockets  map[socketKey]*socket                // of every listener; new ones are open already
	opened   []net.Listener                       // those that this change opened
	logs     map[route.ListenerName]*l4.AccessLog // of every listener that has one
	lists    map[route.PoolName]*learn.List       // of every pool that learns
	newLogs  []*l4.AccessLog
	admin    *adminServer

	datagrams datagramChange
}

// discard undoes what prepare did.
func (c *change) discard(d *Daemon) {
	for _, ln := range c.opened {
		_ = ln.Close()
	}
	for _, l := range c.newLogs {
		_ = l.Close()
	}
	c.datagrams.discard()
	if c.admin != nil && c.admin != d.admin {
		c.admin.close()
	}
}

// apply puts cfg into force: prepare does everything that can fail, commit
// what cannot.
func (d *Daemon) apply(ctx context.Context, cfg *config.Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.applyLocked(ctx, cfg)
}

// reload reads the file and applies it, with the pools of the control plane if
// there is one.
func (d *Daemon) reload(ctx context.Context) error {
	data, err := config.Read(d.cfg.Path)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	cfg, err := config.Parse(d.cfg.Path, data, d.options(d.pools))
	if err != nil {
		return err
	}
	if d.current != nil && !reflect.DeepEqual(cfg.Control, d.current.Control) {
		return errControlChanged
	}
	if err := d.applyLocked(ctx, cfg); err != nil {
		return err
	}
	d.file = data
	return nil
}

// applyLocked is apply for a caller that holds mu.
func (d *Daemon) applyLocked(ctx context.Context, cfg *config.Config) error {
	if d.stopping {
		return errStopping
	}
	c, err := d.prepare(ctx, cfg)
	if err != nil {
		return err
	}
	d.commit(ctx, c)
	for _, w := range cfg.Warnings {
		d.log.Warn("configuration", "file", cfg.Path, "line", w.Line, "path", w.Path, "reason", w.Reason, "remedy", w.Remedy)
	}
	return nil
}

func (d *Daemon) prepare(ctx context.Context, cfg *config.Config) (*change, error) {
	c := &change{
		cfg:     cfg,
		sockets: make(map[socketKey]*socket),
		logs:    make(map[route.ListenerName]*l4.AccessLog),
		lists:   make(map[route.PoolName]*learn.List),
	}
	var err error
	for i := range cfg.Pools {
		if l := d.learnedList(cfg, cfg.Pools[i].Name); l != nil {
			c.lists[cfg.Pools[i].Name] = l
		}
	}
	if c.snapshot, err = d.newSnapshotWith(cfg, d.snapshot.Load(), c.lists); err != nil {
		return nil, err
	}
	if err := d.prepareSockets(ctx, c); err != nil {
		c.discard(d)
		return nil, err
	}
	if err := d.prepareDatagrams(ctx, c); err != nil {
		c.discard(d)
		return nil, err
	}
	if err := d.prepareLogs(c); err != nil {
		c.discard(d)
		return nil, err
	}
	if err := d.prepareAdmin(ctx, c); err != nil {
		c.discard(d)
		return nil, err
	}
	return c, nil
}

// newSnapshot is newSnapshotWith the lists in force.
func (d *Daemon) newSnapshot(cfg *config.Config, prev *route.Snapshot) (*route.Snapshot, error) {
	return d.newSnapshotWith(cfg, prev, d.lists)
}

// newSnapshotWith builds the routing half of cfg, with what was discovered and
// learned. Servers that stay keep their live state, through prev.
func (d *Daemon) newSnapshotWith(cfg *config.Config, prev *route.Snapshot, lists map[route.PoolName]*learn.List) (*route.Snapshot, error) {
	s := &route.Snapshot{
		Pools:     make(map[route.PoolName]*route.Pool, len(cfg.Pools)),
		Listeners: make(map[route.ListenerName]*route.Listener, len(cfg.Listeners)),
	}
	for _, pc := range cfg.Pools {
		var before *route.Pool
		if prev != nil {
			before = prev.Pools[pc.Name]
		}
		if cfg.Discover[pc.Name] != nil {
			var err error
			if pc, err = withLayout(pc, d.layouts[pc.Name], d.log); err != nil {
				return nil, fmt.Errorf("building pool %s: %w", pc.Name, err)
			}
		}
		if list := lists[pc.Name]; list != nil {
			pc.Learned = list
		}
		pc.Seen = d.seenOf(cfg, &pc)
		p, err := route.NewPool(pc, before)
		if err != nil {
			return nil, fmt.Errorf("building pool %s: %w", pc.Name, err)
		}
		s.Pools[pc.Name] = p
	}
	for _, lc := range cfg.Listeners {
		l, err := lc.Route(s.Pools)
		if err != nil {
			return nil, fmt.Errorf("building listener %s: %w", lc.Name, err)
		}
		s.Listeners[lc.Name] = l
	}
	return s, nil
}

// prepareSockets finds or opens the socket of every address in c.
func (d *Daemon) prepareSockets(ctx context.Context, c *change) error {
	open := make(map[socketKey]*socket)
	for _, l := range d.listeners {
		maps.Copy(open, l.sockets)
	}
	for _, lc := range c.cfg.Listeners {
		if lc.Protocol.Datagrams() {
			continue // see prepareDatagrams
		}
		for _, a := range lc.Listen {
			k := keyOf(a)
			if s := open[k]; s != nil {
				c.sockets[k] = s
				continue
			}
			ln := d.inherited.take(k, string(lc.Name))
			if ln == nil {
				var err error
				if ln, err = listen(ctx, k); err != nil {
					return fmt.Errorf("opening listener %s on %v: %w", lc.Name, k, err)
				}
			}
			c.opened = append(c.opened, ln)
			c.sockets[k] = &socket{ln: ln}
		}
	}
	return nil
}

// prepareLogs opens the access logs that are new. A log whose file stays the
// same is reopened in commit, so that a rotated file is let go.
func (d *Daemon) prepareLogs(c *change) error {
	for _, lc := range c.cfg.Listeners {
		if lc.AccessLog == "" {
			continue
		}
		if l := d.listeners[lc.Name]; l != nil && l.accessLog != nil && l.accessLog.Is(lc.AccessLog, lc.AccessLogFormat) {
			c.logs[lc.Name] = l.accessLog
			continue
		}
		log, err := l4.OpenAccessLog(lc.AccessLog, lc.AccessLogFormat)
		if err != nil {
			return fmt.Errorf("opening the access log of listener %s: %w", lc.Name, err)
		}
		c.newLogs = append(c.newLogs, log)
		c.logs[lc.Name] = log
	}
	return nil
}

// commit swaps the configuration. Nothing in it can fail. The order matters:
// servers are known to the monitor before traffic can be sent to them, and a
// socket changes hands before its old owner lets go of it.
func (d *Daemon) commit(ctx context.Context, c *change) {
	d.current = c.cfg
	d.lists = c.lists
	d.swap(c.snapshot)
	d.prober.Update(probed(c.cfg, c.snapshot))

	before := d.listeners
	d.listeners = make(map[route.ListenerName]*listener, len(c.cfg.Listeners))
	for i := range c.cfg.Listeners {
		lc := &c.cfg.Listeners[i]
		if lc.Protocol.Datagrams() {
			continue
		}
		l := d.commitListener(c, lc, before[lc.Name])
		d.listeners[lc.Name] = l
		for _, a := range lc.Listen {
			k := keyOf(a)
			if l.sockets[k] == nil {
				d.serve(ctx, l, k, c.sockets[k])
			}
		}
	}
	d.letGo(before)
	d.commitDatagrams(ctx, c)
	if d.admin != c.admin {
		if d.admin != nil {
			d.admin.close()
		}
		d.admin = c.admin
	}
}

// swap puts a snapshot into force, but for the listeners: servers are known to
// the monitor before traffic can be sent to them.
func (d *Daemon) swap(s *route.Snapshot) {
	d.snapshot.Store(s)
	d.monitor.Update(s)
	d.metrics.Update(s)
	d.watch.Update(s)
	for k := range d.probes {
		if p := s.Pools[k.pool]; p == nil || p.Server(k.server) == nil {
			delete(d.probes, k)
		}
	}
}

// commitListener gives the listener its new settings; old is nil for a new one.
func (d *Daemon) commitListener(c *change, lc *config.Listener, old *listener) *listener {
	access := c.logs[lc.Name]
	if old == nil || shapeOf(old.config) != shapeOf(lc) {
		if old != nil && old.accessLog == access {
			old.accessLog = nil // it is its successor's to close
		}
		l := &listener{name: lc.Name, config: lc, accessLog: access, sockets: make(map[socketKey]*socket)}
		l.proxy = d.newProxy(l, c.snapshot.Listeners[lc.Name])
		return l
	}
	before := old.accessLog
	old.config, old.accessLog = lc, access
	d.update(old, c.snapshot.Listeners[lc.Name])
	if before != nil && before != access {
		_ = before.Close()
	}
	if access != nil {
		if err := access.Reopen(); err != nil {
			d.log.Error("reopening the access log, the open file stays", "listener", lc.Name, "error", err)
		}
	}
	return old
}

// serve starts the accept loop of l on the socket s. A socket that another
// listener served until now is duplicated: its queue lives on while the old
// loop closes its own handle.
func (d *Daemon) serve(ctx context.Context, l *listener, k socketKey, s *socket) {
	ln := s.ln
	if s.stop != nil {
		dup, err := duplicate(s.ln)
		if err != nil {
			d.fail(err) // out of descriptors: going on without the listener would be silent loss
			return
		}
		ln = dup
	}
	if d.loopsFor(l.config) != nil {
		if detached, err := reactor.Detach(ln); err != nil {
			d.log.Warn("accepting without the event loops", "address", k.String(), "error", err)
		} else {
			ln = detached
		}
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.sockets[k] = &socket{ln: ln, stop: stop}
	d.serving.Go(func() {
		if err := l.proxy.Serve(run, ln); err != nil && run.Err() == nil {
			d.fail(fmt.Errorf("accepting on %v: %w", k, err))
		}
	})
}

// loopsFor returns the event loops that a listener is to use, nil for none.
func (d *Daemon) loopsFor(lc *config.Listener) *reactor.Group {
	if lc.Engine == "portable" || lc.HTTP != nil {
		return nil
	}
	return d.loops
}

// letGo retires the listeners that the new configuration does not have, or has
// in another shape, and closes the sockets that it takes from those that stay.
func (d *Daemon) letGo(before map[route.ListenerName]*listener) {
	want := make(map[route.ListenerName]map[socketKey]bool)
	for i := range d.current.Listeners {
		lc := &d.current.Listeners[i]
		if lc.Protocol.Datagrams() {
			continue
		}
		want[lc.Name] = make(map[socketKey]bool)
		for _, a := range lc.Listen {
			want[lc.Name][keyOf(a)] = true
		}
	}
	for name, l := range before {
		if want[name] == nil || d.listeners[name] != l {
			d.retire(l)
			continue
		}
		for k, s := range l.sockets {
			if !want[name][k] {
				s.close()
				delete(l.sockets, k)
			}
		}
	}
}

func (d *Daemon) settingsOf(l *listener, to *route.Listener) *l4.Settings {
	lc := l.config
	s := &l4.Settings{
		Listener:       to,
		TLS:            lc.Protocol == config.ProtocolTLS,
		AcceptFrom:     lc.AcceptFrom,
		HelloTimeout:   lc.HelloTimeout,
		ConnectTimeout: lc.ConnectTimeout,
		IdleTimeout:    lc.IdleTimeout,
		MaxConnections: lc.MaxConnections,
		Witness:        d.watch,
	}
	if l.accessLog != nil {
		s.AccessLog = l.accessLog
	}
	return s
}
