package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/sealed"
	"github.com/mintmark/mintmark/internal/control/rollout"
)

func newMarkKey() sealed.Key { return sealed.NewKey() }

// poolFrom reads a pool of the API.
func poolFrom(m *mintmarkv1.Pool) (*poolDocument, error) {
	d := &poolDocument{Servers: []serverDocument{}}
	var err error
	if d.Settings, err = settings(m.GetSettingsJson()); err != nil {
		return nil, fmt.Errorf("settings_json: %w", err)
	}
	if s := m.GetScheme(); s.GetKind() != "" {
		d.Scheme = &schemeDocument{
			Kind: idspace.SchemeKind(s.GetKind()), RotateEvery: s.GetRotateEvery().AsDuration(),
			MarkBits: int(s.GetMarkBits()), Reserve: s.GetReserve(),
		}
	}
	for _, g := range m.GetGroups() {
		more, err := settings(g.GetSettingsJson())
		if err != nil {
			return nil, fmt.Errorf("group %s: settings_json: %w", g.GetName(), err)
		}
		d.Groups = append(d.Groups, groupDocument{Name: g.GetName(), Policy: g.GetPolicy(), Settings: more})
	}
	for _, s := range m.GetServers() {
		server, err := serverFrom(s)
		if err != nil {
			return nil, err
		}
		d.Servers = append(d.Servers, server)
	}
	return d, nil
}

func serverFrom(m *mintmarkv1.Server) (serverDocument, error) {
	more, err := settings(m.GetSettingsJson())
	if err != nil {
		return serverDocument{}, fmt.Errorf("server %s: settings_json: %w", m.GetName(), err)
	}
	if m.GetName() == "" {
		return serverDocument{}, errors.New("a server needs a name")
	}
	return serverDocument{
		Name: m.GetName(), Address: m.GetAddress(), Group: m.GetGroup(), Weight: m.Weight, Share: m.Share,
		MaxConnections: m.GetMaxConnections(), Draining: m.GetDraining(), MintsMarks: m.GetMintsMarks(), Settings: more,
	}, nil
}

// settings reads a JSON object and writes it in one form.
func settings(text string) (json.RawMessage, error) {
	if text == "" {
		return nil, nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, fmt.Errorf("this is no JSON object: %w", err)
	}
	if len(m) == 0 {
		return nil, nil
	}
	return json.Marshal(m)
}

func poolTo(name string, d *poolDocument, revision uint64) *mintmarkv1.Pool {
	m := &mintmarkv1.Pool{Name: name, SettingsJson: string(d.Settings), Revision: revision}
	if s := d.Scheme; s != nil {
		m.Scheme = &mintmarkv1.Scheme{Kind: string(s.Kind), MarkBits: uint32(s.MarkBits), Reserve: s.Reserve} //nolint:gosec // at most 256
		if s.RotateEvery != 0 {
			m.Scheme.RotateEvery = durationpb.New(s.RotateEvery)
		}
	}
	for _, g := range d.Groups {
		m.Groups = append(m.Groups, &mintmarkv1.Group{Name: g.Name, Policy: g.Policy, SettingsJson: string(g.Settings)})
	}
	for _, s := range d.Servers {
		m.Servers = append(m.Servers, &mintmarkv1.Server{
			Name: s.Name, Address: s.Address, Group: s.Group, Weight: s.Weight, Share: s.Share,
			MaxConnections: s.MaxConnections, Draining: s.Draining, MintsMarks: s.MintsMarks, SettingsJson: string(s.Settings),
		})
	}
	return m
}

// phaseTo is a phase as the API names it.
func phaseTo(p rollout.Phase) mintmarkv1.Phase {
	switch p {
	case rollout.PhasePrepared:
		return mintmarkv1.Phase_PHASE_PREPARED
	case rollout.PhaseAcknowledged:
		return mintmarkv1.Phase_PHASE_ACKNOWLEDGED
	case rollout.PhaseMinting:
		return mintmarkv1.Phase_PHASE_MINTING
	case rollout.PhaseRetiring:
		return mintmarkv1.Phase_PHASE_RETIRING
	case rollout.PhaseDead:
		return mintmarkv1.Phase_PHASE_DEAD
	default:
		return mintmarkv1.Phase_PHASE_UNSPECIFIED
	}
}

func spaceTo(s *rollout.SpaceStatus) *mintmarkv1.Space {
	share, _ := s.Share.Float64()
	return &mintmarkv1.Space{
		Owner: string(s.Owner), Generation: uint32(s.Generation), //nolint:gosec // a counter of rotations
		Rule: s.Rule, Share: s.Share.RatString(), ShareApproximate: share, Phase: phaseTo(s.Phase),
	}
}

func rolloutTo(name string, p *rollout.Pool, at time.Time) *mintmarkv1.Rollout {
	m := &mintmarkv1.Rollout{Pool: name}
	if p == nil {
		return m
	}
	st := p.Status(at)
	for i := range st.Spaces {
		m.Spaces = append(m.Spaces, spaceTo(&st.Spaces[i]))
	}
	for i := range st.Waits {
		w := &st.Waits[i]
		m.Waits = append(m.Waits, &mintmarkv1.Wait{
			Kind: w.Kind, Name: w.Name, Reason: w.Reason, Cost: w.Cost, Since: stamp(w.Since), Until: stamp(w.Until),
		})
	}
	m.RotationCosts = p.RotationCosts(at)
	if plan, _ := p.Routed(); plan != nil {
		for _, g := range plan.Generations() {
			if g.State == idspace.StateMinting {
				m.MintingGeneration = uint32(g.Number) //nolint:gosec // a counter of rotations
			}
		}
	}
	return m
}

// stamp is a time of the API; none for the zero time.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// diff is what became of the spaces of a pool between two states.
func diff(before, after *rollout.Pool, at time.Time) *mintmarkv1.PlanDiff {
	d := &mintmarkv1.PlanDiff{}
	if after == nil {
		return d
	}
	type key struct {
		owner      idspace.Owner
		generation uint64
		rule       string
	}
	old := make(map[key]idspace.SpaceState)
	if before != nil {
		for _, s := range before.Status(at).Spaces {
			old[key{s.Owner, s.Generation, s.Rule}] = s.State
		}
	}
	reserve := new(big.Rat)
	st := after.Status(at)
	for i := range st.Spaces {
		s := &st.Spaces[i]
		if s.State == idspace.SpaceReserve {
			reserve.Add(reserve, s.Share)
			continue
		}
		was, known := old[key{s.Owner, s.Generation, s.Rule}]
		switch {
		case !known:
			d.Added = append(d.Added, spaceTo(s))
		case s.State == idspace.SpaceRetiring && was != s.State:
			d.Retired = append(d.Retired, spaceTo(s))
		default:
			d.Unchanged = append(d.Unchanged, spaceTo(s))
		}
	}
	d.Reserve = reserve.RatString()
	for _, w := range st.Waits {
		if w.Kind == rollout.WaitPlan {
			d.Problem = w.Reason
		}
	}
	return d
}
