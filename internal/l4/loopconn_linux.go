package l4

import (
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/reactor"
	"github.com/mintmark/mintmark/internal/route"
)

// The sockets of a loopConn, and the flows that read from them.
const (
	client = 0
	server = 1
)

// A phase of a loopConn's life.
type phase uint8

const (
	left       phase = iota // it is over, and forgotten
	receiving               // the PROXY header and the hello
	dialing                 // a goroutine connects to a server
	connecting              // the kernel does
	forwarding
	flushing  // it broke; what the kernel has is sent before the reset
	lingering // it was refused; the client is to see the alert
	gone      // cut while dialing: it leaves when the goroutine is back
)

// A loopConn is one connection of the Linux engine. It is as small as it can
// be, because there is one for each idle connection: buffers, pipes and the
// opening are there only while they are needed. It is its loop's alone.
type loopConn struct {
	record
	shard      *shard
	next, prev *loopConn // of the shard
	slot       reactor.Slot
	phase      phase
	how        end  // how it ended
	wantHeader bool // a PROXY header must come
	waits      bool // for its turn
	alive      bool // the server's socket has keep-alives

	socks   [2]socket
	flows   [2]loopFlow
	opening *opening // nil while nothing has come, and when forwarding

	// What the idle timeout, and flushing, have last seen, and when. While
	// connecting, when that began.
	seen  progress
	since time.Duration
}

// A socket is one of the two, and what is known of it.
type socket struct {
	fd       int32 // -1: none
	tcp      bool
	watched  bool // the loop watches it,
	watchOut bool // also for room to write
	readable bool // there may be something to read
	writable bool // there may be room to write
	peerDone bool // the peer's stream has ended: reading goes on to the end
	broken   bool // the connection is over (EPOLLHUP)
	prompt   bool // the kernel does not wait to fill packets (TCP_NODELAY)
	wrote    bool
}

// begin reads what is to be read before a server is chosen.
func (c *loopConn) begin() {
	c.wantHeader = c.settings.trusts(c.client.Addr())
	if !c.wantHeader && !c.settings.TLS {
		c.takeOpening()
		c.open()
		return
	}
	// On deferred accept the hello is there already.
	c.receive()
	if c.phase == receiving {
		c.shard.loop.SetTimer(c.slot, c.settings.HelloTimeout)
		c.watch(client, reactor.Readable|reactor.PeerDone)
	}
}

func (c *loopConn) takeOpening() {
	if c.opening == nil {
		c.opening = c.proxy.openings.get(&c.record)
	}
}

func (c *loopConn) releaseOpening() {
	if c.opening != nil {
		c.opening.release()
		c.opening = nil
	}
}

// receive reads on. When the header and the hello are there it goes on to
// connect.
func (c *loopConn) receive() {
	c.takeOpening()
	in := &c.opening.intake
	for {
		if done, cause := c.understand(); done {
			if cause != "" {
				c.refuse(cause)
				return
			}
			c.open()
			return
		}
		if !c.socks[client].readable {
			break
		}
		if cause := c.receiveMore(in); cause != "" {
			c.refuse(cause)
			return
		}
	}
	if in.buf == nil {
		c.releaseOpening()
	}
}

// understand reads from what has arrived. done is false when more is needed.
func (c *loopConn) understand() (done bool, cause route.Cause) {
	if c.wantHeader {
		if len(c.opening.intake.bytes()) == 0 {
			return false, ""
		}
		if done, cause := c.takeProxyHeader(c.opening); !done || cause != "" {
			return done, cause
		}
		c.wantHeader = false
		if !c.settings.TLS {
			return true, ""
		}
	}
	return c.takeHello(c.opening)
}

func (c *loopConn) receiveMore(in *intake) route.Cause {
	s := &c.socks[client]
	n, room, errno, err := in.receive(int(s.fd))
	switch {
	case err != nil:
		return c.whyNoMore(err)
	case errno == unix.EAGAIN:
		s.readable = false
	case errno != reactor.OK:
		return c.whyNoMore(errno)
	case n == 0:
		return c.whyNoMore(io.EOF)
	case n < room && !s.peerDone && s.watched:
		s.readable = false
		if in.buf != nil {
			if err := in.fit(); err != nil { // it may have to wait
				return c.whyNoMore(err)
			}
		}
	}
	return ""
}

