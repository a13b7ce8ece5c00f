package l7

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// errIdle is why a request was ended on which nothing moved.
var errIdle = errors.New("no byte moved for the idle timeout")

// An idleWatch ends a request when no byte has moved for a while. Moving bytes
// only write a number down; a timer looks at it.
type idleWatch struct {
	// began is when the request did. It is what last counts from: a step of the
	// system's clock must not end requests.
	began time.Time
	last  atomic.Int64 // when a byte last moved, in nanoseconds

	mu    sync.Mutex // guards the rest, and is held while the request is ended
	timer *time.Timer
	done  bool
	conn  net.Conn // of a tunnel, which net/http knows nothing of any more
}

// hijacked says that the connection is a tunnel's now.
func (w *idleWatch) hijacked(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = c
}

// touch says that a byte has moved.
func (w *idleWatch) touch() { w.last.Store(int64(time.Since(w.began))) }

// watchIdle begins to watch, if there is an idle timeout.
func (x *exchange) watchIdle() {
	timeout := x.settings.IdleTimeout
	if timeout <= 0 {
		return
	}
	w := &x.idle
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(timeout, func() { x.lookIdle(timeout) })
}

// lookIdle ends the request, or looks again later.
func (x *exchange) lookIdle(timeout time.Duration) {
	w := &x.idle
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return
	}
	left := timeout - (time.Since(w.began) - time.Duration(w.last.Load()))
	if left > 0 {
		w.timer.Reset(max(left, timeout/4))
		return
	}
	x.cancel(errIdle)
	x.unblock()
}

// unblock makes reads from and writes to the client return, which a context
// does not. The caller holds idle.mu, so that the request has not ended.
func (x *exchange) unblock() {
	now := time.Now()
	if x.idle.conn != nil {
		_ = x.idle.conn.SetDeadline(now) // it is closed, then
		return
	}
	rc := http.NewResponseController(x.writer)
	// If either fails, the connection is gone.
	_ = rc.SetReadDeadline(now)
	if x.begun.Load() {
		_ = rc.SetWriteDeadline(now) // otherwise there is a response of ours to come
	}
}

// stop ends the watch. When it returns, the request is not touched any more.
func (w *idleWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// ended reports whether the request was ended for err.
func (x *exchange) ended(err error) bool {
	return errors.Is(context.Cause(x.request.Context()), err)
}
