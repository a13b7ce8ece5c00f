package l4

// Hot file: every forwarded byte passes here. Budget: no allocation; for a
// message one read and one write, and for a chunk of bulk data two splices.

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/reactor"
)

// A loopFlow is one direction of a loopConn. As a flow of the portable engine
// does, it reads small and splices when reads fill the buffer. A small message
// goes through the loop's scratch memory; only what the other side does not
// take at once needs a buffer.
type loopFlow struct {
	buf     *buffer // what is held, in memory
	pipe    *pipe   // or in the kernel
	wide    bool    // pipe is a large one
	at, end int32   // what of buf, or (end-at) how much in pipe
	bulk    bool    // splice rather than copy
	eager   bool    // the other side took all of the last pipe at once
	copied  bool    // splicing is impossible
	last    bool    // the stream ends behind what is held
	ended   bool    // it has ended, and the other side was told
	failed  bool    // the other side cannot be written to
	moved   int64   // bytes that the other side has taken
	counted int64   // how much of moved is in the metric
}

// maxRounds is how often a flow reads and writes before others get their turn.
const maxRounds = 4

// forward begins to forward. The server has been sent n of the first bytes.
func (c *loopConn) forward(first []byte, n int) {
	c.decided(c.opening, "")
	c.phase, c.forwarded = forwarding, true
	f := &c.flows[client]
	// The header is ours, and not counted.
	f.moved = int64(n - (len(first) - len(c.opening.intake.bytes())))
	c.hold(f, first[n:])
	if c.watchesAnswer(c.opening) {
		c.observe(c.opening)
	}
	c.releaseOpening()
	c.begins(server)
	c.begins(client)
	c.seen, c.since = progress{}, c.shard.loop.Now()
	c.setLook()
	if c.socks[client].readable || c.socks[server].readable || f.at < f.end {
		c.move(client) // what came while connecting is not said again
	}
}

// begins watches a socket for what forwarding needs.
func (c *loopConn) begins(which int) {
	s := &c.socks[which]
	if s.watched {
		return // and what came is remembered
	}
	s.readable, s.writable, s.peerDone = false, true, false
	ev := reading
	if s.watchOut {
		ev |= reactor.Writable
	}
	c.watch(which, ev)
}

// move moves what can be moved after something has come to a socket.
func (c *loopConn) move(which int) {
	c.pump(which)
	if c.phase == forwarding {
		c.pump(1 - which)
	}
	if c.phase == forwarding {
		c.lookForReset(client)
	}
	if c.phase == forwarding {
		c.lookForReset(server)
	}
}

// pump moves bytes from a socket to the other until there are none, or there
// is no room, or it is somebody else's turn.
func (c *loopConn) pump(from int) {
	f, src, dst := &c.flows[from], &c.socks[from], &c.socks[1-from]
	for range maxRounds {
		if f.failed || f.ended {
			return
		}
		if f.at < f.end {
			if !dst.writable || !c.drain(from) {
				return
			}
			continue
		}
		if f.last {
			c.endOfStream(from)
			return
		}
		if !src.readable {
			return
		}
		if f.bulk && !f.copied && c.observer == nil {
			if !c.splice(from) {
				return
			}
		} else if !c.copy(from) {
			return
		}
	}
	c.again()
}

// copy reads once and writes what it got. It returns false when it cannot go
// on.
func (c *loopConn) copy(from int) bool {
	f, src := &c.flows[from], &c.socks[from]
	b := c.shard.loop.Scratch()[:copyBuffer.bytes()]
	n, errno := reactor.Recv(int(src.fd), b)
	switch {
	case errno == unix.EAGAIN:
		src.readable = false
		return false
	case errno != reactor.OK:
		c.breakOff(from)
		return false
	case n == 0:
		c.endOfStream(from)
		return false
	}
	f.bulk = n == len(b)
	if n < len(b) {
		// The last bytes and the end of the stream go out together.
		switch {
		case !src.peerDone:
			src.readable = false // more would be another event
		case src.complete:
			f.last = true
		default:
			if m, errno := reactor.Recv(int(src.fd), b[n:]); errno == reactor.OK {
				n += m
				f.last = m == 0
			}
		}
	}
	return c.write(from, b[:n])
}

// write writes what was read, and holds what the other side does not take.
func (c *loopConn) write(from int, b []byte) bool {
	f, dst := &c.flows[from], &c.socks[1-from]
	for len(b) > 0 {
		if !dst.writable {
			c.hold(f, b)
			return false
		}
		n, ok := c.send(from, b)
		if !ok {
			return false
		}
		b = b[n:]
	}
	return true
}

