package control

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/rollout"
	"github.com/mintmark/mintmark/internal/store"
)

// enrollAPI implements EnrollService.
type enrollAPI struct{ s *Server }

// Join implements EnrollService.
func (a *enrollAPI) Join(ctx context.Context, r *connect.Request[mintmarkv1.JoinRequest]) (*connect.Response[mintmarkv1.JoinResponse], error) {
	chain, id, err := a.s.access.Redeem(ctx, r.Msg.GetToken(), r.Msg.GetCsr())
	switch {
	case errors.Is(err, access.ErrToken):
		return nil, connect.NewError(connect.CodeUnauthenticated, err)
	case err != nil:
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	// From now on it is waited for, although it has asked for nothing yet.
	if id.Role == access.RoleBalancer {
		if err := a.s.joined(ctx, id.Name); err != nil {
			return nil, rpcError(err)
		}
	}
	return connect.NewResponse(&mintmarkv1.JoinResponse{
		Certificates: chain, Role: string(id.Role), Name: id.Name, Pool: id.Pool,
	}), nil
}

// Renew implements EnrollService.
func (a *enrollAPI) Renew(ctx context.Context, r *connect.Request[mintmarkv1.RenewRequest]) (*connect.Response[mintmarkv1.RenewResponse], error) {
	id, _ := access.From(ctx)
	if id.Joined == "" {
		return nil, connect.NewError(connect.CodePermissionDenied, errors.New("only who has a certificate renews it"))
	}
	chain, err := a.s.access.Renew(ctx, id, r.Msg.GetCsr())
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&mintmarkv1.RenewResponse{Certificates: chain}), nil
}

// joined makes a balancer known to every rollout, with nothing acknowledged:
// whatever was known of one of its name was another's, or is lost.
func (s *Server) joined(ctx context.Context, name string) error {
	if _, err := s.store.Commit(ctx, store.Txn{Put: []store.Put{{Key: prefixBalancers + name, Value: []byte("{}")}}}); err != nil {
		return err
	}
	return s.everyRollout(ctx, func(c *change) error { return c.tell(rollout.BalancerJoined{Name: name, At: c.at}) })
}

// everyRollout makes a change to each planned pool.
func (s *Server) everyRollout(ctx context.Context, f func(*change) error) error {
	all, _, err := s.store.List(ctx, prefixRollouts)
	if err != nil {
		return err
	}
	for _, e := range all {
		_, err := s.change(ctx, trimmed(e.Key, prefixRollouts), nil, func(c *change) error {
			if c.pool == nil {
				return errNoPool
			}
			return f(c)
		})
		if err != nil && !errors.Is(err, errNoPool) {
			return err
		}
	}
	return nil
}
