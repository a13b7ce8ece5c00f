package l4

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/reactor"
)

// loops is the Linux engine of a Proxy: its connections live on event loops,
// each on one of them from the beginning to the end.
type loops struct {
	proxy  *Proxy
	group  *reactor.Group
	shards []*shard

	largePipes pipePool // for flows whose other side takes much at once

	mu        sync.Mutex
	listeners map[int]bool // sockets that are accepted from
}

// A shard is what a Proxy has on one loop. It is the loop's alone.
type shard struct {
	loops  *loops
	proxy  *Proxy
	loop   *reactor.Loop
	number int // of the loop

	first *loopConn // all connections, linked
	n     int
	free  []*loopConn // for the next connections

	lastSerial uint64 // a multiple of serialBlock: its block is used up

	drained func() // is called once n is 0; nil: not draining
	over    bool   // it was called: nobody waits for new connections
}

// maxFreeConns is how many structures of connections that have ended a shard
// keeps.
const maxFreeConns = 1024

// newLoops returns nil when there are no loops to work on.
func newLoops(p *Proxy, g *reactor.Group) *loops {
	if g == nil {
		return nil
	}
	e := &loops{proxy: p, group: g, listeners: make(map[int]bool), largePipes: pipePool{size: largePipeSize, limit: maxLargePipes}}
	for i, l := range g.Loops() {
		e.shards = append(e.shards, &shard{loops: e, proxy: p, loop: l, number: i})
	}
	return e
}

// serve accepts from ln if it is a socket that loops can accept from. ok is
// false if not.
func (e *loops) serve(ctx context.Context, ln net.Listener) (ok bool, err error) {
	if e == nil {
		return false, nil
	}
	l, ok := ln.(*reactor.Listener)
	if !ok {
		return false, nil
	}
	p := e.proxy
	isTCP := l.Addr().Network() == "tcp"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.accepting, cancel)() //nolint:contextcheck // the Proxy's own end, not the caller's
	return true, e.group.Accept(ctx, l, reactor.Intake{
		Opened: e.listens,
		Accepted: func(loop, fd int, peer netip.AddrPort) {
			e.shards[loop].accepted(fd, peer, isTCP)
		},
		Failed: func(err error, tries int) (time.Duration, bool) {
			if !passing(err) {
				return 0, false
			}
			p.metrics.AcceptErrors.Inc()
			if tries == 0 {
				p.log.Warn("accepting connections, will try again", "address", l.Addr().String(), "error", err)
			}
			return min(minAcceptWait<<min(tries, 16), maxAcceptWait), true
		},
	})
}

// listens is told when a socket begins and ends to be accepted from.
func (e *loops) listens(fd int, open bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !open {
		delete(e.listeners, fd)
		keepAlive(fd, true) // for whoever accepts from it next
		return
	}
	e.listeners[fd] = true
	// Connections inherit both. On a unix socket they fail, and are not needed.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	keepAlive(fd, false) // a timer for each connection; look starts those of long ones
	e.deferAccept(fd)
}

// updated is told when the settings have changed.
func (e *loops) updated() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for fd := range e.listeners {
		e.deferAccept(fd)
	}
}

// deferAccept has the kernel wait for the hello before it hands on a
// connection, where clients speak first: one event less. Those that say
// nothing for a second come without.
func (e *loops) deferAccept(fd int) {
	seconds := 0
	if e.proxy.settings.Load().TLS {
		seconds = 1
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds) // fails on a unix socket
}

// adopt gives a connection that was accepted elsewhere to a loop, and returns
// false when there are no loops.
func (e *loops) adopt(nc net.Conn) bool {
	if e == nil {
		return false
	}
	_, isTCP := nc.(*net.TCPConn)
	fd, err := reactor.Take(nc)
	if err != nil {
		e.proxy.log.Warn("taking over a connection", "error", err)
		_ = nc.Close() // it cannot be served
		return true
	}
	s := e.shards[e.group.Next()]
	if !s.loop.Post(func() { s.accepted(fd, reactor.PeerAddr(fd), isTCP) }) {
		reactor.Close(fd)
	}
	return true
}

// drain is Drain: see there.
func (e *loops) drain(ctx context.Context) (cut int) {
	p := e.proxy
	defer e.largePipes.close()
	var ended sync.WaitGroup
	for _, s := range e.shards {
		ended.Add(1)
		if !s.loop.Post(func() { s.drain(ended.Done) }) {
			ended.Done()
		}
	}
	all := make(chan struct{})
	go func() { ended.Wait(); close(all) }()
	select {
	case <-all:
	case <-ctx.Done():
		counts := make(chan int, len(e.shards))
		for _, s := range e.shards {
			if !s.loop.Post(func() { counts <- s.cut() }) {
				counts <- 0
			}
		}
		for range e.shards {
			cut += <-counts
		}
		p.cut() // dials end; before, their connections would have refused politely
		<-all
	}
	return cut
}

func (s *shard) drain(done func()) {
	if s.drained != nil { // somebody else drains too
		before := s.drained
		if s.over {
			done()
			return
		}
		s.drained = func() { before(); done() }
		return
	}
	s.drained = done
	s.left()
}

// left is called when there is a connection less.
func (s *shard) left() {
	if s.n == 0 && s.drained != nil && !s.over {
		s.over = true
		s.drained()
	}
}

// cut resets all connections and returns how many there were.
func (s *shard) cut() int {
	n := s.n
	for c := s.first; c != nil; {
		next := c.next
		c.abort(endShutdown)
		c = next
	}
	return n
}

// accepted begins a connection.
func (s *shard) accepted(fd int, peer netip.AddrPort, isTCP bool) {
	p := s.proxy
	p.metrics.Accepted.Inc(metrics.Stripe(s.number))
	if s.over {
		reactor.Close(fd) // the drain is over; nobody waits for this one
		return
	}
	st := p.settings.Load()
	c := s.newConn(st, fd, peer, isTCP)
	p.metrics.Active.Add(c.stripe, 1)
	defer c.guard()
	if st.MaxConnections > 0 && p.metrics.Active.Load() > int64(st.MaxConnections) {
		c.turnAway()
		return
	}
	c.begin()
}

func (s *shard) newConn(st *settings, fd int, peer netip.AddrPort, isTCP bool) *loopConn {
	var c *loopConn
	if n := len(s.free); n > 0 {
		c = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		c = new(loopConn) // alloc: kept for the next
	}
	*c = loopConn{shard: s, phase: receiving, record: newRecord(s.proxy, st, s.serial(), s.loop.Time(), peer, metrics.Stripe(s.number))}
	c.socks[client] = socket{fd: int32(fd), tcp: isTCP, readable: true, writable: true, prompt: true}
	c.socks[server].fd = -1
	c.slot = s.loop.Register(c)
	c.next = s.first
	if s.first != nil {
		s.first.prev = c
	}
	s.first = c
	s.n++
	return c
}

// serialBlock is how many serial numbers a shard takes at once.
const serialBlock = 1024

// serial returns a number that no other connection of the Proxy has.
func (s *shard) serial() uint64 {
	if s.lastSerial%serialBlock == 0 {
		s.lastSerial = s.proxy.serial.Add(serialBlock) - serialBlock
	}
	s.lastSerial++
	return s.lastSerial
}

// leave forgets a connection.
func (s *shard) leave(c *loopConn) {
	s.loop.Forget(c.slot)
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	s.n--
	*c = loopConn{}
	if len(s.free) < maxFreeConns {
		s.free = append(s.free, c)
	}
	s.left()
}
