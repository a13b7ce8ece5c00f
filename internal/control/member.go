package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/audit"
	"github.com/mintmark/mintmark/internal/control/rollout"
	"github.com/mintmark/mintmark/internal/store"
)

// CreateToken implements ControlService.
func (a *adminAPI) CreateToken(ctx context.Context, r *connect.Request[mintmarkv1.CreateTokenRequest]) (*connect.Response[mintmarkv1.CreateTokenResponse], error) {
	m := r.Msg
	role, err := access.ParseRole(m.GetRole())
	if err != nil {
		return nil, rpcError(&invalidError{err})
	}
	if role == access.RoleAgent {
		c, err := a.s.load(ctx, m.GetPool())
		if err != nil {
			return nil, rpcError(err)
		}
		if _, err := c.serverOf(m.GetName()); err != nil {
			return nil, rpcError(err)
		}
	}
	token, put, expires, err := a.s.access.NewToken(access.Spec{
		Role: role, Name: m.GetName(), Pool: m.GetPool(), Lifetime: m.GetLifetime().AsDuration(), Reusable: m.GetReusable(),
	})
	if err != nil {
		return nil, rpcError(&invalidError{err})
	}
	who, _ := access.From(ctx)
	on := access.Identity{Role: role, Name: m.GetName(), Pool: m.GetPool()}
	_, err = a.s.store.Commit(ctx, store.Txn{Put: []store.Put{put, audit.Put(a.s.now(), who, "create token", on.String(), 0)}})
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&mintmarkv1.CreateTokenResponse{Token: token, Expires: timestamppb.New(expires)}), nil
}

// ListMembers implements ControlService.
func (a *adminAPI) ListMembers(ctx context.Context, _ *connect.Request[mintmarkv1.ListMembersRequest]) (*connect.Response[mintmarkv1.ListMembersResponse], error) {
	balancers, err := a.s.balancers(ctx)
	if err != nil {
		return nil, rpcError(err)
	}
	all, _, err := a.s.store.List(ctx, prefixPools)
	if err != nil {
		return nil, rpcError(err)
	}
	out := &mintmarkv1.ListMembersResponse{Balancers: balancers}
	people, err := a.s.access.People(ctx)
	if err != nil {
		return nil, rpcError(err)
	}
	for _, p := range people {
		out.People = append(out.People, &mintmarkv1.Person{Name: p.Name, Role: string(p.Role), HasPassword: p.HasPassword})
	}
	for _, e := range all {
		c, err := a.s.load(ctx, trimmed(e.Key, prefixPools))
		if err != nil {
			return nil, rpcError(err)
		}
		out.Agents = append(out.Agents, c.agentList()...)
	}
	return connect.NewResponse(out), nil
}

func (s *Server) balancers(ctx context.Context) ([]*mintmarkv1.Balancer, error) {
	all, _, err := s.store.List(ctx, prefixBalancers)
	if err != nil {
		return nil, err
	}
	var out []*mintmarkv1.Balancer
	for _, e := range all {
		var doc balancerDocument
		if err := json.Unmarshal(e.Value, &doc); err != nil {
			return nil, fmt.Errorf("the store's document %s is damaged: %w", e.Key, err)
		}
		out = append(out, &mintmarkv1.Balancer{
			Name: trimmed(e.Key, prefixBalancers), Connected: s.isOnline(e.Key),
			LastSeen: stamp(doc.At), AcknowledgedRevision: doc.Acknowledged,
		})
	}
	return out, nil
}

// agentList is what is known of the agents of a pool.
func (c *change) agentList() []*mintmarkv1.Agent {
	if c.rollout == nil {
		return nil
	}
	var out []*mintmarkv1.Agent
	for _, st := range c.rollout.ServerStatus() {
		if !st.Agent && c.agents[string(st.Name)] == nil {
			continue
		}
		m := &mintmarkv1.Agent{
			Pool: c.name, Server: string(st.Name), Connected: c.s.isOnline(agentKey(c.name, string(st.Name))),
			LastSeen: stamp(st.At), Adapter: st.Report.Adapter, Verified: st.Report.Verified, Problem: st.Report.Problem,
			Stale: st.Stale, AssignedVersion: st.Version, AppliedVersion: st.Report.Version,
			Constraints: &mintmarkv1.Constraints{MarkBytes: st.Report.MarkBytes},
		}
		if st.Report.KeysKept != 0 {
			m.Constraints.KeysKept = &st.Report.KeysKept
		}
		for _, g := range st.Report.Minting {
			m.MintingGenerations = append(m.MintingGenerations, uint32(g)) //nolint:gosec // it came as one
		}
		out = append(out, m)
	}
	return out
}

// RemoveMember implements ControlService.
func (a *adminAPI) RemoveMember(ctx context.Context, r *connect.Request[mintmarkv1.RemoveMemberRequest]) (*connect.Response[mintmarkv1.RemoveMemberResponse], error) {
	m := r.Msg
	var rev uint64
	var err error
	balancer, agent, person := m.GetBalancer() != "", m.GetPool() != "" && m.GetServer() != "", m.GetPerson() != ""
	switch {
	case balancer && !agent && !person:
		rev, err = a.s.removeBalancer(ctx, m.GetBalancer())
	case agent && !balancer && !person:
		rev, err = a.s.removeAgent(ctx, m.GetPool(), m.GetServer())
	case person && !balancer && !agent:
		rev, err = a.s.removePerson(ctx, m.GetPerson())
	default:
		err = &invalidError{errors.New("name a balancer, or the pool and server of an agent, or a person")}
	}
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&mintmarkv1.RemoveMemberResponse{Revision: rev}), nil
}

