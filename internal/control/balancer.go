package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/rollout"
	"github.com/mintmark/mintmark/internal/store"
)

// balancerAPI implements BalancerService.
type balancerAPI struct{ s *Server }

// WatchSnapshots implements BalancerService.
func (a *balancerAPI) WatchSnapshots(ctx context.Context, r *connect.Request[mintmarkv1.WatchSnapshotsRequest], stream *connect.ServerStream[mintmarkv1.WatchSnapshotsResponse]) error {
	id, _ := access.From(ctx)
	return rpcError(a.s.Balancer(id.Name).Watch(ctx, r.Msg, stream.Send))
}

// Acknowledge implements BalancerService.
func (a *balancerAPI) Acknowledge(ctx context.Context, r *connect.Request[mintmarkv1.AcknowledgeRequest]) (*connect.Response[mintmarkv1.AcknowledgeResponse], error) {
	id, _ := access.From(ctx)
	if err := a.s.Balancer(id.Name).Acknowledge(ctx, r.Msg); err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&mintmarkv1.AcknowledgeResponse{}), nil
}

// ReportSeen implements BalancerService.
func (a *balancerAPI) ReportSeen(ctx context.Context, r *connect.Request[mintmarkv1.ReportSeenRequest]) (*connect.Response[mintmarkv1.ReportSeenResponse], error) {
	id, _ := access.From(ctx)
	if err := a.s.Balancer(id.Name).ReportSeen(ctx, r.Msg); err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&mintmarkv1.ReportSeenResponse{}), nil
}

// A Balancer is what one balancer asks of the control plane, here or through
// the API.
type Balancer struct {
	s    *Server
	name string
}

// Balancer returns the balancer of that name.
func (s *Server) Balancer(name string) *Balancer { return &Balancer{s, name} }

// Enroll makes the balancer known, if it is not: it is for the one in the
// control plane's own process, which joins without a token.
func (b *Balancer) Enroll(ctx context.Context) error {
	e, err := b.s.get(ctx, prefixBalancers+b.name)
	if err != nil || e.Revision != 0 {
		return err
	}
	return b.s.joined(ctx, b.name)
}

// Watch sends the snapshot that is in force, and each later one, until ctx
// ends or send fails.
func (b *Balancer) Watch(ctx context.Context, _ *mintmarkv1.WatchSnapshotsRequest, send func(*mintmarkv1.WatchSnapshotsResponse) error) error {
	defer b.s.online(prefixBalancers + b.name)()
	hints, err := b.s.store.Watch(ctx, prefixRoutes)
	if err != nil {
		return err
	}
	var sent []store.Entry
	first := true
	for range hints {
		entries, rev, err := b.s.store.List(ctx, prefixRoutes)
		if err != nil {
			return err
		}
		if !first && slices.EqualFunc(entries, sent, func(x, y store.Entry) bool { return x.Key == y.Key && x.Revision == y.Revision }) {
			continue
		}
		// Before it can have a pool's routes, the pool's rollout must know
		// that it has to wait for it.
		for _, e := range entries {
			if err := b.known(ctx, trimmed(e.Key, prefixRoutes)); err != nil {
				return err
			}
		}
		snapshot, err := snapshotOf(entries, rev)
		if err != nil {
			return err
		}
		if err := send(snapshot); err != nil {
			return err
		}
		sent, first = entries, false
	}
	return ctx.Err()
}

// known makes sure that the rollout of a pool knows the balancer.
func (b *Balancer) known(ctx context.Context, pool string) error {
	_, err := b.s.change(ctx, pool, nil, func(c *change) error {
		if c.pool == nil || c.rollout == nil {
			return nil
		}
		if slices.ContainsFunc(c.rollout.Balancers(), func(s rollout.BalancerStatus) bool { return s.Name == b.name }) {
			return nil
		}
		return c.tell(rollout.BalancerJoined{Name: b.name, At: c.at})
	})
	if errors.Is(err, errNoPool) {
		return nil // it went meanwhile
	}
	return err
}

