// Package control is the control plane: it keeps what an operator wants of
// the pools, has the rollout decide in which order that comes about, tells
// balancers and servers, and hears what they have done.
//
// It is a function over the store. Every change, whether a person, a balancer,
// a server or the passing of time brings it, loads what the store has of a
// pool, lets the pure state machine of package rollout take one step, and
// commits the result on the condition that nobody else was faster. Nothing
// that matters lives in memory, so a control plane that is killed has lost
// nothing that it confirmed, and several can run on one store without a leader.
//
// # What the store holds
//
//	pools/NAME            what is wanted of a pool
//	rollouts/NAME         the rollout of a planned pool; secret
//	routes/NAME           what balancers are sent of a pool; secret
//	balancers/NAME        a balancer that has joined
//	agents/POOL/SERVER    an agent that has joined, and keys it sealed for others
//	history/NAME/REVISION what was wanted of a pool after a change, the last few
//	audit/...             who changed what (package audit)
//	tokens/, identities/, people/, sessions/
//	                      who may come in (package access)
//
// A balancer acknowledges a revision of the store: it then has every entry
// under routes/ that was not changed since.
package control

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/audit"
	"github.com/mintmark/mintmark/internal/store"
)

// Config is what a Server is made of.
type Config struct {
	// Store keeps everything. Required.
	Store store.Store
	// Access knows who may do what. Required.
	Access *access.Keeper
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Logger receives what happens; nil discards it.
	Logger *slog.Logger
	// Version is told to clients.
	Version string
}

// A Server is a control plane. It is safe for concurrent use.
type Server struct {
	store  store.Store
	access *access.Keeper
	now    func() time.Time
	log    *slog.Logger
	inside http.Handler // of Client

	mu        sync.Mutex
	connected map[string]int // streams, by key of the member
}

// New returns a Server. It starts nothing: see Run and Handler.
func New(c Config) (*Server, error) {
	if c.Store == nil || c.Access == nil {
		return nil, errors.New("a control plane needs a store and an access keeper")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		store: c.Store, access: c.Access, now: c.Now, log: c.Logger, connected: make(map[string]int),
	}
	s.inside = s.calls()
	return s, nil
}

// The prefixes of the store's keys.
const (
	prefixPools     = "pools/"
	prefixRollouts  = "rollouts/"
	prefixRoutes    = "routes/"
	prefixBalancers = "balancers/"
	prefixAgents    = "agents/"
	prefixHistory   = "history/"
)

func agentKey(pool, server string) string { return prefixAgents + pool + "/" + server }

// online notes that a member has a stream, until done is called.
func (s *Server) online(key string) (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connected[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.connected[key]--; s.connected[key] == 0 {
			delete(s.connected, key)
		}
	}
}

func (s *Server) isOnline(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected[key] > 0
}

// tickInterval is how often time is told to the rollouts.
const tickInterval = 5 * time.Second

// ticksPerTrim is how often the audit log is cut to its size.
const ticksPerTrim = 720

// Run tells time to the rollouts, and bounds the audit log, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	t := time.NewTicker(tickInterval)
	defer t.Stop()
	for n := 0; ; n++ {
		if n%ticksPerTrim == 0 {
			if err := audit.Trim(ctx, s.store); err != nil && ctx.Err() == nil {
				s.log.Warn("the audit log was not cut", "error", err)
			}
		}
		if err := s.Tick(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("rollouts were not told the time", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