// removeBalancer forgets a balancer. First it is kept out, then nothing waits
// for it any more: the other way round it could still get routes.
func (s *Server) removeBalancer(ctx context.Context, name string) (uint64, error) {
	e, err := s.store.Get(ctx, prefixBalancers+name)
	if errors.Is(err, store.ErrNotFound) {
		return 0, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no balancer %q (mintmark agents)", clipped(name, 64)))
	}
	if err != nil {
		return 0, err
	}
	if err := s.access.Revoke(ctx, access.RoleBalancer, "", name); err != nil {
		return 0, err
	}
	who, _ := access.From(ctx)
	rev, err := s.store.Commit(ctx, store.Txn{
		Delete: []string{e.Key}, Put: []store.Put{audit.Put(s.now(), who, "remove balancer", name, 0)},
	})
	if err != nil {
		return 0, err
	}
	return rev, s.everyRollout(ctx, func(c *change) error { return c.tell(rollout.BalancerLeft{Name: name, At: c.at}) })
}

func (s *Server) removeAgent(ctx context.Context, pool, server string) (uint64, error) {
	if err := s.access.Revoke(ctx, access.RoleAgent, pool, server); err != nil {
		return 0, err
	}
	return s.change(ctx, pool, acting(ctx, "remove agent", pool+"/"+server, 0), func(c *change) error {
		if _, err := c.serverOf(server); err != nil {
			return err
		}
		delete(c.agents, server)
		return c.tell(rollout.AgentLeft{Server: rollout.ServerName(server), At: c.at})
	})
}

// removePerson ends the sessions and the certificates of a person.
func (s *Server) removePerson(ctx context.Context, name string) (uint64, error) {
	who, _ := access.From(ctx)
	if who.Name == name {
		return 0, &invalidError{errors.New("nobody removes himself: another admin has to")}
	}
	rev, err := s.access.RemovePerson(ctx, name, audit.Put(s.now(), who, "remove person", name, 0))
	if errors.Is(err, store.ErrNotFound) {
		return 0, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no person %q", clipped(name, 64)))
	}
	if err != nil {
		return 0, err
	}
	for _, role := range []access.Role{access.RoleAdmin, access.RoleViewer} {
		if err := s.access.Revoke(ctx, role, "", name); err != nil {
			return 0, err
		}
	}
	return rev, nil
}

// pools returns all pools as the API shows them.
func (s *Server) pools(ctx context.Context) ([]*mintmarkv1.Pool, uint64, error) {
	all, rev, err := s.store.List(ctx, prefixPools)
	if err != nil {
		return nil, 0, err
	}
	var out []*mintmarkv1.Pool
	for _, e := range all {
		var d poolDocument
		if err := json.Unmarshal(e.Value, &d); err != nil {
			return nil, 0, fmt.Errorf("the store's document %s is damaged: %w", e.Key, err)
		}
		out = append(out, poolTo(trimmed(e.Key, prefixPools), &d, e.Revision))
	}
	return out, rev, nil
}

// GetStatus implements ControlService.
func (a *adminAPI) GetStatus(ctx context.Context, _ *connect.Request[mintmarkv1.GetStatusRequest]) (*connect.Response[mintmarkv1.GetStatusResponse], error) {
	pools, rev, err := a.s.pools(ctx)
	if err != nil {
		return nil, rpcError(err)
	}
	out := &mintmarkv1.GetStatusResponse{Revision: rev, Pools: pools}
	if out.Balancers, err = a.s.balancers(ctx); err != nil {
		return nil, rpcError(err)
	}
	for _, p := range pools {
		c, err := a.s.load(ctx, p.GetName())
		if err != nil {
			return nil, rpcError(err)
		}
		if c.rollout == nil {
			continue
		}
		out.Rollouts = append(out.Rollouts, rolloutTo(c.name, c.rollout, c.at))
		agents := c.agentList()
		out.Agents = append(out.Agents, agents...)
		out.Alarms = append(out.Alarms, alarms(agents)...)
	}
	return connect.NewResponse(out), nil
}

// alarms are what somebody should look at.
func alarms(agents []*mintmarkv1.Agent) []string {
	var out []string
	for _, m := range agents {
		on := "server " + m.GetPool() + "/" + m.GetServer()
		if m.GetProblem() != "" {
			out = append(out, on+": "+strings.ReplaceAll(m.GetProblem(), "\n", " "))
		}
		if m.GetStale() {
			out = append(out, on+" mints a generation that is gone and gets no new traffic until its agent has caught up")
		}
	}
	return out
}

// ListAudit implements ControlService.
func (a *adminAPI) ListAudit(ctx context.Context, r *connect.Request[mintmarkv1.ListAuditRequest]) (*connect.Response[mintmarkv1.ListAuditResponse], error) {
	limit := min(int(r.Msg.GetLimit()), audit.MaxEntries)
	if limit == 0 {
		limit = 100
	}
	all, err := audit.List(ctx, a.s.store, r.Msg.GetBeforeRevision(), limit)
	if err != nil {
		return nil, rpcError(err)
	}
	kept, err := a.s.restorable(ctx)
	if err != nil {
		return nil, rpcError(err)
	}
	out := &mintmarkv1.ListAuditResponse{}
	for _, e := range all {
		out.Entries = append(out.Entries, &mintmarkv1.AuditEntry{
			RestorablePool: kept[e.Revision],
			Revision:       e.Revision, Time: timestamppb.New(e.Time), Actor: e.Actor, Action: e.Action, Subject: e.Subject, FromRevision: e.FromRevision,
		})
	}
	return connect.NewResponse(out), nil
}
