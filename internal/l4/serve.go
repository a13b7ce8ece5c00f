package l4

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// How long Serve waits after an error of accept that will pass: from min,
// doubling, up to max. The limit of descriptors is reached when connections
// come in faster than they end; accepting again at once would only burn the
// processor that could end some.
const (
	minAcceptWait = 5 * time.Millisecond
	maxAcceptWait = time.Second
)

// Serve accepts from ln until ctx ends, Drain begins or ln is closed, and then
// returns nil. It does not close ln. Connections go on; see Drain. It may be
// called several times at once, with different sockets.
//
// Errors that will pass, a lack of descriptors above all, are logged, counted
// and waited out. Others are returned.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener) error {
	if ok, err := p.loops.serve(ctx, ln); ok {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.accepting, cancel)() //nolint:contextcheck // the Proxy's own end, not the caller's
	defer context.AfterFunc(ctx, func() { interrupt(ln) })()
	var wait time.Duration
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			wait = 0
			p.accepted(nc)
			continue
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case !passing(err):
			return fmt.Errorf("accepting on %v: %w", ln.Addr(), err)
		}
		p.metrics.AcceptErrors.Inc()
		if wait == 0 {
			p.log.Warn("accepting connections, will try again", "address", ln.Addr().String(), "error", err)
		}
		wait = min(max(2*wait, minAcceptWait), maxAcceptWait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// interrupt makes Accept return. A socket stays open where that is possible:
// it is its opener's to close, or to hand on.
func interrupt(ln net.Listener) {
	if d, ok := ln.(interface{ SetDeadline(time.Time) error }); ok && d.SetDeadline(time.Unix(1, 0)) == nil {
		return
	}
	_ = ln.Close() // it may be closed already
}

// passing reports whether accept may succeed later: the process or the system
// is out of something, or the connection died in the queue (accept(2)).
func passing(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false // nobody but Serve sets one
	}
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.EPERM,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
		syscall.ENOPROTOOPT, syscall.EOPNOTSUPP, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// accepted starts the life of a connection, or refuses it at once when the
// listener is full.
func (p *Proxy) accepted(nc net.Conn) {
	if p.loops.adopt(nc) {
		return
	}
	st := p.settings.Load()
	c := newConn(p, st, nc)
	p.metrics.Accepted.Inc(c.stripe)
	if !p.conns.enter(c) {
		_ = nc.Close() // the drain is over; nobody waits for this one
		return
	}
	p.metrics.Active.Add(c.stripe, 1)
	if st.MaxConnections > 0 && p.metrics.Active.Load() > int64(st.MaxConnections) {
		c.turnAway()
		return
	}
	go c.serve()
}
