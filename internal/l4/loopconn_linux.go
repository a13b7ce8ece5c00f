package l4

import (
	"io"
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
	alive      bool // the sockets have keep-alives

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
	urgent   bool // the peer has sent urgent data, before which a read ends
	complete bool // all that the peer has ever sent is here: a read that is not full is the last
	prompt   bool // the kernel does not wait to fill packets (TCP_NODELAY)
	wrote    bool
}

// reading is what a socket that is read from is watched for.
const reading = reactor.Readable | reactor.PeerDone | reactor.Urgent

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
		c.watch(client, reading)
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
	return c.takeHello(c.opening, c.shard.loop.Time())
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
	if ev&reactor.Urgent != 0 {
		s.urgent = true
	}
	// After a reset the end looks the same, and the next read tells.
	s.complete = s.tcp && s.peerDone && !s.urgent && ev&(reactor.Gone|reactor.Failed) == 0
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
	c.proxy.metrics.Active.Add(c.stripe, -1)
	c.shard.leave(c)
}
