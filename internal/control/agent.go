package control

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/rollout"
)

// Limits of what an agent may leave in the store.
const (
	// maxSealedBytes bounds one sealed key: some 80 bytes and age's header.
	maxSealedBytes = 4 << 10
	// maxSealedKeys bounds how many one agent leaves: partners times
	// generations, of groups that are meant to be small.
	maxSealedKeys = 256
	// maxProblemBytes bounds the text of a problem, which people read.
	maxProblemBytes = 1 << 10
	// maxRecipientBytes bounds an age recipient; an X25519 one has 62.
	maxRecipientBytes = 256
)

// agentAPI implements AgentService. Every call is about the server that the
// caller's certificate names, and no other can be asked for.
type agentAPI struct{ s *Server }

// WatchAssignments implements AgentService.
func (a *agentAPI) WatchAssignments(ctx context.Context, r *connect.Request[mintmarkv1.WatchAssignmentsRequest], stream *connect.ServerStream[mintmarkv1.WatchAssignmentsResponse]) error {
	id, _ := access.From(ctx)
	return rpcError(a.s.watchAssignments(ctx, id, r.Msg, stream.Send))
}

func (s *Server) watchAssignments(ctx context.Context, id access.Identity, r *mintmarkv1.WatchAssignmentsRequest, send func(*mintmarkv1.WatchAssignmentsResponse) error) error {
	if len(r.GetRecipient()) > maxRecipientBytes {
		return &invalidError{errors.New("the recipient is too long")}
	}
	defer s.online(agentKey(id.Pool, id.Name))()
	_, err := s.change(ctx, id.Pool, nil, func(c *change) error {
		if err := c.mayWatch(id, r.GetMintsMarks()); err != nil {
			return err
		}
		c.agent(id.Name).Recipient = r.GetRecipient()
		return nil
	})
	if err != nil {
		return err
	}
	// Its rollout changes what it is assigned, and its partners' agents what
	// they sealed for it.
	rollouts, err := s.store.Watch(ctx, prefixRollouts+id.Pool)
	if err != nil {
		return err
	}
	agents, err := s.store.Watch(ctx, prefixAgents+id.Pool+"/")
	if err != nil {
		return err
	}
	var sent *mintmarkv1.Assignment
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-rollouts:
			if !ok {
				return ctx.Err()
			}
		case _, ok := <-agents:
			if !ok {
				return ctx.Err()
			}
		}
		c, err := s.load(ctx, id.Pool)
		if err != nil {
			return err
		}
		if err := c.mayWatch(id, r.GetMintsMarks()); err != nil {
			return err
		}
		m := c.assignment(id.Name, r.GetMintsMarks())
		if m == nil || proto.Equal(m, sent) {
			continue
		}
		if err := send(&mintmarkv1.WatchAssignmentsResponse{Assignment: m}); err != nil {
			return err
		}
		sent = m
	}
}

// mayWatch refuses agents of servers that are not there, and mark keys to
// agents of stock servers.
func (c *change) mayWatch(id access.Identity, mintsMarks bool) error {
	if c.pool == nil {
		return errNoPool
	}
	server := c.pool.server(id.Name)
	if server == nil {
		return connect.NewError(connect.CodeNotFound, fmt.Errorf("pool %s has no server %s", id.Pool, id.Name))
	}
	if mintsMarks && !server.MintsMarks {
		return connect.NewError(connect.CodePermissionDenied,
			fmt.Errorf("server %s/%s is a stock server and gets no mark key (an admin says otherwise with mints_marks)", id.Pool, id.Name))
	}
	return nil
}

// agent returns what is kept of an agent, a new document if it is new.
func (c *change) agent(name string) *agentDocument {
	if c.agents[name] == nil {
		c.agents[name] = &agentDocument{}
	}
	return c.agents[name]
}

// assignment is what a server must do now; nil: nothing yet.
func (c *change) assignment(server string, mintsMarks bool) *mintmarkv1.Assignment {
	if c.rollout == nil {
		return nil
	}
	a, ok := c.rollout.Assignment(rollout.ServerName(server))
	if !ok {
		return nil
	}
	m := &mintmarkv1.Assignment{
		Version: a.Version, Pool: c.name, Server: server, Group: a.Group, Kind: string(a.Kind),
		PartnerRecipients: make(map[string]string),
	}
	for _, k := range a.Keys {
		key := &mintmarkv1.AssignedKey{
			Owner: string(k.Space.Owner), Generation: uint32(k.Space.Generation), //nolint:gosec // a counter of rotations
			Use: mintmarkv1.KeyUse_KEY_USE_DECRYPT, KeyName: k.Name, Prefix: k.Prefix, Text: k.Text,
			MarkBits: uint32(k.MarkBits), ServerNumber: k.Number, //nolint:gosec // at most 256
		}
		if k.Encrypt {
			key.Use = mintmarkv1.KeyUse_KEY_USE_ENCRYPT
		}
		if mintsMarks && !k.MarkKey.IsZero() {
			key.MarkKey = k.MarkKey.Reveal()
		}
		if owner := c.agents[key.GetOwner()]; key.GetOwner() != server && owner != nil {
			if sealed := owner.Keys[server][k.Space.Generation]; sealed.Recipient == c.recipient(server) {
				key.Sealed = sealed.Sealed
			}
		}
		m.Keys = append(m.Keys, key)
	}
	for _, s := range c.pool.Servers {
		if a.Group != "" && s.Group == a.Group && s.Name != server && c.recipient(s.Name) != "" {
			m.PartnerRecipients[s.Name] = c.recipient(s.Name)
		}
	}
	return m
}

