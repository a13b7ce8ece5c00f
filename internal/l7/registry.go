package l7

import (
	"context"
	"errors"
	"sync"
)

// errShutdown is why a request was cut at the end of a drain.
var errShutdown = errors.New("shutting down")

// A registry knows the requests in progress, so that they can be waited for
// and cut.
type registry struct {
	mu       sync.Mutex
	running  map[*exchange]context.CancelCauseFunc
	draining chan struct{} // not nil once draining; closed when running is empty
}

func (r *registry) enter(x *exchange, cancel context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == nil {
		r.running = make(map[*exchange]context.CancelCauseFunc)
	}
	r.running[x] = cancel
}

func (r *registry) leave(x *exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, x)
	r.check()
}

// check closes draining when it is time. The caller holds mu.
func (r *registry) check() {
	if r.draining == nil || len(r.running) > 0 {
		return
	}
	select {
	case <-r.draining:
	default:
		close(r.draining)
	}
}

// drain returns a channel that is closed when there is no request left.
func (r *registry) drain() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining == nil {
		r.draining = make(chan struct{})
	}
	r.check()
	return r.draining
}

// cut cancels every request and returns how many there were.
func (r *registry) cut() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, cancel := range r.running {
		cancel(errShutdown)
	}
	return len(r.running)
}
