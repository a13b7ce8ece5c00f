package reactor

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Events say what has come to a socket.
type Events uint32

// The events. Gone and Failed are said whether watched for or not.
const (
	Readable Events = unix.EPOLLIN
	Writable Events = unix.EPOLLOUT
	Urgent   Events = unix.EPOLLPRI   // and the bytes before it are to be read first
	PeerDone Events = unix.EPOLLRDHUP // the peer has ended its stream; bytes may stand before the end
	Gone     Events = unix.EPOLLHUP   // both directions have ended, or the connection broke
	Failed   Events = unix.EPOLLERR
)

// A Handler is what a Loop calls, on its goroutine.
type Handler interface {
	// Ready says what has come to a socket since the last time. which is as
	// given to Watch.
	Ready(which int, ev Events)
	// Expired says that the timer has expired.
	Expired()
	// Turn is called once for each call of Loop.Again.
	Turn()
}

// A Slot names a handler that is registered with a Loop. The zero Slot is
// nobody.
type Slot struct{ index, generation uint32 }

type slotEntry struct {
	handler    Handler
	generation uint32
}

// giveWayEvery is below the ten milliseconds after which the Go scheduler
// becomes impatient.
const giveWayEvery = 8_000_000 // nanoseconds

// crowded is the average number of events between two sleeps from which on a
// loop that has nothing to do lets others run before it sleeps: those who send
// it more. They are busy too, and what they send comes soon, and in larger
// batches; that is cheaper than to sleep and be woken for each. With fewer
// events there is less to gain, and a loop that sleeps is called back sooner.
const crowded = 8

// averageOver is about how many sleeps the average is of.
const averageOver = 8

// maxEvents is how many events are taken from the kernel at once.
const maxEvents = 128

// A Loop is one event loop. But for Post, its methods are for its handlers and
// for functions that were posted.
type Loop struct {
	epfd, wakefd int
	paces        bool      // PacesByDefault
	epoch        time.Time // when now was 0

	now     int64     // nanoseconds since epoch
	gaveWay int64     // when giveWay last did
	wall    time.Time // and the time then
	since   int       // events since the last sleep
	average int       // of them, times averageOver
	slots   []slotEntry
	unused  []uint32
	wheel   wheel
	again   []Slot
	turns   []Slot // of this turn; its memory is again's of the next
	events  [maxEvents]unix.EpollEvent
	// scratch is memory for whoever is being called.
	scratch [64 << 10]byte

	mu     sync.Mutex
	posted []func()
	woken  bool // the loop knows that something was posted
	closed bool
	spare  []func()
}

// wakeIndex is in events of wakefd in place of a slot: no slot has it.
const wakeIndex = 0

func newLoop() (*Loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("starting an event loop: %w", os.NewSyscallError("epoll_create1", err))
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		Close(epfd)
		return nil, fmt.Errorf("starting an event loop: %w", os.NewSyscallError("eventfd", err))
	}
	now := time.Now()
	l := &Loop{epfd: epfd, wakefd: wakefd, paces: PacesByDefault(), epoch: now, wall: now, slots: make([]slotEntry, 1)}
	// Edge by edge: it need never be read.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: wakeIndex}
	if errno := epollControl(epfd, unix.EPOLL_CTL_ADD, wakefd, &ev); errno != OK {
		l.close()
		return nil, fmt.Errorf("starting an event loop: %w", os.NewSyscallError("epoll_ctl", errno))
	}
	return l, nil
}

func (l *Loop) close() {
	Close(l.wakefd)
	Close(l.epfd)
}

// Register makes a handler known.
func (l *Loop) Register(h Handler) Slot {
	var index uint32
	if n := len(l.unused); n > 0 {
		index = l.unused[n-1]
		l.unused = l.unused[:n-1]
	} else {
		index = uint32(len(l.slots)) // far fewer than descriptors, which are 31 bits
		l.slots = append(l.slots, slotEntry{})
		l.wheel.grow(index)
	}
	e := &l.slots[index]
	e.handler = h
	return Slot{index, e.generation}
}

// Forget ends a registration: nothing more is called, its timer is stopped,
// and events under way are dropped. Its sockets must be closed, or be watched
// no longer.
func (l *Loop) Forget(s Slot) {
	l.wheel.stop(s.index)
	e := &l.slots[s.index]
	e.handler = nil
	e.generation++ // of four billion: no event is under way for so long
	l.unused = append(l.unused, s.index)
}

// Watch watches a socket edge by edge for a handler, which tells its sockets
// apart by which, 0 or 1. Watching ends when the socket is closed.
func (l *Loop) Watch(s Slot, which, fd int, ev Events) Errno {
	return l.control(unix.EPOLL_CTL_ADD, s, which, fd, uint32(ev)|unix.EPOLLET)
}

// Rewatch changes what a socket is watched for. What is there already is said
// again.
func (l *Loop) Rewatch(s Slot, which, fd int, ev Events) Errno {
	return l.control(unix.EPOLL_CTL_MOD, s, which, fd, uint32(ev)|unix.EPOLLET)
}

// watchListener watches a listening socket, for as long as connections wait.
// Of several loops that watch one, the kernel wakes one.
func (l *Loop) watchListener(s Slot, fd int) Errno {
	return l.control(unix.EPOLL_CTL_ADD, s, 0, fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE)
}

func (l *Loop) unwatch(fd int) { _ = epollControl(l.epfd, unix.EPOLL_CTL_DEL, fd, &unix.EpollEvent{}) }

