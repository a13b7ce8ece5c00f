package l4

import (
	"sync"

	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// relay forwards until both directions have ended.
func (c *conn) relay() {
	c.forwarded = true
	c.up = flow{src: &c.from, dst: &c.to, total: c.proxy.metrics.BytesIn}
	c.down = flow{src: &c.to, dst: &c.from, total: c.proxy.metrics.BytesOut}
	c.up.buffers, c.down.buffers = &c.proxy.buffers, &c.proxy.buffers
	if c.from.raw != nil && c.to.raw != nil {
		c.up.pipes, c.down.pipes = &c.proxy.pipes, &c.proxy.pipes
	}
	if c.settings.TLS && (len(c.opening.candidates) > 0 || c.settings.watched[c.pool]) {
		c.observe(&c.opening.hello)
	}
	c.idle.watch(c)
	var wg sync.WaitGroup
	wg.Go(c.runDown)
	c.runUp()
	wg.Wait()
	c.idle.stop()
	c.how.CompareAndSwap(uint32(endNone), uint32(endDone))
}

func (c *conn) runUp() {
	defer c.guard()
	err := c.sendOpening()
	if err == nil {
		err = c.up.run()
	}
	c.flowEnded(&c.up, &c.down, err)
}

func (c *conn) runDown() {
	defer c.guard()
	c.flowEnded(&c.down, &c.up, c.down.run())
}

// sendOpening sends the PROXY header and what was read from the client before
// the server was chosen.
func (c *conn) sendOpening() *flowError {
	defer c.releaseOpening()
	if v := c.pool.Config.ProxyProtocol; v != 0 {
		var space [maxProxyOut]byte
		h := proxyHeader{
			version: v, client: c.client, server: c.dialed, id: c.id,
			sni: c.opening.hello.SNI, alpn: c.opening.hello.ALPN,
		}
		if _, err := c.to.conn.Write(h.appendTo(space[:0])); err != nil {
			return &flowError{dst: true, err: err}
		}
	}
	return c.up.send(c.opening.intake.bytes())
}

// observe lets an observer watch the server's first flight.
func (c *conn) observe(h *tlshello.Hello) {
	o, ok := c.proxy.observers.Get().(*tlshello.Observer)
	if !ok {
		o = new(tlshello.Observer) // alloc: kept for the next
	}
	if c.settings.watched[c.pool] {
		c.remember()
		o.StartMints(h)
	} else {
		o.Start(h)
	}
	c.observer = o
	c.down.watch = func(b []byte) bool { // alloc: one for a connection with an ID
		if !o.Feed(b) {
			return false
		}
		c.observed()
		return true
	}
}

// observed takes down what the observer has found out, and lets it go. Only
// for an ID that chose the server it is counted: that another server declines
// it says nothing about the routing.
func (c *conn) observed() {
	o := c.observer
	if o == nil {
		return
	}
	c.observer = nil
	c.outcome = o.Outcome()
	if c.settings.watched[c.pool] {
		c.testify(o)
	}
	c.proxy.observers.Put(o)
	switch c.outcome {
	case tlshello.OutcomeAccepted, tlshello.OutcomeDeclined:
	default:
		return
	}
	switch by := c.decision.RoutedBy; by {
	case route.ByMint, route.ByGroup, route.ByLearned:
		c.poolMetrics.Resumed(c.decision.Server, by, c.outcome == tlshello.OutcomeAccepted)
	default:
	}
}

// flowEnded passes on the end of f, and ends the connection when there is
// nothing more to come.
//
// When dst cannot be written to, it is dead, but what it sent before may still
// wait in the kernel: the other flow takes it, and then finds the same end.
func (c *conn) flowEnded(f, other *flow, err *flowError) {
	if f == &c.down {
		c.observed()
	}
	if err == nil && c.how.Load() == uint32(endNone) {
		f.ended.Store(true)
		f.dst.closeWrite()
		if c.finished.Add(1) == 2 {
			c.closeBoth()
			return
		}
		// Nobody reads from src any more, so a reset would go unseen.
		if f.src.awaitReset(other.ended.Load) == nil {
			return
		}
		err = &flowError{err: errReset}
	}
	how := endClientReset
	if err != nil {
		if (err.dst && f.dst == &c.to) || (!err.dst && f.src == &c.to) {
			how = endServerReset
		}
		c.how.CompareAndSwap(uint32(endNone), uint32(how))
		if err.dst && c.finished.Add(1) < 2 {
			return
		}
	}
	c.from.flush(lingerTime)
	c.to.flush(lingerTime)
	c.abort(how)
}
