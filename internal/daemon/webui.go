package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/explain"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/webui"
)

// A localSource tells the web UI of the balancer in this process.
type localSource struct {
	d    *Daemon
	name string
}

// newUI makes the web UI of the control plane in this process.
func (d *Daemon) newUI(c *config.Control, s *control.Server, keeper *access.Keeper, url string) (*webui.UI, error) {
	cfg := webui.Config{Client: s.Client, Revision: s.Revision, Access: keeper, URL: url, Plain: c.Plain, Version: d.cfg.Version, Logger: d.log}
	if d.followsControl() {
		cfg.Source = &localSource{d: d, name: balancerName(c)}
	}
	return webui.New(cfg)
}

// routedBy is where the web UI counts each way of routing.
func routedBy(by route.RoutedBy) webui.RoutedBy {
	switch by {
	case route.ByMint:
		return webui.ByMint
	case route.ByGroup:
		return webui.ByGroup
	case route.ByLearned:
		return webui.ByLearned
	case route.ByBalance:
		return webui.ByBalance
	default:
		return webui.ByRefused
	}
}

// Sample implements webui.Source.
func (s *localSource) Sample() *webui.Sample {
	st := s.d.Status()
	out := &webui.Sample{Time: time.Now(), Balancer: s.name, Ready: st.Ready, Reason: st.Reason}
	for _, w := range st.Waiting {
		out.Waiting = append(out.Waiting, webui.WaitingListener(w))
	}
	for _, name := range st.Listeners {
		refused, active := s.d.metrics.RefusedBefore(route.ListenerName(name))
		out.Listeners = append(out.Listeners, webui.ListenerSample{
			Name: name, Address: s.d.listenerAddress(route.ListenerName(name)), Active: active, Refused: refused,
		})
	}
	out.Flows = s.flows()
	for i := range st.Pools {
		out.Pools = append(out.Pools, poolSample(&st.Pools[i]))
	}
	return out
}

// flows returns each listener with each pool that it can send to.
func (s *localSource) flows() []webui.Flow {
	type key struct{ listener, pool string }
	counts := make(map[key]webui.Flow)
	snap := s.d.snapshot.Load()
	if snap == nil {
		return nil
	}
	for name, l := range snap.Listeners {
		pools := []*route.Pool{l.Pool}
		for i := range l.Routes {
			pools = append(pools, l.Routes[i].Pool)
		}
		for i := range l.HTTPRoutes {
			pools = append(pools, l.HTTPRoutes[i].Pool)
		}
		for _, p := range pools {
			if p != nil {
				k := key{string(name), string(p.Config.Name)}
				counts[k] = webui.Flow{Listener: k.listener, Pool: k.pool}
			}
		}
	}
	for _, d := range s.d.metrics.Decisions() {
		k := key{d.Listener, d.Pool}
		f, ok := counts[k]
		if !ok {
			continue
		}
		for by, n := range d.By {
			f.By[routedBy(route.RoutedBy(by))] += n //nolint:gosec // a handful
		}
		counts[k] = f
	}
	out := make([]webui.Flow, 0, len(counts))
	for _, f := range counts {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b webui.Flow) int {
		return cmp.Or(strings.Compare(a.Listener, b.Listener), strings.Compare(a.Pool, b.Pool))
	})
	return out
}

func poolSample(p *PoolStatus) webui.PoolSample {
	out := webui.PoolSample{
		Name: p.Name, Offered: p.Resumptions.Offered, Accepted: p.Resumptions.Accepted,
		ByChance: p.Resumptions.RoundRobin * float64(p.Resumptions.Offered),
	}
	for _, a := range p.Alarms {
		out.Alarms = append(out.Alarms, fmt.Sprintf("name %s of servers %s: %s", a.Name, strings.Join(a.Servers, ", "), a.Reason))
	}
	for i := range p.Servers {
		s := &p.Servers[i]
		ss := webui.ServerSample{
			Name: s.Name, Address: s.Address, Group: s.Group, Up: s.Up, Draining: s.Draining, Weight: s.Weight, Connections: s.Connections,
			Offered: s.Resumptions.Offered, Accepted: s.Resumptions.Accepted, Mints: s.Mints, Layout: s.Layout, ProbeError: s.ProbeError,
			ForeignMints: s.ForeignMints,
		}
		if n := len(s.Examples); n > 0 {
			ss.LastForeign = s.Examples[n-1].Mark + whoseMark(s.Examples[n-1].Owner)
		}
		out.Servers = append(out.Servers, ss)
	}
	return out
}

func whoseMark(owner string) string {
	if owner == "" {
		return ""
	}
	return ", which is of " + owner
}

// listenerConfig returns what the file says of a listener, and of the scheme of
// a pool; nil if it has no such listener.
func (d *Daemon) listenerConfig(name route.ListenerName) (*config.Listener, map[route.PoolName]config.Scheme) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil {
		return nil, nil
	}
	for i := range d.current.Listeners {
		if d.current.Listeners[i].Name == name {
			return &d.current.Listeners[i], d.current.Schemes
		}
	}
	return nil, nil
}

// listenerAddress is where a listener listens, for people.
func (d *Daemon) listenerAddress(name route.ListenerName) string {
	l, _ := d.listenerConfig(name)
	if l == nil {
		return ""
	}
	var all []string
	for _, a := range l.Listen {
		all = append(all, a.Address)
	}
	return string(l.Protocol) + " " + strings.Join(all, ", ")
}

// Explain implements webui.Source: the decision is that of the snapshot in
// force, with the servers as they are.
func (s *localSource) Explain(listener string, m *explain.Message) *explain.Explanation {
	lc, schemes := s.d.listenerConfig(route.ListenerName(listener))
	snap := s.d.snapshot.Load()
	if lc == nil || snap == nil || snap.Listeners[lc.Name] == nil {
		return nil
	}
	x := &explain.Explanation{Field: idspace.FieldNone.String(), Listener: listener, SNI: m.SNI}
	if m.Datagram != nil && m.Datagram.Refusal != nil {
		x.Unreadable(m.Datagram)
		x.Complete()
		return x
	}
	facts := &route.Facts{Now: time.Now()}
	m.AddTo(facts)
	pool := snap.Listeners[lc.Name].PoolFor([]byte(m.SNI))
	if lc.Protocol == config.ProtocolHTTP {
		pool = snap.Listeners[lc.Name].PoolForHTTP(m.Host, m.Path)
	}
	if pool == nil {
		x.NoRoute()
	} else {
		scheme := schemes[pool.Config.Name]
		x.Decide(pool, explain.Scheme{Kind: scheme.Kind, QUICLB: scheme.QUICLB}, m, facts)
	}
	x.Complete()
	return x
}
