package l4

import (
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/reactor"
	"github.com/mintmark/mintmark/internal/route"
)

// open chooses a server for what was read, and connects.
func (c *loopConn) open() {
	if cause := c.choose(c.opening, c.shard.loop.Time()); cause != "" {
		c.refuse(cause)
		return
	}
	c.attempt()
}

// attempt picks servers until connecting to one has begun. Only connect() is
// tried again, so no server has seen a byte of the client; where a second
// server would be wrong (early data), pick refuses.
func (c *loopConn) attempt() {
	for {
		cause := c.pick(c.opening)
		if cause != "" {
			c.giveUp(cause)
			return
		}
		to, ok := netip.AddrPort{}, false
		if c.proxy.connector != nil {
			to, ok = c.proxy.connector.Target(c.server)
		}
		if !ok {
			c.dial()
			return
		}
		c.since = c.shard.loop.Now()
		fd, errno := c.shard.loop.Connect(to, c.speaksFirst())
		if errno == reactor.OK || errno == unix.EINPROGRESS {
			c.socks[server] = socket{fd: int32(fd), tcp: true}
			c.connecting(to, errno == reactor.OK)
			return
		}
		if !c.nextServer(reactor.Err(errno)) {
			return
		}
	}
}

// nextServer takes down that the server cannot be connected to, and returns
// whether another may be tried. If not, the connection has been refused.
func (c *loopConn) nextServer(err error) bool {
	c.report(err)
	return c.mayTryNext(err)
}

// report tells the connector how connecting went.
func (c *loopConn) report(err error) {
	c.proxy.connector.Connected(c.server, c.shard.number, c.shard.loop.Now()-c.since, err)
}

func (c *loopConn) mayTryNext(err error) bool {
	if cause := c.passOver(c.opening, err); cause != "" {
		c.giveUp(cause)
		return false
	}
	return true
}

// giveUp refuses a connection for which there is no server.
func (c *loopConn) giveUp(cause route.Cause) {
	c.decided(c.opening, cause)
	c.refuse(cause)
}

// connecting has a connect under way. On the same machine it is through as
// soon as it has begun, so that the first bytes can be sent at once.
func (c *loopConn) connecting(to netip.AddrPort, connected bool) {
	c.phase = connecting
	if first := c.firstBytes(); len(first) > 0 && (connected || to.Addr().IsLoopback()) {
		switch n, errno := c.sendFirst(first); errno {
		case reactor.OK:
			c.report(nil)
			c.forward(first, n)
			return
		case unix.EAGAIN:
		default:
			c.connectFailed(reactor.Err(errno))
			return
		}
	}
	c.socks[server].watchOut = true
	c.shard.loop.SetTimer(c.slot, c.settings.ConnectTimeout)
	c.watch(server, reading|reactor.Writable)
}

// connectReady is told of the first events of a socket that connects.
func (c *loopConn) connectReady(ev reactor.Events) {
	s := &c.socks[server]
	if ev&(reactor.Failed|reactor.Gone) != 0 {
		err := error(unix.ECONNRESET)
		if e, _ := unix.GetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_ERROR); e != 0 {
			err = unix.Errno(e)
		}
		c.connectFailed(err)
		return
	}
	c.report(nil)
	c.connected()
}

// connected goes on with a server that has been connected to.
func (c *loopConn) connected() {
	first, n := c.firstBytes(), 0
	if len(first) > 0 {
		n, _ = c.sendFirst(first) // forwarding finds the error again
	}
	c.forward(first, n)
}

func (c *loopConn) connectFailed(err error) {
	c.closeServer()
	if c.nextServer(err) {
		c.attempt()
	}
}

func (c *loopConn) closeServer() {
	reactor.Close(int(c.socks[server].fd))
	c.socks[server] = socket{fd: -1}
}

// dial has a goroutine connect, where that takes more than one connect().
func (c *loopConn) dial() {
	c.phase = dialing
	c.shard.loop.StopTimer(c.slot)
	p, s, loop, timeout := c.proxy, c.server, c.shard.loop, c.settings.ConnectTimeout
	go func() {
		r := dialFor(p, s, timeout)
		if !loop.Post(func() { c.dialed(r) }) && r.fd >= 0 {
			reactor.Close(r.fd)
		}
	}()
}

// A dialResult is a socket (fd), or why there is none.
type dialResult struct {
	fd    int
	isTCP bool
	err   error
	fault *fault
}

// A fault is a panic that was caught, with its stack.
type fault struct {
	value any
	stack []byte
}

func dialFor(p *Proxy, s *route.Server, timeout time.Duration) (r dialResult) {
	r.fd = -1
	defer func() {
		if p.panics {
			return
		}
		if v := recover(); v != nil {
			r.fault = &fault{v, debug.Stack()}
		}
	}()
	nc, err := p.dialer.Dial(p.running, s, timeout)
	if err != nil {
		r.err = err
		return r
	}
	_, r.isTCP = nc.(*net.TCPConn)
	if r.fd, r.err = reactor.Take(nc); r.err != nil {
		_ = nc.Close() // it cannot be used here
	}
	return r
}

// dialed is where the goroutine comes back.
func (c *loopConn) dialed(r dialResult) {
	defer c.guard()
	switch {
	case c.phase == gone:
		if r.fd >= 0 {
			reactor.Close(r.fd)
		}
		c.leave()
	case r.fault != nil:
		c.phase = receiving // nobody is under way any more
		c.fault(r.fault)
	case r.err != nil:
		if c.mayTryNext(r.err) {
			c.attempt()
		}
	default:
		c.socks[server] = socket{fd: int32(r.fd), tcp: r.isTCP, prompt: true}
		c.connected()
	}
}

// firstBytes returns what the server is sent first: a PROXY header if the pool
// wants one, and what was read from the client. It is valid until the loop's
// scratch memory is used again.
func (c *loopConn) firstBytes() []byte {
	read := c.opening.intake.bytes()
	if c.pool.Config.ProxyProtocol == 0 {
		return read
	}
	b := c.shard.loop.Scratch()[:0]
	b = c.appendProxyHeader(b, c.opening, reactor.LocalAddr(int(c.socks[client].fd)))
	return append(b, read...) // alloc: only for a hello that is larger than the scratch memory
}

// speaksFirst returns whether there are first bytes.
func (c *loopConn) speaksFirst() bool {
	return c.pool.Config.ProxyProtocol != 0 || len(c.opening.intake.bytes()) > 0
}

func (c *loopConn) sendFirst(b []byte) (int, reactor.Errno) {
	s := &c.socks[server]
	s.wrote = true
	return reactor.Send(int(s.fd), b, false)
}
