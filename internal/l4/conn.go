package l4

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
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

// A conn is one connection that was accepted, from then until it is forgotten.
type conn struct {
	proxy    *Proxy
	settings *settings
	id       connID
	accepted time.Time

	next, prev *conn // guarded by the registry

	// Owned by the connection's goroutine.
	peer, local    netip.AddrPort // as the sockets say
	client, dialed netip.AddrPort // as a trusted peer's PROXY header says, else the same
	sni            string         // for the access log
	pool           *route.Pool
	poolMetrics    *metrics.Pool
	decision       route.Decision  // Server is nil until connected
	cause          route.Cause     // why refused, or decision.Cause
	refusal        *tlshello.Error // what is wrong with the hello; nil: nothing
	opening        *opening        // nil once forwarding has begun
	forwarded      bool
	observer       *tlshello.Observer // owned by down
	outcome        tlshello.Outcome   // owned by down until it has ended
	offered        []route.Candidate  // copies, for the witness; nil in pools that are not watched

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
	c := &conn{
		proxy:    p,
		settings: st,
		id:       connID{p.epoch, p.serial.Add(1)},
		accepted: time.Now(),
		from:     newEndpoint(nc),
	}
	c.peer, c.local = c.from.addrs()
	c.client, c.dialed = c.peer, c.local
	c.sockets[0] = &c.from
	return c
}

// serve is the connection's goroutine.
func (c *conn) serve() {
	defer c.leave()
	defer c.guard()
	defer c.releaseOpening()
	c.opening = c.proxy.openings.get(c)
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
	if s := c.decision.Server; s != nil {
		s.Release()
	}
	c.finish()
	c.proxy.metrics.Active.Add(-1)
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
	c.proxy.metrics.Panics.Inc()
	c.proxy.log.Error("closing a connection because of a fault in this program, please report it",
		"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
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
	c.pool = c.settings.Listener.PoolFor(first.hello.SNI)
	if c.pool == nil {
		return route.CauseNoRoute
	}
	c.poolMetrics = c.settings.pools[c.pool]
	first.consider(c)
	cause := c.attempt(first)
	d := &c.decision
	by := d.RoutedBy
	if cause != "" {
		by = route.ByRefused
	}
	c.poolMetrics.Decided(d.Field, by)
	if n := first.hello.SkippedPSK; n > 0 {
		c.poolMetrics.Skipped(idspace.FieldPSK, n)
	}
	if d.Skipped > 0 {
		c.poolMetrics.Skipped(idspace.FieldSessionID, d.Skipped)
	}
	return cause
}

// attempt picks servers until one is connected to. Only connect() is tried
// again, so no server has seen a byte of the client; where a second server
// would be wrong (early data), Pick refuses.
func (c *conn) attempt(first *opening) route.Cause {
	for range MaxAttempts {
		d := c.pool.Pick(first.candidates, &first.facts)
		c.decision = d
		c.cause = d.Cause
		if d.Server == nil {
			if len(first.facts.Exclude) > 0 {
				return CauseConnectFailed // the reason why there was no better choice
			}
			return d.Cause
		}
		nc, err := c.proxy.dialer.Dial(c.proxy.running, d.Server, c.settings.ConnectTimeout)
		if err == nil {
			return c.attach(nc)
		}
		c.proxy.log.Debug("connecting to a server", "pool", string(c.pool.Config.Name), "server", string(d.Server.Config.Name), "error", err)
		first.facts.Exclude = append(first.facts.Exclude, d.Server)
		c.decision.Server = nil
		d.Server.Release()
		if c.proxy.running.Err() != nil {
			return CauseShutdown
		}
	}
	return CauseConnectFailed
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
