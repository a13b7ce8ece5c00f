package engine

// Hot: the loop of a worker. Budget: no allocation but for new flows; per batch one
// wait, one receive for each socket with something to receive, one send for each
// server socket and one for all clients.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/dgram"
)

const (
	// maxEvents is how many sockets are looked at after one wait.
	maxEvents = 256
	// maxQueued is how many datagrams from clients are decided on until they are sent:
	// as many as a full inbox has when each message is a run of normal size.
	maxQueued = inboxSize * maxRun
	// flowInbox is how many messages are received from one server socket until the
	// others have their turn.
	flowInbox = 16

	// What events of epoll say that are not about a flow. Slots of upstreams are
	// smaller.
	eventListener = -1
	eventWake     = -2
)

var errUnresolved = errors.New("its name has no address yet")

// A epollWorker is the worker of one listening socket on Linux. One goroutine runs it;
// only wake and stop may be called by others.
type epollWorker struct {
	*core
	listener int // descriptors
	poll     int
	bell     int  // an eventfd
	v4       bool // the listening socket's family
	wildcard bool
	whole    bool

	in      *inbox // from clients
	back    *inbox // from servers
	out     outbox
	up      upstreams
	events  [maxEvents]unix.EpollEvent
	ready   []*upstream // that may have something to receive
	queue   []queued    // to servers
	dirty   []*upstream // that have something in queue
	tuple   dgram.Tuple
	expired time.Time // when flows were last expired
	sending direction // of what out holds
	pace    pace
	// received is how many messages this round has received.
	received int

	stopped atomic.Bool
}

// A queued datagram is to be sent to a server.
type queued struct {
	data []byte
	ecn  uint8
	next int32
}

// newWorker returns the worker of the socket i, which is its own from now on.
func (p *Proxy) newWorker(s *Sockets, i int) (worker, error) {
	if p.portable {
		return p.newPortableWorker(s, i)
	}
	c, err := newCore(p, s.Len())
	if err != nil {
		return nil, err
	}
	addr := s.addr.Addr()
	w := &epollWorker{
		core: c, listener: s.take(i), poll: -1, bell: -1,
		v4: addr.Is4(), wildcard: addr.IsUnspecified(), whole: s.whole,
		in: newInbox(true), back: newInbox(false), queue: make([]queued, 0, maxQueued),
	}
	w.tuple.Local, w.tuple.LocalPort = addr.As16(), s.addr.Port()
	w.out.lost = w.lost
	if err := w.watch(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// watch makes what the worker waits in.
func (w *epollWorker) watch() error {
	var err error
	if w.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("making an epoll: %w", err)
	}
	if w.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("making an eventfd: %w", err)
	}
	for fd, what := range map[int]int32{w.listener: eventListener, w.bell: eventWake} {
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: what}
		if err := unix.EpollCtl(w.poll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			return fmt.Errorf("watching a socket: %w", err)
		}
	}
	return nil
}

func (w *epollWorker) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(w.bell, one[:]) // it can only be full, which wakes as well
}

func (w *epollWorker) stop() {
	w.stopped.Store(true)
	w.wake()
}

func (w *epollWorker) run() error {
	defer w.close()
	for !w.stopped.Load() {
		n, err := w.wait()
		if err != nil {
			return err
		}
		now := time.Now()
		clients := w.sort(n)
		w.replies(now)
		if clients {
			w.requests(now)
		}
		w.expire(now)
		w.reap()
		w.tally.flush()
		w.pace.after(w.received, now)
		w.received = 0
	}
	return nil
}

// wait waits until something has come, and returns how many events there are.
// Looking without waiting first is worth it: a call that may block costs the Go
// scheduler some work, and under load there is always something.
func (w *epollWorker) wait() (int, error) {
	n, errno := w.look(0)
	if errno == 0 && n == 0 && len(w.ready) == 0 && w.pace.busy {
		if w.pace.crowded {
			_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
		n, errno = w.look(busyWait)
		if n == 0 {
			runtime.Gosched()
		}
	}
	if errno == 0 && (n > 0 || len(w.ready) > 0) {
		return n, nil
	}
	timeout := -1
	if all, _ := w.flows.Len(); all > 0 {
		timeout = int(expireEvery / time.Millisecond)
	}
	n, err := unix.EpollWait(w.poll, w.events[:], timeout)
	if err == unix.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("waiting for datagrams: %w", err)
	}
	return n, nil
}

// look asks for events and waits for them so long, without telling the Go scheduler.
func (w *epollWorker) look(wait time.Duration) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.poll), uintptr(unsafe.Pointer(&w.events[0])), maxEvents,
		uintptr(wait/time.Millisecond), 0, 0)
	return int(n), errno
}

// sort goes through n events. It returns whether clients have sent something.
func (w *epollWorker) sort(n int) (clients bool) {
	for i := range w.events[:n] {
		switch e := &w.events[i]; e.Fd {
		case eventListener:
			clients = true
		case eventWake:
			var count [8]byte
			_, _ = unix.Read(w.bell, count[:])
			w.adopt()
		default:
			if s := w.up.find(e); s != nil && !s.waiting {
				s.waiting = true
				w.ready = append(w.ready, s)
			}
		}
	}
	return clients
}