func (l *Loop) control(op int, s Slot, which, fd int, events uint32) Errno {
	ev := unix.EpollEvent{Events: events, Fd: int32(s.index<<1) | int32(which), Pad: int32(s.generation)}
	return epollControl(l.epfd, op, fd, &ev)
}

// SetTimer sets the one timer of a handler, in place of what it was set to
// before. It expires after d, never earlier, up to eight milliseconds late.
func (l *Loop) SetTimer(s Slot, d time.Duration) {
	// now may have been taken a little before what is waited for.
	l.wheel.set(s.index, l.now+tick+min(int64(d), 1<<61))
}

// StopTimer stops it.
func (l *Loop) StopTimer(s Slot) { l.wheel.stop(s.index) }

// Again calls the handler's Turn when all who are ready have been called.
func (l *Loop) Again(s Slot) { l.again = append(l.again, s) }

// Scratch returns memory that a handler may use until it returns.
func (l *Loop) Scratch() []byte { return l.scratch[:] }

// Now returns the time since the Loop was made, as it was when the events at
// hand were taken from the kernel.
func (l *Loop) Now() time.Duration { return time.Duration(l.now) }

// Time returns Now as a time. To read the clock for each connection is a good
// part of what a short one costs outside of the kernel. When somebody sets the
// clock, Time knows it some milliseconds later.
func (l *Loop) Time() time.Time { return l.wall.Add(time.Duration(l.now - l.gaveWay)) }

// Post has the loop call f, soon, on its goroutine. It is safe for concurrent
// use. It returns false when the loop has ended: f is not called.
func (l *Loop) Post(f func()) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.posted = append(l.posted, f)
	// Under the lock, so that the descriptor is there.
	if !l.woken {
		l.woken = true
		var one [8]byte
		one[0] = 1
		_, _ = unix.Write(l.wakefd, one[:]) // fails only if the counter is full, and then the loop is awake
	}
	l.mu.Unlock()
	return true
}

// run is the loop. It ends when something posted has made stopped true, and
// after everything that was posted.
func (l *Loop) run(stopped *bool) error {
	defer l.end()
	for !*stopped {
		n, err := l.poll()
		if err != nil {
			return err
		}
		l.now = int64(time.Since(l.epoch))
		l.giveWay()
		wake := false
		for i := range n {
			ev := &l.events[i]
			index, which := uint32(ev.Fd)>>1, int(ev.Fd&1)
			if index == wakeIndex {
				wake = true
				continue
			}
			if e := &l.slots[index]; e.generation == uint32(ev.Pad) && e.handler != nil {
				e.handler.Ready(which, Events(ev.Events))
			}
		}
		if wake {
			l.runPosted()
		}
		l.expire()
		l.takeTurns()
	}
	return nil
}

// poll takes events from the kernel, and waits if there are none.
func (l *Loop) poll() (int, error) {
	n, errno := pollNow(l.epfd, l.events[:])
	if errno == OK && n == 0 && len(l.again) == 0 {
		if l.average >= crowded*averageOver {
			giveUpProcessor()
			n, errno = pollNow(l.epfd, l.events[:])
		}
		if errno == OK && n == 0 {
			l.average += l.since - l.average/averageOver
			l.since = 0
			var err error
			if n, err = unix.EpollWait(l.epfd, l.events[:], l.patience()); err != nil && err != unix.EINTR {
				return 0, fmt.Errorf("waiting for events: %w", os.NewSyscallError("epoll_wait", err))
			}
			n = max(n, 0)
		}
	}
	if errno != OK {
		return 0, fmt.Errorf("asking for events: %w", os.NewSyscallError("epoll_pwait", errno))
	}
	l.since += n
	return n, nil
}

// patience returns how many milliseconds the loop may sleep, -1 for ever.
func (l *Loop) patience() int {
	next := l.wheel.next()
	if next < 0 {
		return -1
	}
	const longest = int64(time.Hour)
	wait := min(max(next-int64(time.Since(l.epoch)), 0), longest)
	return int((wait + int64(time.Millisecond) - 1) / int64(time.Millisecond))
}

// giveWay lets the Go scheduler have a look every few milliseconds, and looks
// at the clock. The scheduler would otherwise take the loop, which calls for no
// help of its own, for one that has to be stopped: after ten milliseconds it
// sends signals, takes the loop's processor away and polls for the next
// occasion.
func (l *Loop) giveWay() {
	if l.now-l.gaveWay >= giveWayEvery {
		runtime.Gosched()
		l.wall = time.Now()
		l.now = int64(l.wall.Sub(l.epoch))
		l.gaveWay = l.now
	}
}

// end takes nothing more, and calls what was taken.
func (l *Loop) end() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.runPosted()
}

func (l *Loop) runPosted() {
	l.mu.Lock()
	funcs := l.posted
	l.posted, l.spare = l.spare[:0], nil
	l.woken = false
	l.mu.Unlock()
	for i, f := range funcs {
		funcs[i] = nil
		f()
	}
	l.mu.Lock()
	l.spare = funcs[:0]
	l.mu.Unlock()
}

func (l *Loop) expire() {
	for {
		n, ok := l.wheel.expired(l.now)
		if !ok {
			return
		}
		l.slots[n].handler.Expired()
	}
}

// takeTurns calls those who asked for it. Who asks meanwhile waits for the
// next time.
func (l *Loop) takeTurns() {
	if len(l.again) == 0 {
		return
	}
	l.again, l.turns = l.turns[:0], l.again
	for _, s := range l.turns {
		if e := &l.slots[s.index]; e.generation == s.generation && e.handler != nil {
			e.handler.Turn()
		}
	}
}
