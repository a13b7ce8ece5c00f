package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/discover"
	"github.com/mintmark/mintmark/internal/learn"
	"github.com/mintmark/mintmark/internal/probe"
	"github.com/mintmark/mintmark/internal/route"
)

// probeDialTimeout bounds the connecting of a probe.
const probeDialTimeout = 3 * time.Second

// dialProbe connects to a server on behalf of a probe.
func (d *Daemon) dialProbe(ctx context.Context, s *route.Server) (net.Conn, error) {
	return d.monitor.Dial(ctx, s, probeDialTimeout)
}

// probed returns the pools of the snapshot whose servers are probed.
func probed(cfg *config.Config, s *route.Snapshot) []discover.Pool {
	var pools []discover.Pool
	for i := range cfg.Pools {
		pc := &cfg.Pools[i]
		if o := cfg.Discover[pc.Name]; o != nil {
			pools = append(pools, discover.Pool{
				Name:        pc.Name,
				Servers:     s.Pools[pc.Name].Servers,
				SNI:         o.SNI,
				Certificate: o.Certificate,
				Interval:    o.Interval,
				Lifetime:    pc.SessionLifetime,
				Cache:       o.Cache,
			})
		}
	}
	return pools
}

// discovered puts the names that were found in a pool into force: a new
// snapshot of the same configuration.
func (d *Daemon) discovered(pool route.PoolName, l discover.Layout) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping || d.current == nil || d.current.Discover[pool] == nil {
		return // the pool went while its probes ran
	}
	before := d.layouts[pool]
	d.layouts[pool] = l
	for _, a := range l.Alarms {
		same := func(b discover.Alarm) bool {
			return slices.Equal(a.Prefix, b.Prefix) && slices.Equal(a.Servers, b.Servers) && a.Reason == b.Reason
		}
		if !slices.ContainsFunc(before.Alarms, same) {
			d.log.Warn("a server's name cannot be trusted", "pool", pool, "name", hex.EncodeToString(a.Prefix),
				"servers", a.Servers, "reason", a.Reason)
		}
	}
	s, err := d.newSnapshot(d.current, d.snapshot.Load())
	if err != nil {
		d.log.Error("using discovered names, the ones before stay", "pool", pool, "error", err)
		d.layouts[pool] = before
		return
	}
	d.swap(s)
	for name, l := range d.listeners {
		d.update(l, s.Listeners[name])
	}
	d.updateDatagrams(s)
	d.log.Info("names of servers discovered", "pool", pool, "names", len(l.Rules), "alarms", len(l.Alarms))
}

// withLayout gives pc the spaces that were discovered: pools with spaces of
// their own keep those. Servers that were found to share a key become a group,
// unless they are in one already.
func withLayout(pc route.PoolConfig, l discover.Layout, logger *slog.Logger) (route.PoolConfig, error) {
	if pc.Table != nil {
		return pc, nil
	}
	pc.Discovered = true
	if len(l.Rules) == 0 {
		return pc, nil
	}
	pc.Servers = slices.Clone(pc.Servers)
	pc.Groups = slices.Clone(pc.Groups)
	owners := make(map[idspace.Owner]bool) // that exist in pc
	for i := range pc.Servers {
		owners[idspace.Owner(pc.Servers[i].Name)] = true
	}
	renamed := make(map[idspace.Owner]idspace.Owner)
	for _, members := range l.Groups {
		found := idspace.Owner(discover.GroupName(members))
		if group, ok := joinGroup(&pc, members); ok {
			renamed[found] = idspace.Owner(group)
			owners[idspace.Owner(group)] = true
		} else {
			logger.Warn("servers share a ticket key, and are not one group: their shared names are not used",
				"pool", pc.Name, "servers", members)
		}
	}
	var rules []idspace.Rule
	for _, r := range l.Rules {
		if to, ok := renamed[r.Owner]; ok {
			r.Owner = to
		}
		if owners[r.Owner] {
			rules = append(rules, r)
		}
	}
	t, err := idspace.Compile(rules)
	if err != nil {
		return pc, fmt.Errorf("compiling discovered names: %w", err)
	}
	pc.Table = t
	return pc, nil
}

// joinGroup returns the group that has all members: the one that the
// configuration gives them, or a new one of those that are in none.
func joinGroup(pc *route.PoolConfig, members []route.ServerName) (route.GroupName, bool) {
	var at []int
	for i := range pc.Servers {
		if slices.Contains(members, pc.Servers[i].Name) {
			at = append(at, i)
		}
	}
	if len(at) < 2 {
		return "", false
	}
	name := pc.Servers[at[0]].Group
	for _, i := range at {
		if pc.Servers[i].Group != name {
			return "", false
		}
	}
	if name != "" {
		return name, true
	}
	name = discover.GroupName(members)
	pc.Groups = append(pc.Groups, route.GroupConfig{Name: name, Policy: pc.Policy})
	for _, i := range at {
		pc.Servers[i].Group = name
	}
	return name, true
}

// learnedList returns the list of a pool, the one before when its size and
// lifetime are the same: what was learned survives a reload.
func (d *Daemon) learnedList(cfg *config.Config, pool route.PoolName) *learn.List {
	o, ok := cfg.Learn[pool]
	if !ok {
		return nil
	}
	if d.current != nil && d.current.Learn[pool] == o && d.lists[pool] != nil {
		return d.lists[pool]
	}
	return learn.New(learn.Config{MaxEntries: o.MaxEntries, Lifetime: o.Lifetime})
}

// probedOnce is told of each probe.
func (d *Daemon) probedOnce(s *route.Server, r *probe.Result, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := serverKey{s.Pool.Config.Name, s.Config.Name}
	seen := probeSeen{err: err}
	if r != nil {
		seen.layout, seen.name = r.Layout, r.Name
		if before := d.probes[k]; before.layout != r.Layout && !r.Layout.Routable() {
			d.log.Warn("a server mints nothing to route by", "pool", k.pool, "server", k.server, "layout", string(r.Layout), "advice", r.Advice())
		}
		// The server of the snapshot in force: a probe may outlive a reload.
		if p := d.snapshot.Load().Pools[k.pool]; p != nil && p.Server(k.server) != nil {
			d.watch.Probed(p.Server(k.server), r)
		}
	}
	d.probes[k] = seen
}

// A serverKey names a server in all of the configuration.
type serverKey struct {
	pool   route.PoolName
	server route.ServerName
}

// probeSeen is what the last probe of a server found.
type probeSeen struct {
	layout probe.Layout
	name   []byte
	err    error
}

// waitFirstRound waits until each server was checked and probed once.
func (d *Daemon) waitFirstRound(ctx context.Context) error {
	return errors.Join(d.monitor.WaitFirstRound(ctx), d.prober.WaitFirstRound(ctx))
}