func snapshotOf(entries []store.Entry, revision uint64) (*mintmarkv1.WatchSnapshotsResponse, error) {
	s := &mintmarkv1.WatchSnapshotsResponse{Revision: revision, Plans: make(map[string][]byte)}
	var text strings.Builder
	text.WriteString("pools:\n")
	for _, e := range entries {
		var r routesDocument
		if err := json.Unmarshal(e.Value, &r); err != nil {
			return nil, fmt.Errorf("the store's document %s is damaged: %w", e.Key, err)
		}
		text.WriteString(strings.TrimPrefix(r.YAML, "pools:\n"))
		if r.Plan != nil {
			s.Plans[trimmed(e.Key, prefixRoutes)] = r.Plan
		}
	}
	if s.PoolsYaml = text.String(); len(entries) == 0 {
		s.PoolsYaml = "pools: []\n"
	}
	return s, nil
}

// Acknowledge notes that the balancer has a snapshot on disk and live.
func (b *Balancer) Acknowledge(ctx context.Context, r *mintmarkv1.AcknowledgeRequest) error {
	entries, rev, err := b.s.store.List(ctx, prefixRoutes)
	if err != nil {
		return err
	}
	if r.GetRevision() > rev {
		return &invalidError{fmt.Errorf("revision %d is acknowledged; the newest is %d", r.GetRevision(), rev)}
	}
	if err := b.acked(ctx, r.GetRevision()); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Revision > r.GetRevision() {
			continue // it was changed since
		}
		_, err := b.s.change(ctx, trimmed(e.Key, prefixRoutes), nil, func(c *change) error {
			if c.pool == nil || c.rollout == nil || c.before.routesRev > r.GetRevision() {
				return nil
			}
			return c.tell(rollout.BalancerAcked{Name: b.name, Version: c.before.routes.Version, At: c.at})
		})
		if err != nil && !errors.Is(err, errNoPool) {
			return err
		}
	}
	return nil
}

// A balancerDocument is what is known of a balancer.
type balancerDocument struct {
	Acknowledged uint64    `json:"acknowledged,omitempty"`
	At           time.Time `json:"at,omitzero"`
}

// acked notes for people what the balancer has. It fails when the balancer was
// removed.
func (b *Balancer) acked(ctx context.Context, revision uint64) error {
	e, err := b.s.store.Get(ctx, prefixBalancers+b.name)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(balancerDocument{Acknowledged: revision, At: b.s.now().UTC()})
	if err != nil {
		return err
	}
	_, err = b.s.store.Commit(ctx, store.Txn{
		If: []store.Condition{{Key: e.Key, Revision: e.Revision}}, Put: []store.Put{{Key: e.Key, Value: doc}},
	})
	if is[*store.ConflictError](err) {
		return nil // by another acknowledgement of its own
	}
	return err
}

// ReportSeen notes which spaces the balancer saw IDs of.
func (b *Balancer) ReportSeen(ctx context.Context, r *mintmarkv1.ReportSeenRequest) error {
	if !r.GetTime().IsValid() || !r.GetSince().IsValid() {
		return &invalidError{errors.New("since and time are needed")}
	}
	// Its clock may be another: what counts is how long ago something was.
	skew := b.s.now().Sub(r.GetTime().AsTime())
	byPool := make(map[string]map[rollout.SpaceID]time.Time)
	for _, sp := range r.GetSpaces() {
		if byPool[sp.GetPool()] == nil {
			byPool[sp.GetPool()] = make(map[rollout.SpaceID]time.Time)
		}
		id := rollout.SpaceID{Owner: rollout.ServerName(sp.GetOwner()), Generation: uint64(sp.GetGeneration())}
		byPool[sp.GetPool()][id] = sp.GetLastSeen().AsTime().Add(skew).UTC()
	}
	return b.s.everyRollout(ctx, func(c *change) error {
		// What it saw is told again as long as it runs, so nothing is lost
		// by not writing it down while nothing depends on it.
		if !c.rollout.Retiring() {
			return nil
		}
		return c.tell(rollout.BalancerSaw{
			Name: b.name, Since: r.GetSince().AsTime().Add(skew).UTC(), Spaces: byPool[c.name], At: r.GetTime().AsTime().Add(skew).UTC(),
		})
	})
}
