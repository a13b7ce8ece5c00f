package l4

import (
	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/reactor"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// refuse ends a connection that is not forwarded.
func (c *loopConn) refuse(cause route.Cause) {
	c.cause, c.how = cause, endRefused
	c.proxy.metrics.Refused(string(cause))
	if !c.settings.TLS {
		c.reset(client) // nothing more polite is known to every protocol over TCP
		c.leave()
		return
	}
	c.sendAlert()
	if !lingers(cause) {
		c.leave()
		return
	}
	c.releaseOpening()
	c.phase = lingering
	c.shard.loop.SetTimer(c.slot, lingerTime)
	if s := &c.socks[client]; !s.watched {
		s.readable = true
		c.watch(client, reading)
	}
	c.linger()
}

// sendAlert sends the alert, if there is one, and the end of the stream.
func (c *loopConn) sendAlert() {
	fd := int(c.socks[client].fd)
	if description, ok := c.alert(); ok {
		// Nothing was sent before, so it fits into the socket; if the client
		// has gone it does not matter.
		var record [8]byte
		_, _ = reactor.Send(fd, tlshello.AppendAlert(record[:0], description), true)
	}
	_ = reactor.Shutdown(fd)
}

// linger reads on until the client ends its stream: closing a socket with
// bytes unread resets the connection, and the reset can overtake the alert.
func (c *loopConn) linger() {
	s, f := &c.socks[client], &c.flows[client]
	b := c.shard.loop.Scratch()
	for s.readable {
		n, errno := reactor.Recv(int(s.fd), b)
		if errno == unix.EAGAIN {
			s.readable = false
			return
		}
		f.end += int32(n) // counts: nothing else needs it any more
		if n == 0 || f.end > lingerBytes {
			f.end = 0
			c.leave()
			return
		}
	}
}

// turnAway refuses a connection for which there is no room. It does not wait.
func (c *loopConn) turnAway() {
	c.cause, c.how = CauseMaxConnections, endRefused
	c.proxy.metrics.Refused(string(CauseMaxConnections))
	if c.settings.TLS {
		c.sendAlert()
		_, _ = reactor.Recv(int(c.socks[client].fd), c.shard.loop.Scratch()) // unread, it would make of the close a reset
	}
	c.leave()
}
