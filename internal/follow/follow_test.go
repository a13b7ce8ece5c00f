package follow_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/follow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A plane is a control plane that sends what a test wants.
type plane struct {
	snapshots chan *follow.Snapshot // nil ends the stream
	acks      chan uint64
	mu        sync.Mutex
	seen      *mintmarkv1.ReportSeenRequest
}

func newPlane() *plane {
	return &plane{snapshots: make(chan *follow.Snapshot), acks: make(chan uint64, 16)}
}

var errAway = errors.New("away")

func (p *plane) Watch(ctx context.Context, _ *mintmarkv1.WatchSnapshotsRequest, send func(*follow.Snapshot) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s := <-p.snapshots:
			if s == nil {
				return errAway
			}
			if err := send(s); err != nil {
				return err
			}
		}
	}
}

func (p *plane) Acknowledge(_ context.Context, r *mintmarkv1.AcknowledgeRequest) error {
	p.acks <- r.GetRevision()
	return nil
}

func (p *plane) ReportSeen(_ context.Context, r *mintmarkv1.ReportSeenRequest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = r
	return nil
}

func run(t *testing.T, c follow.Config) *follow.Follower {
	t.Helper()
	f := follow.New(c)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return f
}

// An acknowledgement says that the snapshot is on disk and live. One that was
// refused is not acknowledged, and the next one is.
func TestAcknowledgedIsOnDiskAndLive(t *testing.T) {
	t.Parallel()
	p := newPlane()
	cache := filepath.Join(t.TempDir(), "snapshot")
	var live uint64
	run(t, follow.Config{Source: p, Cache: cache, Apply: func(_ context.Context, s *follow.Snapshot) error {
		info, err := os.Stat(cache)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("revision %d is applied, and on disk there is %v, %v", s.GetRevision(), info, err)
		}
		if s.GetRevision() == 2 {
			return errors.New("it is no good")
		}
		live = s.GetRevision()
		return nil
	}})
	p.snapshots <- &follow.Snapshot{Revision: 1}
	if got := <-p.acks; got != 1 || live != 1 {
		t.Errorf("revision %d is acknowledged, %d is live", got, live)
	}
	p.snapshots <- &follow.Snapshot{Revision: 2}
	p.snapshots <- nil // the stream breaks, and is taken up again
	p.snapshots <- &follow.Snapshot{Revision: 3}
	if got := <-p.acks; got != 3 {
		t.Errorf("revision %d is acknowledged; want 3, because 2 was refused", got)
	}
	var stale uint64
	f := follow.New(follow.Config{Source: p, Cache: cache, Apply: func(_ context.Context, s *follow.Snapshot) error {
		stale = s.GetRevision()
		return nil
	}})
	if err := f.ServeStale(t.Context()); err != nil || stale != 3 {
		t.Errorf("the cache has revision %d, %v; want 3", stale, err)
	}
}

// Without a cache, or with a damaged one, nothing is served.
func TestServeStaleWithoutACache(t *testing.T) {
	t.Parallel()
	cache := filepath.Join(t.TempDir(), "snapshot")
	f := follow.New(follow.Config{Source: newPlane(), Cache: cache, Apply: func(context.Context, *follow.Snapshot) error {
		t.Error("something was applied")
		return nil
	}})
	if err := f.ServeStale(t.Context()); !errors.Is(err, follow.ErrNoCache) {
		t.Errorf("got %v", err)
	}
	for _, damaged := range []string{"", "mintmark snapshot 1\n\xff\xff", "something else"} {
		if err := os.WriteFile(cache, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.ServeStale(t.Context()); err == nil {
			t.Errorf("the cache %q was served", damaged)
		}
	}
}

// What was seen is told by generation, of slots that the plan has.
func TestSeenIsToldByGeneration(t *testing.T) {
	t.Parallel()
	plan, err := idspace.NextPlan(nil, idspace.Change{
		At: time.Unix(1, 0), Scheme: &idspace.Scheme{Kind: idspace.SchemeRanges}, Members: []idspace.Member{{Owner: "a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 8 { // so that numbers and slots differ
		var dead []uint64
		if n := len(plan.Generations()); n > 1 {
			dead = append(dead, plan.Generations()[0].Number)
		}
		if plan, err = idspace.NextPlan(plan, idspace.Change{At: time.Unix(2, 0), DeadGenerations: dead, Open: &idspace.OpenGeneration{}}); err != nil {
			t.Fatal(err)
		}
	}
	p := newPlane()
	last := time.Unix(1_900_000_000, 0)
	f := run(t, follow.Config{
		Source: p, Cache: filepath.Join(t.TempDir(), "snapshot"), Apply: func(context.Context, *follow.Snapshot) error { return nil },
		Seen: func(tell func(string, idspace.Owner, uint8, time.Time)) {
			for _, g := range plan.Generations() {
				tell("web", "a", g.Slot, last)
			}
			tell("web", "a", 6, last)   // of no generation
			tell("other", "a", 0, last) // of no plan
		},
	})
	p.snapshots <- &follow.Snapshot{Revision: 1, Plans: map[string][]byte{"web": plan.Encode()}}
	<-p.acks
	if err := f.TellSeen(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var got, want []uint32
	for _, s := range p.seen.GetSpaces() {
		got = append(got, s.GetGeneration())
		if !s.GetLastSeen().AsTime().Equal(last) {
			t.Errorf("last seen %v; want %v", s.GetLastSeen().AsTime(), last)
		}
	}
	for _, g := range plan.Generations() {
		want = append(want, uint32(g.Number))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("generations (-want +got)\n%s", diff)
	}
}
