package engine

// Hot: decide runs for every datagram.

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/mintmark/mintmark/internal/dgram"
	"github.com/mintmark/mintmark/internal/route"
)

// Causes for which a datagram is refused, besides those of the packages that read
// and decide.
const (
	// causeUnresolved is a server whose name has no address yet.
	causeUnresolved route.Cause = "unresolved"
	// causeNoSocket is a flow for which the system gave no socket: there are no
	// descriptors or no ports left, or no way to the server.
	causeNoSocket route.Cause = "no_socket"
)

// A core is what workers of every kind have: the settings made ready for one, its
// flows, and its counts. One goroutine at a time may use it.
type core struct {
	proxy   *Proxy
	share   int // one of how many workers of the address
	set     *Settings
	decider *dgram.Decider
	flows   *dgram.Flows
	message dgram.Message
	tally   tally

	last remembered
}

// A remembered is the datagram that was decided on last, in the same batch.
type remembered struct {
	valid   bool
	tuple   dgram.Tuple
	id      []byte // as much as tells owners apart
	verdict dgram.Verdict
}

// batch begins a batch: what was decided holds as long as the clock stands still.
func (c *core) batch() { c.last.valid = false }

func newCore(p *Proxy, share int) (*core, error) {
	c := &core{proxy: p, share: share, set: p.settings.Load()}
	var err error
	if c.flows, err = dgram.NewFlows(c.set.limits(share)); err != nil {
		return nil, err
	}
	if c.decider, err = dgram.NewDecider(c.set.Listener.Pool); err != nil {
		return nil, err
	}
	c.tally.pool, c.tally.listener = c.set.pool, p.metrics
	return c, nil
}

// adopt takes new settings, if there are any.
func (c *core) adopt() {
	s := c.proxy.settings.Load()
	if s == c.set {
		return
	}
	decider, err := dgram.NewDecider(s.Listener.Pool)
	if err != nil {
		c.proxy.log.Error("taking new settings, the old ones stay", "error", err) // Check has made one
		return
	}
	c.tally.flush() // to the pool that it was counted for
	c.set, c.decider = s, decider
	c.tally.pool = s.pool
	c.flows.SetLimits(s.limits(c.share))
}

// decide says where a datagram goes. Flow is nil when it goes nowhere.
func (c *core) decide(datagram []byte, tuple *dgram.Tuple, now time.Time) dgram.Verdict {
	if err := c.set.reader.Read(datagram, &c.message); err != nil {
		c.tally.refused(string(dgram.CauseOf(err)))
		return dgram.Verdict{RoutedBy: route.ByRefused}
	}
	significant := c.set.Significant
	if c.set.Reader.Protocol != dgram.QUIC {
		significant = len(c.message.ID) // nothing else is in it
	}
	id := c.message.ID[:min(len(c.message.ID), significant)]
	whole := len(id) > 0 && len(id) == significant
	if l := &c.last; whole && l.valid && c.message.Field == l.verdict.Field && *tuple == l.tuple && bytes.Equal(id, l.id) {
		c.tally.decided(l.verdict.Field, l.verdict.RoutedBy)
		return l.verdict
	}
	v := c.decider.Decide(&c.message, tuple, c.flows, now)
	c.tally.decided(v.Field, v.RoutedBy)
	if v.Flow == nil {
		c.tally.refused(string(v.Cause))
	}
	c.last.valid = whole && v.RoutedBy == route.ByMint
	if c.last.valid {
		c.last.tuple, c.last.id, c.last.verdict = *tuple, id, v
		c.last.verdict.Opened = false
	}
	return v
}

// serverAddr returns where to send what is for s.
func serverAddr(s *route.Server) (netip.AddrPort, bool) {
	if to, ok := s.Literal(); ok {
		return to, true
	}
	if addrs := s.State.Addrs.Load(); addrs != nil && len(*addrs) > 0 {
		return netip.AddrPortFrom((*addrs)[0].Addr(), s.Config.Address.Port), true
	}
	return netip.AddrPort{}, false
}