// replies sends to clients what servers have sent.
func (w *epollWorker) replies(now time.Time) {
	if len(w.ready) == 0 {
		return
	}
	w.sending = toClient
	again := w.ready[:0]
	filled := 0
	for _, s := range w.ready {
		if s.flow == nil {
			continue // closed meanwhile
		}
		if inboxSize-filled < flowInbox {
			w.out.flush(w.listener)
			filled = 0
		}
		n, errno := w.back.receive(s.fd, filled, flowInbox)
		if errno != 0 {
			n = 0
			if errno != unix.EAGAIN {
				w.tally.failed(toServer, errorOf(errno), 1) // of what was sent before
				again = append(again, s)
				continue
			}
		}
		for i := filled; i < filled+n; i++ {
			m := w.back.message(i, nil)
			for !w.out.add(&s.client, m.data, m.segment, m.ecn) {
				w.out.flush(w.listener)
			}
		}
		filled += n
		w.received += n
		if n > 0 {
			w.flows.Seen(s.flow, now)
		}
		if n == flowInbox {
			again = append(again, s) // epoll tells only once
		} else {
			s.waiting = false
		}
	}
	w.ready = again
	w.out.flush(w.listener)
	w.count(now)
}

// requests sends to servers what clients have sent.
func (w *epollWorker) requests(now time.Time) {
	w.sending = toServer
	w.batch()
	n, errno := w.in.receive(w.listener, 0, inboxSize)
	if errno != 0 {
		if errno != unix.EAGAIN {
			w.lost(errno, 0)
		}
		return
	}
	w.received += n
	for i := range n {
		var local *[16]byte
		if w.wildcard {
			local = &w.tuple.Local
		}
		m := w.in.message(i, local)
		if !w.in.client(i, &w.tuple) {
			continue
		}
		if len(w.queue)+maxRun > maxQueued {
			w.send()
		}
		for rest := m.data; ; {
			size := min(m.segment, len(rest))
			w.request(rest[:size:size], m.ecn, now)
			if rest = rest[size:]; len(rest) == 0 {
				break
			}
		}
	}
	w.send()
	w.count(now)
}

// request decides on one datagram and queues it.
func (w *epollWorker) request(data []byte, ecn uint8, now time.Time) {
	v := w.decide(data, &w.tuple, now)
	if v.Flow == nil {
		return
	}
	if v.Opened && !w.opened(v.Flow) {
		return
	}
	s := v.Flow.Socket.(*upstream) //nolint:forcetypeassert // nobody else sets it
	i := int32(len(w.queue))       //nolint:gosec // at most maxQueued
	w.queue = append(w.queue, queued{data: data, ecn: ecn, next: -1})
	if s.first < 0 {
		s.first = i
		w.dirty = append(w.dirty, s)
	} else {
		w.queue[s.last].next = i
	}
	s.last = i
}

// opened gives a new flow its socket.
func (w *epollWorker) opened(f *dgram.Flow) bool {
	s, err := w.connect(f)
	if err != nil {
		w.batch()
		w.flows.Close(f)
		if errors.Is(err, errUnresolved) {
			w.tally.refused(string(causeUnresolved))
		} else {
			w.tally.refused(string(causeNoSocket))
			w.proxy.log.Debug("opening a flow", "server", string(f.Server.Config.Name), "error", err)
		}
		return false
	}
	f.Socket = s
	w.proxy.metrics.Accepted.Inc(0)
	w.proxy.metrics.Active.Add(0, 1)
	return true
}

// send sends what is queued for servers.
func (w *epollWorker) send() {
	for _, s := range w.dirty {
		for i := s.first; i >= 0; i = w.queue[i].next {
			q := &w.queue[i]
			for !w.out.add(&s.server, q.data, len(q.data), q.ecn) {
				w.out.flush(s.fd)
			}
		}
		w.out.flush(s.fd)
		s.first, s.last = -1, -1
	}
	w.dirty, w.queue = w.dirty[:0], w.queue[:0]
	w.batch()
	w.reap()
}

// count takes over what the outbox has counted.
func (w *epollWorker) count(now time.Time) {
	if w.out.datagrams > 0 {
		w.tally.sent(w.sending, w.out.datagrams, w.out.bytes)
		if w.sending == toServer {
			w.proxy.heard(now)
		}
	}
	w.out.datagrams, w.out.bytes = 0, 0
}

// lost counts an error, and the datagrams that were dropped because of it. 0 is an
// ICMP error about one that was sent before.
func (w *epollWorker) lost(errno unix.Errno, datagrams int) {
	w.tally.failed(w.sending, errorOf(errno), max(1, datagrams))
}

// expire closes flows that are idle.
func (w *epollWorker) expire(now time.Time) {
	if now.Sub(w.expired) >= expireEvery {
		w.expired = now
		w.flows.Expire(now)
	}
}

// reap closes the sockets of flows that are gone. What was queued for them has been
// sent.
func (w *epollWorker) reap() {
	for f := w.flows.Reap(); f != nil; f = w.flows.Reap() {
		s, ok := f.Socket.(*upstream)
		if !ok {
			continue // it never got one
		}
		s.flow, f.Socket = nil, nil
		w.disconnect(s)
		w.proxy.metrics.Active.Add(0, -1)
	}
}

// close closes everything.
func (w *epollWorker) close() {
	w.flows.CloseAll()
	w.reap()
	w.tally.flush()
	for _, fd := range []int{w.listener, w.poll, w.bell} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
