package l4

import (
	"time"

	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// Causes for which this package refuses a connection, besides those of
// tlshello and of package route. They label mintmark_refused_total.
const (
	// CauseHelloTimeout: the PROXY header and the hello were not complete in
	// time.
	CauseHelloTimeout route.Cause = "hello_timeout"
	// CauseClientClosed: the client went away before it had said enough.
	CauseClientClosed route.Cause = "client_closed"
	// CauseHelloBudget: unfinished hellos hold all the memory that they may.
	CauseHelloBudget route.Cause = "hello_budget"
	// CauseMaxConnections: the listener is at its limit.
	CauseMaxConnections route.Cause = "max_connections"
	// CauseProxyHeader: a peer that must send a PROXY header sent none, or a
	// wrong one.
	CauseProxyHeader route.Cause = "proxy_header"
	// CauseConnectFailed: no server that the connection may go to could be
	// connected to.
	CauseConnectFailed route.Cause = "connect_failed"
	// CauseShutdown: the drain ended before the connection was forwarded.
	CauseShutdown route.Cause = "shutdown"
	// CausePanic: a fault in this program, before the connection was
	// forwarded.
	CausePanic route.Cause = "panic"
)

// alert returns what to tell a TLS client that is refused (RFC 8446, 6), and
// false when it would not understand.
func (r *record) alert() (description byte, ok bool) {
	if r.refusal != nil {
		return r.refusal.Alert, r.refusal.Alert != 0
	}
	switch r.cause {
	case CauseClientClosed, CauseShutdown:
		return 0, false
	case CauseProxyHeader:
		return tlshello.AlertDecodeError, true
	case route.CauseNoRoute:
		return tlshello.AlertUnrecognizedName, true // RFC 6066, 3
	case CauseHelloTimeout, route.CauseUnknownID, route.CauseNoID, route.CauseEarlyData:
		return tlshello.AlertHandshakeFailure, true // what the client offers cannot be accepted
	default:
		return tlshello.AlertInternalError, true // it is not the client's fault; it may try again
	}
}

// lingers reports whether the client may still be sending when it is refused.
// Closing a socket with bytes unread resets the connection, and the reset can
// overtake the alert.
func lingers(cause route.Cause) bool {
	switch cause {
	case CauseHelloTimeout, CauseClientClosed, CauseShutdown:
		return false
	default:
		return true
	}
}

// How long, and for how many bytes, a refused connection is read on so that
// its client sees the alert. A client can hold a refused connection for that
// long.
const (
	lingerTime  = time.Second
	lingerBytes = 128 << 10 // twice what a hello may have
)

// refuse ends a connection that is not forwarded.
func (c *conn) refuse(cause route.Cause) {
	c.cause = cause
	if !c.how.CompareAndSwap(uint32(endNone), uint32(endRefused)) {
		return // cut meanwhile: the socket is gone
	}
	c.proxy.metrics.Refused(string(cause))
	if !c.settings.TLS {
		c.from.reset() // nothing more polite is known to every protocol over TCP
		return
	}
	c.sendAlert()
	if lingers(cause) {
		c.linger()
	}
}

// sendAlert sends the alert, if there is one, and the end of the stream.
func (c *conn) sendAlert() {
	nc := c.from.conn
	if nc.SetWriteDeadline(time.Now().Add(lingerTime)) != nil {
		return // cut
	}
	if description, ok := c.alert(); ok {
		// Nothing was sent before, so it fits into the socket; if the client
		// has gone it does not matter.
		var record [8]byte
		_, _ = nc.Write(tlshello.AppendAlert(record[:0], description))
	}
	c.from.closeWrite()
}

// linger reads on until the client ends its stream.
func (c *conn) linger() {
	if c.from.conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return // cut
	}
	b := c.proxy.buffers.get(firstBuffer)
	defer c.proxy.buffers.put(b)
	for n := 0; n < lingerBytes; {
		m, err := c.from.conn.Read(b.b)
		n += m
		if err != nil {
			return
		}
	}
}

// turnAway refuses a connection for which there is no room, in the goroutine
// of Serve: it must not wait.
func (c *conn) turnAway() {
	defer c.leave()
	c.cause = CauseMaxConnections
	c.how.Store(uint32(endRefused))
	c.proxy.metrics.Refused(string(CauseMaxConnections))
	if c.settings.TLS {
		c.sendAlert()
		c.discardArrived()
	}
	c.closeBoth()
}

// discardArrived reads what has arrived by now, so that closing the socket
// does not reset the connection.
func (c *conn) discardArrived() {
	if c.from.raw == nil {
		return
	}
	b := c.proxy.buffers.get(copyBuffer)
	defer c.proxy.buffers.put(b)
	_ = c.from.raw.Control(func(fd uintptr) {
		_, _, _ = sysRead(fd, b.b) // nothing has arrived, or the client is gone
	})
}
