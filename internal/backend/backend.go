// Package backend keeps the live state of servers: it dials them, checks
// their health and resolves their names.
package backend

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// A Monitor runs the health checks and name resolution of all pools.
type Monitor struct{}

// A Resolver finds the addresses of a name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config is what a Monitor needs. Every field may be left zero.
type Config struct {
	// Logger receives one line at each change of a server's state.
	Logger *slog.Logger
	// Dial connects; the default is that of a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolver finds the addresses of names; the default is net.DefaultResolver.
	Resolver Resolver
	// OnChange, when set, is called after each change of a server's state, in
	// order for each server. It must return soon and must not call the Monitor.
	OnChange func(s *route.Server, up bool, reason string)
	// OnDial, when set, is called at the end of each Dial with its result. It
	// is called by many goroutines at once.
	OnDial func(s *route.Server, took time.Duration, err error)
}

// NewMonitor returns a Monitor that has not started anything.
func NewMonitor(cfg Config) *Monitor { return &Monitor{} }

// Run checks until ctx ends. Update may be called before and during Run.
func (m *Monitor) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Update replaces the pools that are checked. Servers that stay keep their
// state and schedule.
func (m *Monitor) Update(s *route.Snapshot) {}

// WaitFirstRound waits until every server that is checked was asked once, or
// ctx ends.
func (m *Monitor) WaitFirstRound(ctx context.Context) error { return nil }

// Dial connects to a server (any of its addresses) within timeout, and
// reports the result to passive failure detection.
func (m *Monitor) Dial(ctx context.Context, s *route.Server, timeout time.Duration) (net.Conn, error) {
	return nil, nil
}
