package daemon

import (
	"context"
	"fmt"
	"maps"

	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/dgram"
	"github.com/mintmark/mintmark/internal/dgram/engine"
	"github.com/mintmark/mintmark/internal/route"
)

// A datagramListener is a listener for datagrams: a proxy and the addresses that it
// serves. Daemon.mu guards it.
type datagramListener struct {
	name   route.ListenerName
	config *config.Listener
	proxy  *engine.Proxy
	open   map[string]*datagramSockets // by address
}

// datagramSockets are those of one address. They go with the workers that serve them.
type datagramSockets struct {
	stop context.CancelFunc
	done chan struct{} // closed when nothing is served any more
}

func (s *datagramSockets) close() {
	s.stop()
	<-s.done
}

// close ends the listener for good.
func (l *datagramListener) close() {
	for address, s := range l.open {
		s.close()
		delete(l.open, address)
	}
}

// A datagramChange is the part of a change that is about datagrams.
type datagramChange struct {
	settings map[route.ListenerName]*engine.Settings
	opened   map[string]*engine.Sockets // by address; not served yet
}

func (c *datagramChange) discard() {
	for _, s := range c.opened {
		s.Close()
	}
}

// prepareDatagrams checks the settings of all listeners for datagrams and opens the
// addresses that are new. A listener that another one takes an address from lets go
// of it only in commit, so both are bound for a moment.
func (d *Daemon) prepareDatagrams(ctx context.Context, c *change) error {
	c.datagrams = datagramChange{settings: map[route.ListenerName]*engine.Settings{}, opened: map[string]*engine.Sockets{}}
	taken := map[string]bool{}
	for _, l := range d.datagrams {
		for address := range l.open {
			taken[address] = true
		}
	}
	for i := range c.cfg.Listeners {
		lc := &c.cfg.Listeners[i]
		if !lc.Protocol.Datagrams() {
			continue
		}
		s, err := datagramSettings(lc, c.snapshot)
		if err != nil {
			return err
		}
		c.datagrams.settings[lc.Name] = s
		for _, a := range lc.Listen {
			if l := d.datagrams[lc.Name]; l != nil && l.open[a.Address] != nil {
				continue
			}
			sockets, err := engine.Listen(ctx, a.Address, engine.ListenOptions{
				Whole: lc.Protocol == config.ProtocolQUIC, Join: taken[a.Address],
			})
			if err != nil {
				return fmt.Errorf("opening listener %s: %w", lc.Name, err)
			}
			c.datagrams.opened[a.Address] = sockets
		}
	}
	return nil
}

// ReaderConfig returns how the datagrams of a listener are read.
func ReaderConfig(lc *config.Listener) dgram.ReaderConfig {
	switch lc.Protocol {
	case config.ProtocolQUIC:
		return dgram.ReaderConfig{Protocol: dgram.QUIC}
	case config.ProtocolDTLS:
		return dgram.ReaderConfig{Protocol: dgram.DTLS, IDLength: lc.CIDLength}
	default:
		r := dgram.ReaderConfig{Protocol: dgram.UDP}
		for _, b := range lc.Bytes {
			r.Bytes = append(r.Bytes, dgram.BytesRule{
				Offset: b.Offset, Length: b.Length, When: dgram.Condition{Offset: b.WhenOffset, Equals: b.WhenEquals},
			})
		}
		return r
	}
}

// datagramSettings translates what the file says of a listener.
func datagramSettings(lc *config.Listener, snapshot *route.Snapshot) (*engine.Settings, error) {
	s := &engine.Settings{
		Listener:    snapshot.Listeners[lc.Name],
		Reader:      ReaderConfig(lc),
		Significant: lc.Significant,
		MaxFlows:    lc.MaxConnections,
		Idle:        lc.IdleTimeout,
	}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("preparing listener %s: %w", lc.Name, err)
	}
	return s, nil
}

// commitDatagrams swaps the listeners for datagrams. Flows of those that stay stay.
func (d *Daemon) commitDatagrams(ctx context.Context, c *change) {
	before := d.datagrams
	d.datagrams = make(map[route.ListenerName]*datagramListener)
	for i := range c.cfg.Listeners {
		lc := &c.cfg.Listeners[i]
		settings := c.datagrams.settings[lc.Name]
		if settings == nil {
			continue
		}
		l := before[lc.Name]
		if l == nil {
			l = &datagramListener{name: lc.Name, open: map[string]*datagramSockets{}}
			l.proxy = engine.New(engine.Config{Logger: d.log, Metrics: d.metrics, Portable: lc.Engine == "portable"}, settings)
		} else {
			l.proxy.Update(settings)
		}
		l.config = lc
		d.datagrams[lc.Name] = l
		for _, a := range lc.Listen {
			if sockets := c.datagrams.opened[a.Address]; sockets != nil {
				l.open[a.Address] = d.serveDatagrams(ctx, l, sockets)
			}
		}
	}
	d.letGoDatagrams(before)
}

// serveDatagrams starts the workers of an address.
func (d *Daemon) serveDatagrams(ctx context.Context, l *datagramListener, sockets *engine.Sockets) *datagramSockets {
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &datagramSockets{stop: stop, done: make(chan struct{})}
	d.draining.Go(func() {
		defer close(s.done)
		if err := l.proxy.Serve(run, sockets); err != nil {
			d.fail(err)
		}
	})
	return s
}

// letGoDatagrams closes what the configuration no longer has. There is nothing to
// wait for: what comes to the address from now on is not for this balancer.
func (d *Daemon) letGoDatagrams(before map[route.ListenerName]*datagramListener) {
	for name, l := range before {
		now := d.datagrams[name]
		if now == nil {
			l.close()
			continue
		}
		want := map[string]bool{}
		for _, a := range now.config.Listen {
			want[a.Address] = true
		}
		for address, s := range l.open {
			if !want[address] {
				s.close()
				delete(l.open, address)
			}
		}
	}
}

// updateDatagrams gives the listeners a snapshot of the same configuration.
func (d *Daemon) updateDatagrams(snapshot *route.Snapshot) {
	for name, l := range d.datagrams {
		s, err := datagramSettings(l.config, snapshot)
		if err != nil {
			d.log.Error("using a new snapshot, the one before stays", "listener", name, "error", err)
			continue
		}
		l.proxy.Update(s)
	}
}

// retireDatagrams serves on until the traffic has gone elsewhere, or the shutdown
// cuts it. The caller holds mu.
func (d *Daemon) retireDatagrams() {
	listeners := maps.Clone(d.datagrams)
	clear(d.datagrams)
	for _, l := range listeners {
		d.draining.Go(func() {
			d.cut.Add(int64(l.proxy.Drain(d.drainCtx)))
			l.close()
		})
	}
}
