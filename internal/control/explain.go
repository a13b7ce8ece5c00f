package control

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/control/rollout"
)

// maxExplainedID bounds an ID to be explained: a TLS ticket at most.
const maxExplainedID = 1 << 16

// Explain implements ControlService.
func (a *adminAPI) Explain(ctx context.Context, r *connect.Request[mintmarkv1.ExplainRequest]) (*connect.Response[mintmarkv1.ExplainResponse], error) {
	id := r.Msg.GetId()
	if len(id) == 0 || len(id) > maxExplainedID {
		return nil, rpcError(&invalidError{fmt.Errorf("an ID of %d bytes: it has 1 to %d", len(id), maxExplainedID)})
	}
	var only []idspace.Field
	if name := r.Msg.GetField(); name != "" {
		f, ok := idspace.ParseField(name)
		if !ok {
			return nil, rpcError(&invalidError{fmt.Errorf("there is no field %q", clipped(name, 64))})
		}
		only = []idspace.Field{f}
	}
	c, err := a.s.load(ctx, r.Msg.GetPool())
	if err != nil {
		return nil, rpcError(err)
	}
	out, err := c.explain(only, id)
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(out), nil
}

// explain finds an ID by the routes that balancers have.
func (c *change) explain(only []idspace.Field, id []byte) (*mintmarkv1.ExplainResponse, error) {
	if c.pool == nil {
		return nil, errNoPool
	}
	r := c.before.routes
	cfg, err := config.Parse(c.name, []byte(checkFile), config.Options{
		Pools: &config.Pools{YAML: r.YAML, Plans: map[string][]byte{c.name: r.Plan}},
	})
	if err != nil {
		return nil, errors.Join(errors.New("compiling the pool's routes"), err)
	}
	t := cfg.Pools[0].Table
	if t == nil {
		return &mintmarkv1.ExplainResponse{Reason: "the pool has no spaces that the control plane knows: servers' marks are read off them, or IDs are not routed"}, nil
	}
	if only == nil {
		for f := idspace.FieldNone + 1; int(f) < idspace.NumFields; f++ {
			only = append(only, f)
		}
	}
	for _, f := range only {
		m, ok := t.Lookup(f, id)
		if !ok {
			continue
		}
		out := &mintmarkv1.ExplainResponse{Field: f.String(), Owner: string(t.Owners()[m.Owner])}
		if m.Rule >= 0 {
			out.Rule = t.Rules()[m.Rule].Source
		}
		c.explainSpace(m.Generation, out)
		return out, nil
	}
	return &mintmarkv1.ExplainResponse{Reason: "no space of the pool holds this ID: it is balanced, or refused if unknown_ids says so"}, nil
}

// explainSpace adds where the owner's space is in its life.
func (c *change) explainSpace(slot uint8, out *mintmarkv1.ExplainResponse) {
	out.Reason = fmt.Sprintf("it lies in the space of %s", out.GetOwner())
	if c.rollout == nil {
		return
	}
	for _, s := range c.rollout.Status(c.at).Spaces {
		if s.Slot != slot || string(s.Owner) != out.GetOwner() {
			continue
		}
		g := uint32(s.Generation) //nolint:gosec // a counter of rotations
		out.Generation, out.Phase = &g, string(s.Phase)
		out.Rule, out.Reason = s.Rule, fmt.Sprintf("%s minted it in generation %d", out.GetOwner(), g)
		if s.Phase == rollout.PhaseRetiring || s.Phase == rollout.PhaseDead {
			out.Reason += ", which is " + string(s.Phase)
		}
		return
	}
}
