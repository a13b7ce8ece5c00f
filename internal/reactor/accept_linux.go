package reactor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxBatch is how many connections a loop takes from a listening socket before
// it looks at what else there is.
const maxBatch = 64

// fullBatches is how many batches must have been full before a larger one is
// tried. Trying in vain costs a system call.
const fullBatches = 8

// An Intake is what is done with connections that loops accept.
type Intake struct {
	// Opened is told of the descriptor that is accepted from, when that begins
	// (open) and before it ends.
	Opened func(fd int, open bool)
	// Accepted is called on the loop of that number. It owns the
	// socket, which does not block. peer is zero if it has no IP address.
	Accepted func(loop, fd int, peer netip.AddrPort)
	// Failed is called when accepting fails. It returns how long to wait
	// before the next try, and false if there is none: then Accept returns
	// the error. tries counts the failures in a row, from 0.
	Failed func(err error, tries int) (wait time.Duration, ok bool)
}

// Accept has all loops accept connections from ln, until ctx ends or ln is
// closed, and then returns nil. When it returns, nothing more is called.
//
// All loops share the one socket, and the kernel wakes one of them for a
// connection. A socket for each (SO_REUSEPORT) would lose the connections that
// wait in a queue when the number of sockets changes, as at a reload; and a
// second balancer, started by mistake, would quietly take half of the traffic.
func (g *Group) Accept(ctx context.Context, ln *Listener, in Intake) error {
	if !ln.use() {
		return nil
	}
	defer ln.users.Done()
	fd := ln.fd
	in.Opened(fd, true)
	defer in.Opened(fd, false)
	failed := make(chan error, len(g.loops))
	var wg sync.WaitGroup
	acceptors := make([]*acceptor, len(g.loops))
	for i, l := range g.loops {
		a := &acceptor{loop: l, number: i, fd: fd, intake: in, batch: 1, failed: failed}
		acceptors[i] = a
		l.Post(a.start)
	}
	var err error
	select {
	case <-ctx.Done():
	case <-ln.closed:
	case err = <-failed:
	}
	for i, l := range g.loops {
		wg.Add(1)
		if !l.Post(func() { acceptors[i].stop(); wg.Done() }) {
			wg.Done()
		}
	}
	wg.Wait()
	if err != nil {
		return fmt.Errorf("accepting on %v: %w", ln.addr, err)
	}
	return nil
}

// An acceptor is the part of Accept that runs on one loop.
type acceptor struct {
	loop   *Loop
	slot   Slot
	number int
	fd     int
	intake Intake
	failed chan<- error

	// batch is how many connections to take without being told that there are
	// more. The socket is watched level by level, so that one that is left
	// comes up again; asking until there is none would cost a system call each
	// time.
	batch int
	full  int // batches in a row that there were enough connections for
	tries int
}

func (a *acceptor) start() {
	a.slot = a.loop.Register(a)
	a.watch()
}

func (a *acceptor) watch() {
	if errno := a.loop.watchListener(a.slot, a.fd); errno != OK {
		a.failed <- os.NewSyscallError("epoll_ctl", errno)
	}
}

func (a *acceptor) stop() {
	a.loop.unwatch(a.fd)
	a.loop.Forget(a.slot)
}

// Ready implements Handler.
func (a *acceptor) Ready(int, Events) {
	for range a.batch {
		fd, peer, errno := Accept(a.fd)
		if errno == unix.EAGAIN {
			a.batch, a.full = max(a.batch/2, 1), 0
			return
		}
		if errno != OK {
			a.wait(errno)
			return
		}
		a.tries = 0
		a.intake.Accepted(a.number, fd, peer)
	}
	if a.full++; a.full >= fullBatches {
		a.batch, a.full = min(2*a.batch, maxBatch), 0
	}
}

// wait stops accepting for a time.
func (a *acceptor) wait(errno Errno) {
	err := os.NewSyscallError("accept4", errno)
	pause, ok := a.intake.Failed(err, a.tries)
	a.tries++
	a.loop.unwatch(a.fd)
	if !ok {
		a.failed <- err
		return
	}
	a.loop.SetTimer(a.slot, pause)
}

// Expired implements Handler.
func (a *acceptor) Expired() { a.watch() }

// Turn implements Handler.
func (a *acceptor) Turn() {}
