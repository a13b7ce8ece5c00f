package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/control/rollout"
	"github.com/mintmark/mintmark/internal/store"
)

// maxHistory is how many earlier states of a pool are kept: what somebody goes
// back to is the last or the one before, and a pool of 3,000 servers has some
// 300 KB.
const maxHistory = 20

// remember keeps what is wanted of the pool beside the audit entry of the
// change, so that somebody can go back to it.
func (c *change) remember(ctx context.Context, t *store.Txn) error {
	all, _, err := c.s.store.List(ctx, prefixHistory+c.name+"/")
	if err != nil {
		return fmt.Errorf("reading the history of %s: %w", c.name, err)
	}
	if c.pool == nil {
		for _, e := range all {
			t.Delete = append(t.Delete, e.Key)
		}
		return nil
	}
	doc, err := json.Marshal(c.pool)
	if err != nil {
		return fmt.Errorf("writing pool %s: %w", c.name, err)
	}
	if bytes.Equal(doc, c.before.pool) {
		return nil
	}
	// Settings may hold keys of a scheme that somebody wrote by hand.
	// The key is the revision that was changed: it only grows, while clocks differ.
	key := fmt.Sprintf("%s%s/%020d", prefixHistory, c.name, c.poolRev)
	t.Put = append(t.Put, store.Put{Key: key, Value: doc, Secret: true})
	for i := range max(0, len(all)-maxHistory+1) {
		t.Delete = append(t.Delete, all[i].Key)
	}
	return nil
}

// restorable returns the pools whose states are kept, by the revision of the
// change.
func (s *Server) restorable(ctx context.Context) (map[uint64]string, error) {
	all, _, err := s.store.List(ctx, prefixHistory)
	if err != nil {
		return nil, err
	}
	kept := make(map[uint64]string)
	for _, e := range all {
		pool, _, _ := strings.Cut(trimmed(e.Key, prefixHistory), "/")
		kept[e.Revision] = pool
	}
	return kept, nil
}

// stateAt returns what was wanted of a pool after a change.
func (s *Server) stateAt(ctx context.Context, pool string, revision uint64) (*poolDocument, error) {
	all, _, err := s.store.List(ctx, prefixHistory+pool+"/")
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if e.Revision != revision {
			continue
		}
		d := new(poolDocument)
		if err := json.Unmarshal(e.Value, d); err != nil {
			return nil, fmt.Errorf("the store's document %s is damaged: %w", e.Key, err)
		}
		return d, nil
	}
	return nil, connect.NewError(connect.CodeNotFound,
		fmt.Errorf("the state of pool %q after revision %d is not kept: the last %d are", clipped(pool, 64), revision, maxHistory))
}

// RestorePool implements ControlService.
func (a *adminAPI) RestorePool(ctx context.Context, r *connect.Request[mintmarkv1.RestorePoolRequest]) (*connect.Response[mintmarkv1.RestorePoolResponse], error) {
	m := r.Msg
	earlier, err := a.s.stateAt(ctx, m.GetPool(), m.GetRevision())
	if err != nil {
		return nil, rpcError(err)
	}
	out := &mintmarkv1.RestorePoolResponse{}
	verb := fmt.Sprintf("restore revision %d", m.GetRevision())
	rev, err := a.s.change(ctx, m.GetPool(), acting(ctx, verb, m.GetPool(), m.GetFromRevision()), func(c *change) error {
		if c.pool == nil {
			return errNoPool
		}
		before := c.rollout
		state := *earlier
		c.pool = &state
		if err := c.configure(ctx); err != nil {
			return err
		}
		if c.rollout != nil && before != nil {
			if err := c.tell(rollout.Rotate{Key: newMarkKey(), EndSessions: m.GetEndSessions(), At: c.at}); err != nil {
				return refusal(err)
			}
		}
		c.dryRun = m.GetDryRun()
		out.Diff, out.Pool = diff(before, c.rollout, c.at), poolTo(c.name, c.pool, 0)
		return nil
	})
	if err != nil {
		return nil, rpcError(err)
	}
	out.Revision, out.Pool.Revision = rev, rev
	return connect.NewResponse(out), nil
}