// send writes once. It returns false when the other side is gone.
func (c *loopConn) send(from int, b []byte) (int, bool) {
	f, dst := &c.flows[from], &c.socks[1-from]
	if !dst.prompt && dst.wrote && dst.tcp {
		// What follows a small message must not wait for its acknowledgement.
		// The first message does not need this.
		_ = unix.SetsockoptInt(int(dst.fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		dst.prompt = true
	}
	dst.wrote = true
	n, errno := reactor.Send(int(dst.fd), b, f.last)
	if errno == unix.EAGAIN {
		c.noRoom(1 - from)
		return 0, true
	}
	if errno != reactor.OK {
		c.cannotWrite(from)
		return 0, false
	}
	if from == server && c.observer != nil {
		c.show(b[:n])
	}
	c.took(from, n)
	return n, true
}

// took counts bytes that the other side has taken.
func (c *loopConn) took(from, n int) {
	f := &c.flows[from]
	f.moved += int64(n)
	if f.moved-f.counted >= countEvery {
		c.count(from)
	}
}

// count adds what moved since the last time to the metric.
func (c *loopConn) count(from int) {
	f := &c.flows[from]
	total := c.proxy.metrics.BytesIn
	if from == server {
		total = c.proxy.metrics.BytesOut
	}
	if n := f.moved - f.counted; n > 0 {
		total.Add(c.stripe, uint64(n))
	}
	f.counted = f.moved
}

// noRoom takes down that a socket takes nothing now.
func (c *loopConn) noRoom(which int) {
	s := &c.socks[which]
	s.writable = false
	if !s.watchOut {
		// Only sockets that were full once are watched for room: others would
		// have an event of it at the beginning.
		s.watchOut = true
		c.watch(which, reading|reactor.Writable)
	}
}

// hold keeps bytes until there is room for them.
func (c *loopConn) hold(f *loopFlow, b []byte) {
	if len(b) == 0 {
		return
	}
	size := firstBuffer
	for size < fullBuffer && size.bytes() < len(b) {
		size++
	}
	if f.buf = c.proxy.buffers.get(size); len(b) > len(f.buf.b) {
		f.buf.b = make([]byte, len(b)) // alloc: a PROXY header before the largest hello
	}
	f.at, f.end = 0, int32(copy(f.buf.b, b))
}

// drain writes what is held. It returns false when not all was taken.
func (c *loopConn) drain(from int) bool {
	f := &c.flows[from]
	for f.at < f.end {
		var n int
		var ok bool
		if f.pipe != nil {
			n, ok = c.drainPipe(from)
		} else {
			n, ok = c.send(from, f.buf.b[f.at:f.end])
		}
		if !ok {
			return false
		}
		if f.at += int32(n); n == 0 {
			return false
		}
	}
	c.drop(f)
	return true
}

// splice has the kernel move bytes from a socket into a pipe, and from there
// as far as the other takes them.
func (c *loopConn) splice(from int) bool {
	f, src := &c.flows[from], &c.socks[from]
	size := c.takePipe(f)
	if f.pipe == nil {
		f.copied = true // no pipe to be had: copying needs none
		return true
	}
	n, errno := reactor.Splice(int(src.fd), f.pipe.w, size)
	f.at, f.end = 0, int32(n)
	if n == 0 {
		c.drop(f)
	}
	switch {
	case errno == unix.EAGAIN:
		src.readable = false
		return false
	case errno == unix.EINVAL:
		f.copied = true // this kind of socket cannot be spliced
		return true
	case errno != reactor.OK:
		c.breakOff(from)
		return false
	case n == 0:
		c.endOfStream(from)
		return false
	}
	f.bulk = n >= copyBuffer.bytes()
	f.eager = c.drain(from)
	return f.eager
}

// takePipe gives f a pipe, if there is one, and returns how much to put into
// it.
func (c *loopConn) takePipe(f *loopFlow) int {
	if f.eager {
		if f.pipe = c.shard.loops.largePipes.get(); f.pipe != nil {
			f.wide = true
			return largePipeSize
		}
	}
	f.pipe = c.proxy.pipes.get()
	return pipeSize
}

func (c *loopConn) drainPipe(from int) (int, bool) {
	f, dst := &c.flows[from], &c.socks[1-from]
	n, errno := reactor.Splice(f.pipe.r, int(dst.fd), int(f.end-f.at))
	if errno == unix.EAGAIN {
		c.noRoom(1 - from)
		return 0, true
	}
	if errno != reactor.OK {
		c.cannotWrite(from)
		return 0, false
	}
	dst.wrote = true
	c.took(from, n)
	return n, true
}

// drop gives back what holds bytes.
func (c *loopConn) drop(f *loopFlow) {
	if f.buf != nil {
		c.proxy.buffers.put(f.buf)
		f.buf = nil
	}
	if f.pipe != nil {
		pool := &c.proxy.pipes
		if f.wide {
			pool = &c.shard.loops.largePipes
		}
		pool.put(f.pipe, int(f.end-f.at))
		f.pipe, f.wide = nil, false
	}
	f.at, f.end = 0, 0
}

// endOfStream passes on the end of a stream, all of which has been written.
func (c *loopConn) endOfStream(from int) {
	f := &c.flows[from]
	f.ended = true
	if from == server {
		c.observed()
	}
	switch other := &c.flows[1-from]; {
	case c.how != endNone: // the other side is gone, and this was what it had sent before
		c.breakOff(from)
	case other.ended:
		c.how = endDone
		c.leave() // closing tells both
	default:
		_ = reactor.Shutdown(int(c.socks[1-from].fd)) // the peer may be gone, which the other flow finds out
	}
}

// lookForReset looks whether a side that has ended its stream has reset the
// connection since: nobody reads from it any more.
func (c *loopConn) lookForReset(which int) {
	s := &c.socks[which]
	// On a unix socket an orderly close looks the same.
	if s.broken && s.tcp && c.flows[which].ended {
		c.breakOff(which)
	}
}

// resetBy names the end that a side has brought about.
func resetBy(which int) end {
	if which == client {
		return endClientReset
	}
	return endServerReset
}

// cannotWrite ends a flow whose other side is dead. What that has sent before
// may still wait in the kernel: the other flow takes it, and then finds the
// same end.
func (c *loopConn) cannotWrite(from int) {
	f, other := &c.flows[from], &c.flows[1-from]
	if c.how == endNone {
		c.how = resetBy(1 - from)
	}
	f.failed = true
	c.drop(f)
	if other.ended || other.failed {
		c.breakOff(1 - from)
		return
	}
	dead := &c.socks[1-from]
	dead.readable, dead.peerDone = true, true
	c.again()
}

// again goes on when others have had their turn.
func (c *loopConn) again() {
	if !c.waits {
		c.waits = true
		c.shard.loop.Again(c.slot)
	}
}

// breakOff ends a connection that a side has broken: what the kernel has not
// yet sent is sent, and then both sides are reset.
func (c *loopConn) breakOff(by int) {
	if c.how == endNone {
		c.how = resetBy(by)
	}
	c.phase = flushing
	for i := range c.flows {
		c.drop(&c.flows[i])
	}
	c.seen, c.since = progress{moved: -1}, c.shard.loop.Now()
	c.flush()
}

// flushStep is how often flush looks.
const flushStep = 5 * time.Millisecond

// flush waits until the kernel has sent what was written: a reset throws away
// what still waits. It gives up when the peers have taken nothing for a time.
func (c *loopConn) flush() {
	now := progress{toClient: c.waiting(client, unix.SIOCOUTQNSD), toServer: c.waiting(server, unix.SIOCOUTQNSD)}
	loop := c.shard.loop
	if now.toClient == 0 && now.toServer == 0 || now == c.seen && loop.Now()-c.since >= lingerTime {
		c.abort(c.how)
		return
	}
	if now != c.seen {
		c.seen, c.since = now, loop.Now()
	}
	loop.SetTimer(c.slot, flushStep)
}

// waiting returns how many bytes the kernel still holds of what was written.
func (c *loopConn) waiting(which int, request uint) int {
	s := &c.socks[which]
	if s.fd < 0 || (!s.tcp && request == unix.SIOCOUTQNSD) {
		return 0
	}
	n, _ := unix.IoctlGetInt(int(s.fd), request) // of no other kind of socket
	return n
}

// setLook sets the timer for the next look.
func (c *loopConn) setLook() {
	step := keepAliveIdle * time.Second
	if t := c.settings.IdleTimeout; t > 0 {
		step = max(t/4, time.Millisecond)
	} else if c.alive {
		c.shard.loop.StopTimer(c.slot)
		return
	}
	c.shard.loop.SetTimer(c.slot, step)
}

// look ends the connection if nothing has moved for the idle timeout, and sees
// to it that a peer that vanished without a word is found: what lasts so long is
// worth the calls for it. A client's socket has the times from the listening
// socket.
func (c *loopConn) look() {
	if !c.alive {
		if c.socks[server].tcp {
			_ = setKeepAlive(int(c.socks[server].fd)) // known to work on TCP
		}
		if c.socks[client].tcp {
			keepAlive(int(c.socks[client].fd), true)
		}
	}
	c.alive = true
	if c.settings.IdleTimeout > 0 {
		now := progress{
			moved:    c.flows[client].moved + c.flows[server].moved,
			toClient: c.waiting(client, unix.SIOCOUTQ),
			toServer: c.waiting(server, unix.SIOCOUTQ),
		}
		if now != c.seen {
			c.seen, c.since = now, c.shard.loop.Now()
		} else if c.shard.loop.Now()-c.since >= c.settings.IdleTimeout {
			c.abort(endIdle)
			return
		}
	}
	c.setLook()
}
