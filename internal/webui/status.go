package webui

import (
	"context"
	"sync"
	"time"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/control/access"
)

// How old an answer of the API may be. A page that is loaded gets one of this
// moment; streams share one that is younger than a second, so that watching costs
// little. A large fleet takes the API longer to describe, and is asked less
// often: watching takes no more than a fiftieth of a core.
const (
	pageAge      = 300 * time.Millisecond
	streamAge    = 900 * time.Millisecond
	maxStreamAge = 5 * time.Second
	shareOfCore  = 50
)

// A statusCache asks the API for all streams at once.
type statusCache struct {
	u *UI

	mu   sync.Mutex
	at   time.Time
	took time.Duration
	rev  uint64
	got  *mintmarkv1.GetStatusResponse
}

func newStatusCache(u *UI) *statusCache { return &statusCache{u: u} }

// get returns an answer that is young enough for a stream. It holds nothing that
// a viewer may not see.
func (c *statusCache) get(ctx context.Context) (*mintmarkv1.GetStatusResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.got != nil && time.Since(c.at) < max(streamAge, min(shareOfCore*c.took, maxStreamAge)) {
		return c.got, nil
	}
	rev, err := c.u.cfg.Revision(ctx)
	if err != nil {
		return nil, err
	}
	if c.got != nil && c.rev == rev && time.Since(c.at) < maxStreamAge {
		return c.got, nil // nobody has changed anything
	}
	began := time.Now()
	api := c.u.cfg.Client(access.Identity{Role: access.RoleViewer, Name: "web UI"})
	r, err := api.GetStatus(ctx, connect.NewRequest(&mintmarkv1.GetStatusRequest{}))
	if err != nil {
		return nil, err
	}
	c.got, c.at = r.Msg, time.Now()
	c.took, c.rev = c.at.Sub(began), rev
	return c.got, nil
}

// rolloutOf returns the rollout of a pool; nil if it has none.
func rolloutOf(s *mintmarkv1.GetStatusResponse, pool string) *mintmarkv1.Rollout {
	for _, r := range s.GetRollouts() {
		if r.GetPool() == pool {
			return r
		}
	}
	return nil
}

// poolOf returns a pool; nil if there is none.
func poolOf(s *mintmarkv1.GetStatusResponse, name string) *mintmarkv1.Pool {
	for _, p := range s.GetPools() {
		if p.GetName() == name {
			return p
		}
	}
	return nil
}

func noPool(name string) error {
	return &refusal{404, "There is no such pool", "The control plane has no pool " + name + ".", "It may have been removed meanwhile: the log says by whom."}
}

// agentsOf returns the agents of a pool by server.
func agentsOf(s *mintmarkv1.GetStatusResponse, pool string) map[string]*mintmarkv1.Agent {
	all := make(map[string]*mintmarkv1.Agent)
	for _, a := range s.GetAgents() {
		if a.GetPool() == pool {
			all[a.GetServer()] = a
		}
	}
	return all
}

// serversOf returns the live state of the servers of a pool.
func (s *Sample) serversOf(pool string) map[string]*ServerSample {
	all := make(map[string]*ServerSample)
	if s == nil {
		return all
	}
	for i := range s.Pools {
		if s.Pools[i].Name != pool {
			continue
		}
		for j := range s.Pools[i].Servers {
			all[s.Pools[i].Servers[j].Name] = &s.Pools[i].Servers[j]
		}
	}
	return all
}

// expire makes the next answer one that is young enough for a page.
func (c *statusCache) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) >= pageAge {
		c.got = nil
	}
}

// drop makes the next answer a new one: somebody has just changed something.
func (c *statusCache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = nil
}
