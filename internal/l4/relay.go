package l4

import (
	"sync"
)

// relay forwards until both directions have ended.
func (c *conn) relay() {
	c.forwarded = true
	c.up = flow{src: &c.from, dst: &c.to, total: c.proxy.metrics.BytesIn, stripe: c.stripe}
	c.down = flow{src: &c.to, dst: &c.from, total: c.proxy.metrics.BytesOut, stripe: c.stripe}
	c.up.buffers, c.down.buffers = &c.proxy.buffers, &c.proxy.buffers
	if c.from.raw != nil && c.to.raw != nil {
		c.up.pipes, c.down.pipes = &c.proxy.pipes, &c.proxy.pipes
	}
	if c.watchesAnswer(c.opening) {
		c.observe(c.opening)
		c.down.watch = func(b []byte) bool { // alloc: one for a connection with an ID
			c.show(b)
			return c.observer == nil
		}
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
	if c.pool.Config.ProxyProtocol != 0 {
		var space [maxProxyOut]byte
		if _, err := c.to.conn.Write(c.appendProxyHeader(space[:0], c.opening, c.local)); err != nil {
			return &flowError{dst: true, err: err}
		}
	}
	return c.up.send(c.opening.intake.bytes())
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
