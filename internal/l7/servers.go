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

// A server is a server of net/http, with the timeouts of one configuration. It
// cannot change them while it runs: with others, new connections go to another
// server, and those before stay where they are.
type server struct {
	http        *http.Server
	hello, idle time.Duration
	replaced    chan struct{} // closed when new connections are another's

	accepting int          // calls of Proxy.Serve; guarded by servers.mu
	conns     atomic.Int64 // connections that are net/http's
}

// track counts connections: it is an http.Server's ConnState.
func (s *server) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.conns.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

func (s *server) isReplaced() bool {
	select {
	case <-s.replaced:
		return true
	default:
		return false
	}
}

// servers are those of a Proxy. It is safe for concurrent use.
type servers struct {
	mu   sync.Mutex
	all  []*server // the last accepts; the others have connections left
	over bool      // there will be no other
}

// use has new connections served with these timeouts.
func (ss *servers) use(hello, idle time.Duration, create func(*server)) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if n := len(ss.all); n > 0 {
		last := ss.all[n-1]
		if ss.over || last.hello == hello && last.idle == idle {
			return
		}
		close(last.replaced)
	}
	s := &server{hello: hello, idle: idle, replaced: make(chan struct{})}
	create(s)
	ss.all = append(ss.all, s)
	ss.forget()
}

// forget lets go of servers that nobody needs. The caller holds mu.
func (ss *servers) forget() {
	kept := ss.all[:0]
	for _, s := range ss.all {
		if !s.isReplaced() || s.accepting > 0 || s.conns.Load() > 0 {
			kept = append(kept, s)
		}
	}
	clear(ss.all[len(kept):])
	ss.all = kept
}

// enter returns the server that accepts, for a call of Serve.
func (ss *servers) enter() *server {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.all[len(ss.all)-1]
	s.accepting++
	return s
}

func (ss *servers) leave(s *server) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s.accepting--
	ss.forget()
}

// end returns all, of which there will be no more.
func (ss *servers) end() []*server {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.over = true
	return append([]*server(nil), ss.all...)
}

// shutdown shuts all servers down: connections that wait for a request are
// closed, and clients of the others are told that there is no next one. It
// returns when no connection is left, or ctx has ended.
func (ss *servers) shutdown(ctx context.Context) error {
	all := ss.end()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() { errs[i] = s.http.Shutdown(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// close cuts all connections of a shutdown that took too long.
func (ss *servers) close() {
	for _, s := range ss.end() {
		_ = s.http.Close() // what it would report has just been caused
	}
}