// open chooses a server for what was read, and connects.
func (c *loopConn) open() {
	if cause := c.choose(c.opening); cause != "" {
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
		fd, errno := reactor.Connect(to)
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
	c.proxy.connector.Connected(c.server, c.shard.loop.Now()-c.since, err)
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
	c.watch(server, reactor.Readable|reactor.Writable|reactor.PeerDone)
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

func (c *loopConn) sendFirst(b []byte) (int, reactor.Errno) {
	s := &c.socks[server]
	s.wrote = true
	return reactor.Send(int(s.fd), b, false)
}

// Ready implements reactor.Handler.
func (c *loopConn) Ready(which int, ev reactor.Events) {
	defer c.guard()
	s := &c.socks[which]
	if ev&(reactor.Readable|reactor.PeerDone|reactor.Gone|reactor.Failed) != 0 {
		s.readable = true
	}
	if ev&(reactor.Writable|reactor.Gone|reactor.Failed) != 0 {
		s.writable = true
	}
	if ev&(reactor.PeerDone|reactor.Gone|reactor.Failed) != 0 {
		s.peerDone = true
	}
	if ev&reactor.Gone != 0 {
		s.broken = true
	}
	switch c.phase {
	case receiving:
		c.receive()
	case connecting:
		if which == server {
			c.connectReady(ev)
		}
	case forwarding:
		c.move(which)
	case lingering:
		c.linger()
	case dialing, flushing, gone, left:
	}
}

// Expired implements reactor.Handler.
func (c *loopConn) Expired() {
	defer c.guard()
	switch c.phase {
	case receiving:
		c.refuse(CauseHelloTimeout)
	case connecting:
		c.connectFailed(os.ErrDeadlineExceeded)
	case forwarding:
		c.look()
	case flushing:
		c.flush()
	case lingering:
		c.leave()
	case dialing, gone, left:
	}
}

// Turn implements reactor.Handler.
func (c *loopConn) Turn() {
	defer c.guard()
	if c.phase == forwarding {
		c.waits = false
		c.move(client)
	}
}

// guard ends the connection, and nothing else, when a handler panics.
func (c *loopConn) guard() {
	if c.phase != left && c.proxy.panics {
		return
	}
	if v := recover(); v != nil {
		if c.phase == left {
			panic(v) // nobody to blame it on
		}
		c.fault(&fault{v, debug.Stack()})
	}
}

func (c *loopConn) fault(f *fault) {
	c.panicked(f.value, f.stack)
	c.abort(endPanic)
}

// watch begins to watch a socket, or to watch it for something else.
func (c *loopConn) watch(which int, ev reactor.Events) {
	s := &c.socks[which]
	f := c.shard.loop.Watch
	if s.watched {
		f = c.shard.loop.Rewatch
	}
	s.watched = true
	if errno := f(c.slot, which, int(s.fd), ev); errno != reactor.OK {
		c.proxy.log.Error("watching a socket", "error", reactor.Err(errno)) // out of memory: the timers end it
	}
}

// abort resets both sides at once.
func (c *loopConn) abort(how end) {
	if c.phase == gone || c.phase == left {
		return
	}
	if c.how == endNone {
		c.how = how
	}
	for i := range c.socks {
		c.reset(i)
	}
	if c.phase == dialing {
		c.phase = gone
		return
	}
	c.leave()
}

// reset closes a socket so that the peer sees a reset, not an end of stream.
func (c *loopConn) reset(which int) {
	s := &c.socks[which]
	if s.fd < 0 {
		return
	}
	if s.tcp {
		_ = unix.SetsockoptLinger(int(s.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // Close then resets
	}
	reactor.Close(int(s.fd))
	s.fd = -1
}

// leave closes what is open and forgets the connection.
func (c *loopConn) leave() {
	for i := range c.socks {
		if fd := c.socks[i].fd; fd >= 0 {
			reactor.Close(int(fd))
			c.socks[i].fd = -1
		}
		c.drop(&c.flows[i])
		c.count(i)
	}
	c.releaseOpening()
	c.observed()
	c.finish(ending{how: c.how, in: c.flows[client].moved, out: c.flows[server].moved})
	c.proxy.metrics.Active.Add(-1)
	c.shard.leave(c)
}