func (c *change) recipient(server string) string {
	if c.agents[server] == nil {
		return ""
	}
	return c.agents[server].Recipient
}

// Report implements AgentService.
func (a *agentAPI) Report(ctx context.Context, r *connect.Request[mintmarkv1.ReportRequest]) (*connect.Response[mintmarkv1.ReportResponse], error) {
	id, _ := access.From(ctx)
	_, err := a.s.change(ctx, id.Pool, nil, func(c *change) error {
		if c.pool == nil {
			return errNoPool
		}
		if c.pool.server(id.Name) == nil {
			return connect.NewError(connect.CodeNotFound, fmt.Errorf("pool %s has no server %s", id.Pool, id.Name))
		}
		if err := c.keepSealed(id.Name, r.Msg.GetKeysForPartners()); err != nil {
			return err
		}
		if r.Msg.Capacity != nil {
			if r.Msg.GetCapacity() > maxCapacity {
				return &invalidError{fmt.Errorf("a capacity of %d: it is at most %d", r.Msg.GetCapacity(), maxCapacity)}
			}
			c.agent(id.Name).Capacity = r.Msg.Capacity
		}
		if err := c.tell(rollout.AgentReported{Server: rollout.ServerName(id.Name), Report: reportOf(r.Msg), At: c.at}); err != nil {
			return &invalidError{err}
		}
		return nil
	})
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&mintmarkv1.ReportResponse{}), nil
}

// maxCapacity is the largest weight.
const maxCapacity = 1000

func reportOf(r *mintmarkv1.ReportRequest) rollout.Report {
	report := rollout.Report{
		Version: r.GetVersion(), OldWorkersGone: r.GetOldWorkersGone(), Verified: r.GetVerified(),
		Problem: clipped(r.GetProblem(), maxProblemBytes), RunsOut: r.GetSpaceRunsOut(), Adapter: clipped(r.GetAdapter(), maxProblemBytes),
		KeysKept: r.GetConstraints().GetKeysKept(), MarkBytes: r.GetConstraints().GetMarkBytes(),
		Minting: generations(r.GetMintingGenerations()), NoSessions: generations(r.GetGenerationsWithoutSessions()),
	}
	for _, h := range r.GetHeld() {
		report.Held = append(report.Held, rollout.SpaceID{Owner: rollout.ServerName(h.GetOwner()), Generation: uint64(h.GetGeneration())})
	}
	return report
}

func generations(in []uint32) []uint64 {
	var out []uint64
	for _, g := range in {
		out = append(out, uint64(g))
	}
	return out
}

// keepSealed keeps keys that an agent sealed for its partners, and forgets
// those of generations that are gone.
func (c *change) keepSealed(server string, keys []*mintmarkv1.KeyForPartner) error {
	agent := c.agent(server)
	live := make(map[uint64]bool)
	if c.rollout != nil {
		for _, sp := range c.rollout.Status(c.at).Spaces {
			live[sp.Generation] = true
		}
	}
	all := make(map[string]map[uint64]sealedKey)
	n := 0
	keep := func(partner string, g uint64, k sealedKey) {
		if all[partner] == nil {
			all[partner] = make(map[uint64]sealedKey)
		}
		if _, again := all[partner][g]; !again {
			n++
		}
		all[partner][g] = k
	}
	for partner, of := range agent.Keys {
		for g, k := range of {
			if live[g] && c.pool.server(partner) != nil && k.Recipient == c.recipient(partner) {
				keep(partner, g, k)
			}
		}
	}
	for _, k := range keys {
		partner := c.pool.server(k.GetPartner())
		if partner == nil || partner.Group == "" || partner.Group != c.pool.server(server).Group {
			return &invalidError{fmt.Errorf("server %s is no partner of %s: keys go to servers of the same group", clipped(k.GetPartner(), 64), server)}
		}
		if len(k.GetSealed()) > maxSealedBytes {
			return &invalidError{errors.New("a sealed key is too long")}
		}
		if live[uint64(k.GetGeneration())] && k.GetRecipient() == c.recipient(k.GetPartner()) {
			keep(k.GetPartner(), uint64(k.GetGeneration()), sealedKey{k.GetRecipient(), k.GetSealed()})
		}
	}
	if n > maxSealedKeys {
		return &invalidError{fmt.Errorf("%d sealed keys: an agent keeps at most %d; make the group smaller", n, maxSealedKeys)}
	}
	agent.Keys = nil
	if n > 0 {
		agent.Keys = all
	}
	return nil
}

// clipped bounds a text of a client.
func clipped(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}
