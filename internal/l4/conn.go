package l4

import (
	"encoding/binary"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
)

// A connID names a connection in the access log and towards servers. It means
// nothing; it is unique among the replicas of a balancer and its restarts.
type connID struct {
	epoch  [8]byte // random, of the Proxy
	serial uint64
}

func (id connID) bytes() (b [16]byte) {
	copy(b[:], id.epoch[:])
	binary.BigEndian.PutUint64(b[8:], id.serial)
	return b
}

// A conn is one connection of the portable engine, from when it was accepted
// until it is forgotten.
type conn struct {
	next, prev *conn // guarded by the registry

	// Owned by the connection's goroutine, but for the observer and what it
	// finds out, which are down's until that has ended.
	record
	peer, local netip.AddrPort // as the sockets say
	opening     *opening       // nil once forwarding has begun

	from, to endpoint // client and server
	up, down flow     // client to server, server to client
	idle     idleWatch
	finished atomic.Int32 // flows that have ended, and did not end the connection

	// how says how the connection ended. The first to know sets it.
	how atomic.Uint32

	// mu guards what abort needs from another goroutine: whether the
	// connection was cut, and which sockets to close.
	mu      sync.Mutex
	cut     bool
	sockets [2]*endpoint
}

// An end says how a connection that was accepted has ended.
type end uint32

// The ends. Their names label mintmark_connections_ended_total and stand in
// the access log.
const (
	endNone        end = iota
	endDone            // both sides ended their streams
	endRefused         // never forwarded; the cause says why
	endClientReset     // the client reset, or could no longer be written to
	endServerReset     // the server did
	endIdle            // no byte for the idle timeout
	endShutdown        // cut at the end of a drain
	endPanic           // a fault in this program
)

func (e end) String() string {
	return [...]string{"none", "done", "refused", "client_reset", "server_reset", "idle_timeout", "shutdown", "panic"}[e]
}

func newConn(p *Proxy, st *settings, nc net.Conn) *conn {
	c := &conn{from: newEndpoint(nc)}
	c.peer, c.local = c.from.addrs()
	c.record = newRecord(p, st, p.serial.Add(1), time.Now(), c.peer, 0)
	c.stripe = metrics.Stripe(c.serial) // goroutines move between processors: spread them
	c.sockets[0] = &c.from
	return c
}

// serve is the connection's goroutine.
func (c *conn) serve() {
	defer c.leave()
	defer c.guard()
	defer c.releaseOpening()
	c.opening = c.proxy.openings.get(&c.record)
	if cause := c.open(); cause != "" {
		c.refuse(cause)
	} else {
		c.relay()
	}
	c.closeBoth()
}

// releaseOpening gives back what was needed until now; the hello is gone then.
func (c *conn) releaseOpening() {
	if c.opening != nil {
		c.opening.release()
		c.opening = nil
	}
}

// leave forgets the connection, after everything else.
func (c *conn) leave() {
	c.finish(ending{how: end(c.how.Load()), in: c.up.moved.Load(), out: c.down.moved.Load()})
	c.proxy.metrics.Active.Add(c.stripe, -1)
	c.proxy.conns.leave(c)
}

// guard ends the connection, and nothing else, when its goroutine panics.
func (c *conn) guard() {
	if c.proxy.panics {
		return
	}
	v := recover()
	if v == nil {
		return
	}
	c.panicked(v, debug.Stack())
	c.abort(endPanic)
}

// open does everything until bytes can be forwarded. It returns why they
// cannot.
func (c *conn) open() route.Cause {
	if cause := c.receive(c.opening); cause != "" {
		return cause
	}
	return c.connect(c.opening)
}

// connect finds a pool and a server, and connects to it.
func (c *conn) connect(first *opening) route.Cause {
	if cause := c.choose(first, time.Now()); cause != "" {
		return cause
	}
	cause := c.attempt(first)
	c.decided(first, cause)
	return cause
}

// attempt picks servers until one is connected to. Only connect() is tried
// again, so no server has seen a byte of the client; where a second server
// would be wrong (early data), pick refuses.
func (c *conn) attempt(first *opening) route.Cause {
	for {
		if cause := c.pick(first); cause != "" {
			return cause
		}
		nc, err := c.proxy.dialer.Dial(c.proxy.running, c.server, c.settings.ConnectTimeout)
		if err == nil {
			return c.attach(nc)
		}
		if cause := c.passOver(first, err); cause != "" {
			return cause
		}
	}
}

// attach makes nc the server's side, unless the connection has been cut.
func (c *conn) attach(nc net.Conn) route.Cause {
	c.to = newEndpoint(nc)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		_ = nc.Close() // nothing was sent
		return CauseShutdown
	}
	c.sockets[1] = &c.to
	return ""
}

// abort resets both sides at once, from whatever goroutine. Only the first
// call has an effect, and none after the connection has ended by itself.
func (c *conn) abort(how end) {
	c.how.CompareAndSwap(uint32(endNone), uint32(how))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return
	}
	c.cut = true
	for _, e := range c.sockets {
		if e != nil {
			e.reset()
		}
	}
}

// closeBoth closes what is open, politely.
func (c *conn) closeBoth() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for _, e := range c.sockets {
		if e != nil {
			_ = e.conn.Close() // both ends are told already
		}
	}
}
