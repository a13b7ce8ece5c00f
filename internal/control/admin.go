package control

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/rollout"
)

// adminAPI implements ControlService.
type adminAPI struct{ s *Server }

// acting is who makes a change, for the audit log.
func acting(ctx context.Context, verb, on string, from uint64) *act {
	id, _ := access.From(ctx)
	return &act{who: id, verb: verb, on: on, from: from}
}

// ListPools implements ControlService.
func (a *adminAPI) ListPools(ctx context.Context, _ *connect.Request[mintmarkv1.ListPoolsRequest]) (*connect.Response[mintmarkv1.ListPoolsResponse], error) {
	pools, rev, err := a.s.pools(ctx)
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&mintmarkv1.ListPoolsResponse{Revision: rev, Pools: pools}), nil
}

// PutPool implements ControlService.
func (a *adminAPI) PutPool(ctx context.Context, r *connect.Request[mintmarkv1.PutPoolRequest]) (*connect.Response[mintmarkv1.PutPoolResponse], error) {
	m := r.Msg.GetPool()
	if err := checkName(m.GetName()); err != nil {
		return nil, rpcError(err)
	}
	out := &mintmarkv1.PutPoolResponse{}
	rev, err := a.s.change(ctx, m.GetName(), acting(ctx, "put pool", m.GetName(), r.Msg.GetFromRevision()), func(c *change) error {
		next, err := poolFrom(m)
		if err != nil {
			return &invalidError{err}
		}
		if c.pool != nil {
			if len(next.Servers) > 0 {
				return &invalidError{fmt.Errorf("pool %s exists: its servers are changed one by one (mintmark server)", c.name)}
			}
			next.Servers = c.pool.Servers
		}
		c.pool = next
		out.Diff, err = c.planned(ctx, r.Msg.GetDryRun())
		out.Pool = poolTo(c.name, c.pool, 0)
		return err
	})
	if err != nil {
		return nil, rpcError(err)
	}
	out.Pool.Revision = rev
	return connect.NewResponse(out), nil
}

// planned configures the rollout after a change of the pool, and tells what
// became of its spaces.
func (c *change) planned(ctx context.Context, dryRun bool) (*mintmarkv1.PlanDiff, error) {
	before := c.rollout
	if err := c.configure(ctx); err != nil {
		return nil, err
	}
	c.dryRun = dryRun
	return diff(before, c.rollout, c.at), nil
}

// DeletePool implements ControlService.
func (a *adminAPI) DeletePool(ctx context.Context, r *connect.Request[mintmarkv1.DeletePoolRequest]) (*connect.Response[mintmarkv1.DeletePoolResponse], error) {
	name := r.Msg.GetName()
	var servers []serverDocument
	rev, err := a.s.change(ctx, name, acting(ctx, "delete pool", name, r.Msg.GetFromRevision()), func(c *change) error {
		if c.pool == nil {
			return errNoPool
		}
		servers, c.pool = c.pool.Servers, nil
		return nil
	})
	if err != nil {
		return nil, rpcError(err)
	}
	for _, s := range servers {
		if err := a.s.access.Revoke(ctx, access.RoleAgent, name, s.Name); err != nil {
			return nil, rpcError(err)
		}
	}
	return connect.NewResponse(&mintmarkv1.DeletePoolResponse{Revision: rev}), nil
}

// AddServer implements ControlService.
func (a *adminAPI) AddServer(ctx context.Context, r *connect.Request[mintmarkv1.AddServerRequest]) (*connect.Response[mintmarkv1.AddServerResponse], error) {
	on := r.Msg.GetPool() + "/" + r.Msg.GetServer().GetName()
	out := &mintmarkv1.AddServerResponse{}
	rev, err := a.s.change(ctx, r.Msg.GetPool(), acting(ctx, "add server", on, r.Msg.GetFromRevision()), func(c *change) error {
		if c.pool == nil {
			return errNoPool
		}
		if c.pool.server(r.Msg.GetServer().GetName()) != nil {
			return connect.NewError(connect.CodeAlreadyExists, fmt.Errorf("pool %s has a server %s already", c.name, r.Msg.GetServer().GetName()))
		}
		next, err := serverFrom(r.Msg.GetServer())
		if err != nil {
			return &invalidError{err}
		}
		c.pool.Servers = append(c.pool.Servers, next)
		c.haveGroup(next.Group)
		out.Diff, err = c.planned(ctx, r.Msg.GetDryRun())
		return err
	})
	if err != nil {
		return nil, rpcError(err)
	}
	out.Revision = rev
	return connect.NewResponse(out), nil
}

// haveGroup defines a group that a server is put into, so that nobody has to
// do it first.
func (c *change) haveGroup(name string) {
	if name != "" && !slices.ContainsFunc(c.pool.Groups, func(g groupDocument) bool { return g.Name == name }) {
		c.pool.Groups = append(c.pool.Groups, groupDocument{Name: name})
	}
}

// UpdateServer implements ControlService.
func (a *adminAPI) UpdateServer(ctx context.Context, r *connect.Request[mintmarkv1.UpdateServerRequest]) (*connect.Response[mintmarkv1.UpdateServerResponse], error) {
	m := r.Msg
	on := m.GetPool() + "/" + m.GetServer()
	out := &mintmarkv1.UpdateServerResponse{}
	rev, err := a.s.change(ctx, m.GetPool(), acting(ctx, "update server", on, m.GetFromRevision()), func(c *change) error {
		server, err := c.serverOf(m.GetServer())
		if err != nil {
			return err
		}
		server.update(m)
		c.haveGroup(server.Group)
		out.Diff, err = c.planned(ctx, m.GetDryRun())
		return err
	})
	if err != nil {
		return nil, rpcError(err)
	}
	out.Revision = rev
	return connect.NewResponse(out), nil
}

