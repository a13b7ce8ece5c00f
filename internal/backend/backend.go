// Package backend keeps the live state of servers: it dials them, checks
// their health and resolves their names.
package backend

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// A Monitor runs the health checks and name resolution of all pools.
type Monitor struct{}

type Config struct {
	Logger *slog.Logger
}

func NewMonitor(cfg Config) *Monitor { return &Monitor{} }

// Run checks until ctx ends. Update may be called before and during Run.
func (m *Monitor) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Update replaces the pools that are checked. Servers that stay keep their
// state and schedule.
func (m *Monitor) Update(s *route.Snapshot) {}

// Dial connects to a server (any of its addresses) within timeout, and
// reports the result to passive failure detection.
func (m *Monitor) Dial(ctx context.Context, s *route.Server, timeout time.Duration) (net.Conn, error) {
	return nil, nil
}
