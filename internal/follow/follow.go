// Package follow is a balancer's side of a control plane: it receives the
// snapshots of all pools, puts each on disk and into effect, and only then
// acknowledges it; and it tells which spaces IDs were seen of.
//
// Routing never depends on it: when the control plane is away, the balancer
// goes on with what it has.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/idspace"
)

// A Source is the control plane, as one balancer talks to it: through the API,
// or within the process.
type Source interface {
	// Watch sends the snapshot in force and each later one. It returns when
	// ctx ends, send fails, or the source is lost.
	Watch(ctx context.Context, r *mintmarkv1.WatchSnapshotsRequest, send func(*mintmarkv1.WatchSnapshotsResponse) error) error
	// Acknowledge says that a snapshot is on disk and live.
	Acknowledge(ctx context.Context, r *mintmarkv1.AcknowledgeRequest) error
	// ReportSeen says when an ID of which space was last seen.
	ReportSeen(ctx context.Context, r *mintmarkv1.ReportSeenRequest) error
}

// A Snapshot is what a control plane sends: every pool, and the plans of those
// that are planned.
type Snapshot = mintmarkv1.WatchSnapshotsResponse

// Config is what a Follower is made of.
type Config struct {
	// Source is the control plane. Required.
	Source Source
	// Cache is the path of the file that keeps the last snapshot. Required.
	Cache string
	// Apply puts a snapshot into effect: when it returns nil, it is live in
	// every worker. Required.
	Apply func(ctx context.Context, s *Snapshot) error
	// Seen calls f for each pool, owner and slot of which an ID was seen, with
	// when it was last. nil: nobody looks.
	Seen func(f func(pool string, owner idspace.Owner, slot uint8, last time.Time))
	// OnSync is called when a snapshot is in effect and acknowledged. May be nil.
	OnSync func(revision uint64)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Logger receives what happens; nil discards it.
	Logger *slog.Logger
}

// A Follower follows a control plane. Run may be called once; the other
// methods are safe for concurrent use.
type Follower struct {
	cfg   Config
	began time.Time // since when what was seen is remembered

	mu    sync.Mutex
	slots map[string]map[uint8]uint64 // by pool: the generation in each slot
}

// New returns a Follower.
func New(c Config) *Follower {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Follower{cfg: c, began: c.Now()}
}

// ServeStale puts the snapshot of the cache into effect, for a start while the
// control plane is away. The error is ErrNoCache when there is none.
func (f *Follower) ServeStale(ctx context.Context) error {
	s, err := readCache(f.cfg.Cache)
	if err != nil {
		return err
	}
	return f.apply(ctx, s)
}

// Bounds of the pause after the control plane was lost. A fleet of balancers
// comes back spread over the longer one.
const (
	shortPause = 200 * time.Millisecond
	longPause  = 10 * time.Second
)

// seenInterval is how often the control plane is told what was seen.
const seenInterval = 15 * time.Second

// callTimeout bounds a call, so that a control plane that hangs is one that is
// away.
const callTimeout = 15 * time.Second

// Run follows until ctx ends. It returns nil then.
func (f *Follower) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { f.tellSeen(ctx) })
	pause := shortPause
	for ctx.Err() == nil {
		synced := false
		err := f.cfg.Source.Watch(ctx, &mintmarkv1.WatchSnapshotsRequest{}, func(s *Snapshot) error {
			if err := f.take(ctx, s); err != nil {
				return err
			}
			synced = true
			return nil
		})
		if ctx.Err() != nil {
			break
		}
		if synced {
			pause = shortPause
		}
		f.cfg.Logger.Warn("the control plane is away, routing goes on", "error", err, "retry_in", pause)
		wait(ctx, pause/2+rand.N(pause))
		pause = min(2*pause, longPause)
	}
	return nil
}

// errNotApplied marks a snapshot that could not be put into effect.
var errNotApplied = errors.New("the snapshot could not be put into effect")

// take puts a snapshot on disk and into effect, and acknowledges it. The error
// is that of a source that is lost: it is asked again.
func (f *Follower) take(ctx context.Context, s *Snapshot) error {
	if err := writeCache(f.cfg.Cache, s); err != nil {
		return fmt.Errorf("keeping a snapshot: %w", err)
	}
	if err := f.apply(ctx, s); err != nil {
		// Asking again would bring the same. The next one may be better, and
		// until then the rollout shows that this balancer is behind.
		f.cfg.Logger.Error("a snapshot of the control plane was refused, the one before stays", "revision", s.GetRevision(), "error", err)
		return nil
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := f.cfg.Source.Acknowledge(call, &mintmarkv1.AcknowledgeRequest{Revision: s.GetRevision()}); err != nil {
		return fmt.Errorf("acknowledging a snapshot: %w", err)
	}
	f.cfg.Logger.Info("a snapshot of the control plane is in effect", "revision", s.GetRevision())
	if f.cfg.OnSync != nil {
		f.cfg.OnSync(s.GetRevision())
	}
	return nil
}

func (f *Follower) apply(ctx context.Context, s *Snapshot) error {
	slots := make(map[string]map[uint8]uint64)
	for pool, doc := range s.GetPlans() {
		plan, err := idspace.ParsePlan(doc)
		if err != nil {
			return fmt.Errorf("%w: the plan of pool %s: %w", errNotApplied, pool, err)
		}
		slots[pool] = make(map[uint8]uint64)
		for _, g := range plan.Generations() {
			slots[pool][g.Slot] = g.Number
		}
	}
	if err := f.cfg.Apply(ctx, s); err != nil {
		return fmt.Errorf("%w: %w", errNotApplied, err)
	}
	f.mu.Lock()
	f.slots = slots
	f.mu.Unlock()
	return nil
}

// tellSeen tells the control plane what was seen, until ctx ends. What could
// not be told is told the next time: everything since the start always is.
func (f *Follower) tellSeen(ctx context.Context) {
	for wait(ctx, seenInterval/2+rand.N(seenInterval)) {
		if err := f.TellSeen(ctx); err != nil && ctx.Err() == nil {
			f.cfg.Logger.Debug("the control plane was not told what was seen", "error", err)
		}
	}
}

// TellSeen tells the control plane now what was seen since New.
func (f *Follower) TellSeen(ctx context.Context) error {
	r := &mintmarkv1.ReportSeenRequest{Since: timestamppb.New(f.began), Time: timestamppb.New(f.cfg.Now())}
	f.mu.Lock()
	slots := f.slots
	f.mu.Unlock()
	if slots == nil {
		return nil // nothing was routed yet
	}
	if f.cfg.Seen != nil {
		f.cfg.Seen(func(pool string, owner idspace.Owner, slot uint8, last time.Time) {
			if g, ok := slots[pool][slot]; ok {
				r.Spaces = append(r.Spaces, &mintmarkv1.SeenSpace{
					Pool: pool, Owner: string(owner), Generation: uint32(g), LastSeen: timestamppb.New(last), //nolint:gosec // a counter of rotations
				})
			}
		})
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return f.cfg.Source.ReportSeen(call, r)
}

// wait waits for d, and reports whether ctx is still on.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