func (s *serverDocument) update(m *mintmarkv1.UpdateServerRequest) {
	if m.Address != nil {
		s.Address = m.GetAddress()
	}
	if m.Group != nil {
		s.Group = m.GetGroup()
	}
	if m.Weight != nil {
		s.Weight = m.Weight
	}
	if m.Share != nil {
		s.Share = m.Share
	}
	if m.MaxConnections != nil {
		s.MaxConnections = m.GetMaxConnections()
	}
	if m.Draining != nil {
		s.Draining = m.GetDraining()
	}
	if m.MintsMarks != nil {
		s.MintsMarks = m.GetMintsMarks()
	}
}

func (c *change) serverOf(name string) (*serverDocument, error) {
	if c.pool == nil {
		return nil, errNoPool
	}
	server := c.pool.server(name)
	if server == nil {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("pool %s has no server %q", c.name, clipped(name, 64)))
	}
	return server, nil
}

// RemoveServer implements ControlService.
func (a *adminAPI) RemoveServer(ctx context.Context, r *connect.Request[mintmarkv1.RemoveServerRequest]) (*connect.Response[mintmarkv1.RemoveServerResponse], error) {
	m := r.Msg
	out := &mintmarkv1.RemoveServerResponse{}
	rev, err := a.s.change(ctx, m.GetPool(), acting(ctx, "remove server", m.GetPool()+"/"+m.GetServer(), m.GetFromRevision()), func(c *change) error {
		if _, err := c.serverOf(m.GetServer()); err != nil {
			return err
		}
		c.pool.Servers = slices.DeleteFunc(c.pool.Servers, func(s serverDocument) bool { return s.Name == m.GetServer() })
		delete(c.agents, m.GetServer())
		var err error
		out.Diff, err = c.planned(ctx, m.GetDryRun())
		return err
	})
	if err != nil {
		return nil, rpcError(err)
	}
	if !m.GetDryRun() {
		// After the change: an agent that was refused too early is worse off
		// than one that is let in a moment longer, to an assignment of none.
		if err := a.s.access.Revoke(ctx, access.RoleAgent, m.GetPool(), m.GetServer()); err != nil {
			return nil, rpcError(err)
		}
	}
	out.Revision = rev
	return connect.NewResponse(out), nil
}

// GetRollout implements ControlService.
func (a *adminAPI) GetRollout(ctx context.Context, r *connect.Request[mintmarkv1.GetRolloutRequest]) (*connect.Response[mintmarkv1.GetRolloutResponse], error) {
	c, err := a.s.load(ctx, r.Msg.GetPool())
	if err == nil && c.pool == nil {
		err = errNoPool
	}
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&mintmarkv1.GetRolloutResponse{Rollout: rolloutTo(c.name, c.rollout, c.at)}), nil
}

// errNotPlanned is the error of rolling out where nothing is.
var errNotPlanned = errors.New("the pool has no planned scheme: there is nothing to roll out")

// AdvanceRollout implements ControlService.
func (a *adminAPI) AdvanceRollout(ctx context.Context, r *connect.Request[mintmarkv1.AdvanceRolloutRequest]) (*connect.Response[mintmarkv1.AdvanceRolloutResponse], error) {
	out := &mintmarkv1.AdvanceRolloutResponse{}
	_, err := a.s.change(ctx, r.Msg.GetPool(), acting(ctx, "advance rollout", r.Msg.GetPool(), 0), func(c *change) error {
		if err := c.isPlanned(); err != nil {
			return err
		}
		e := rollout.Override{Costs: r.Msg.GetAcceptedCosts(), At: c.at}
		for _, w := range r.Msg.GetWaits() {
			e.Waits = append(e.Waits, rollout.WaitID{Kind: w.GetKind(), Name: w.GetName()})
		}
		if len(e.Waits) == 0 {
			return &invalidError{errors.New("name the waits to override, by kind and name (mintmark rollout status)")}
		}
		if err := c.tell(e); err != nil {
			return refusal(err)
		}
		out.Rollout = rolloutTo(c.name, c.rollout, c.at)
		return nil
	})
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(out), nil
}

func (c *change) isPlanned() error {
	if c.pool == nil {
		return errNoPool
	}
	if c.rollout == nil {
		return &invalidError{errNotPlanned}
	}
	return nil
}

// refusal is what a step of the rollout is refused with.
func refusal(err error) error {
	if is[*rollout.CostError](err) {
		return err
	}
	return connect.NewError(connect.CodeFailedPrecondition, err)
}

// Rotate implements ControlService.
func (a *adminAPI) Rotate(ctx context.Context, r *connect.Request[mintmarkv1.RotateRequest]) (*connect.Response[mintmarkv1.RotateResponse], error) {
	out := &mintmarkv1.RotateResponse{}
	rev, err := a.s.change(ctx, r.Msg.GetPool(), acting(ctx, "rotate", r.Msg.GetPool(), r.Msg.GetFromRevision()), func(c *change) error {
		if err := c.isPlanned(); err != nil {
			return err
		}
		out.Warnings = c.rollout.RotationCosts(c.at)
		if err := c.tell(rollout.Rotate{Key: newMarkKey(), EndSessions: r.Msg.GetEndSessions(), At: c.at}); err != nil {
			return refusal(err)
		}
		return nil
	})
	if err != nil {
		return nil, rpcError(err)
	}
	out.Revision = rev
	return connect.NewResponse(out), nil
}
