package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/control/rollout"
)

// A poolDocument is what is wanted of a pool, as the store keeps it.
type poolDocument struct {
	// Settings are those of the configuration file, but for the ones below.
	Settings json.RawMessage  `json:"settings,omitempty"`
	Scheme   *schemeDocument  `json:"scheme,omitempty"` // nil: not planned
	Groups   []groupDocument  `json:"groups,omitempty"`
	Servers  []serverDocument `json:"servers"`
}

// A schemeDocument is how the spaces of a pool are planned.
type schemeDocument struct {
	Kind        idspace.SchemeKind `json:"kind"`
	RotateEvery time.Duration      `json:"rotate_every,omitempty"`
	MarkBits    int                `json:"mark_bits,omitempty"`
	Reserve     string             `json:"reserve,omitempty"`
}

type groupDocument struct {
	Name     string          `json:"name"`
	Policy   string          `json:"policy,omitempty"`
	Settings json.RawMessage `json:"settings,omitempty"`
}

type serverDocument struct {
	Name           string          `json:"name"`
	Address        string          `json:"address"`
	Group          string          `json:"group,omitempty"`
	Weight         *uint32         `json:"weight,omitempty"`
	Share          *uint32         `json:"share,omitempty"`
	MaxConnections uint32          `json:"max_connections,omitempty"`
	Draining       bool            `json:"draining,omitempty"`
	MintsMarks     bool            `json:"mints_marks,omitempty"`
	Settings       json.RawMessage `json:"settings,omitempty"`
}

func (d *poolDocument) planned() bool { return d.Scheme != nil }

func (d *poolDocument) server(name string) *serverDocument {
	for i := range d.Servers {
		if d.Servers[i].Name == name {
			return &d.Servers[i]
		}
	}
	return nil
}

// adjustments are what the state of a rollout does to what is sent to
// balancers of a pool, by server.
type adjustments struct {
	stale    map[string]bool   // gets no new traffic
	capacity map[string]uint32 // what its agent says that it can take
}

// yaml returns the pool as an item of the list `pools:`.
func (d *poolDocument) yaml(name string, a adjustments) (yaml.MapSlice, error) {
	settings, err := fields(d.Settings, "name", "servers", "groups", "plan_file")
	if err != nil {
		return nil, fmt.Errorf("settings of the pool: %w", err)
	}
	m := append(yaml.MapSlice{{Key: "name", Value: name}}, settings...)
	if d.Scheme != nil {
		m = append(m, yaml.MapItem{Key: "scheme", Value: yaml.MapSlice{{Key: "kind", Value: string(d.Scheme.Kind)}}})
	}
	var groups, servers []yaml.MapSlice
	for _, g := range d.Groups {
		item := yaml.MapSlice{{Key: "name", Value: g.Name}}
		if g.Policy != "" {
			item = append(item, yaml.MapItem{Key: "policy", Value: g.Policy})
		}
		more, err := fields(g.Settings, "name", "policy")
		if err != nil {
			return nil, fmt.Errorf("settings of group %s: %w", g.Name, err)
		}
		groups = append(groups, append(item, more...))
	}
	for i := range d.Servers {
		item, err := d.Servers[i].yaml(a)
		if err != nil {
			return nil, err
		}
		servers = append(servers, item)
	}
	if groups != nil {
		m = append(m, yaml.MapItem{Key: "groups", Value: groups})
	}
	if servers == nil {
		servers = []yaml.MapSlice{}
	}
	return append(m, yaml.MapItem{Key: "servers", Value: servers}), nil
}

func (s *serverDocument) yaml(a adjustments) (yaml.MapSlice, error) {
	m := yaml.MapSlice{{Key: "name", Value: s.Name}, {Key: "address", Value: s.Address}}
	add := func(key string, value any) { m = append(m, yaml.MapItem{Key: key, Value: value}) }
	if s.Group != "" {
		add("group", s.Group)
	}
	switch capacity, told := a.capacity[s.Name]; {
	case a.stale[s.Name]:
		add("weight", 0)
	case s.Weight != nil:
		add("weight", *s.Weight)
	case told:
		add("weight", capacity)
	}
	if s.Share != nil {
		add("share", *s.Share)
	}
	if s.MaxConnections != 0 {
		add("max_connections", s.MaxConnections)
	}
	if s.Draining {
		add("draining", true)
	}
	more, err := fields(s.Settings, "name", "address", "group", "weight", "share", "max_connections", "draining")
	if err != nil {
		return nil, fmt.Errorf("settings of server %s: %w", s.Name, err)
	}
	return append(m, more...), nil
}

// fields reads a JSON object for a YAML document, sorted by key. Those of own
// have a field of their own in the documents.
func fields(raw json.RawMessage, own ...string) (yaml.MapSlice, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("this is no JSON object: %w", err)
	}
	for _, key := range own {
		if _, ok := m[key]; ok {
			return nil, fmt.Errorf("%q has a field of its own in the API and cannot be a setting", key)
		}
	}
	return plain(m).(yaml.MapSlice), nil
}

// plain turns what JSON holds into what is written as YAML.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(yaml.MapSlice, 0, len(v))
		for key, value := range v {
			m = append(m, yaml.MapItem{Key: key, Value: plain(value)})
		}
		slices.SortFunc(m, func(a, b yaml.MapItem) int { return strings.Compare(a.Key.(string), b.Key.(string)) })
		return m
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
		return v
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64() // it was a number
		return f
	default:
		return v
	}
}

// poolsYAML is the document with these pools.
func poolsYAML(pools []yaml.MapSlice) (string, error) {
	if pools == nil {
		pools = []yaml.MapSlice{}
	}
	b, err := yaml.MarshalWithOptions(yaml.MapSlice{{Key: "pools", Value: pools}}, yaml.IndentSequence(true))
	if err != nil {
		return "", fmt.Errorf("writing the pools: %w", err)
	}
	return string(b), nil
}

// checkFile is the rest of a configuration, around the pools.
const checkFile = "version: 1\ncontrol: {listen: \"127.0.0.1:1\", store: x}\n"

// check compiles the pool as a balancer will, and says what is wrong with it.
func (d *poolDocument) check(name string) (*config.Config, error) {
	item, err := d.yaml(name, adjustments{})
	if err != nil {
		return nil, err
	}
	text, err := poolsYAML([]yaml.MapSlice{item})
	if err != nil {
		return nil, err
	}
	c, err := config.Parse(name, []byte(checkFile), config.Options{Pools: &config.Pools{YAML: text}})
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return nil, poolProblems(problems)
	}
	if err != nil {
		return nil, err
	}
	if kind := c.Schemes[c.Pools[0].Name].Kind; d.Scheme == nil && plannable(idspace.SchemeKind(kind)) {
		return nil, fmt.Errorf("settings: scheme: %s is planned, and has a field of its own in the API", kind)
	}
	if d.Scheme != nil {
		if _, err := d.Scheme.rollout(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// poolProblems are problems without a file.
func poolProblems(problems config.Problems) error {
	var errs []error
	for _, p := range problems {
		where := strings.TrimPrefix(strings.TrimPrefix(p.Path, "pools[0]"), ".")
		if where != "" {
			where += ": "
		}
		errs = append(errs, fmt.Errorf("%s%s; %s", where, p.Reason, p.Remedy))
	}
	return errors.Join(errs...)
}

func (s *schemeDocument) rollout() (rollout.Scheme, error) {
	r := rollout.Scheme{Scheme: idspace.Scheme{Kind: s.Kind, MarkBits: s.MarkBits}}
	if !plannable(s.Kind) {
		return r, fmt.Errorf("scheme: %q cannot be planned; write ranges, bits or sealed", s.Kind)
	}
	if s.RotateEvery < 0 || s.RotateEvery > 0 && s.RotateEvery < minRotation {
		return r, fmt.Errorf("scheme: rotate_every is %v; write at least %v, or nothing", s.RotateEvery, minRotation)
	}
	if s.Reserve != "" {
		f, err := idspace.ParseFraction(s.Reserve)
		if err != nil {
			return r, fmt.Errorf("scheme: reserve: %w", err)
		}
		r.Reserve = f
	}
	return r, nil
}

func plannable(kind idspace.SchemeKind) bool {
	return kind == idspace.SchemeRanges || kind == idspace.SchemeBits || kind == idspace.SchemeSealed
}

// minRotation keeps a mistyped rotate_every from using up the generations.
const minRotation = time.Minute

// configuration is what the rollout has to bring about.
func (d *poolDocument) configuration(c *config.Config) (rollout.Configuration, error) {
	scheme, err := d.Scheme.rollout()
	if err != nil {
		return rollout.Configuration{}, err
	}
	w := rollout.Configuration{
		Scheme: scheme, SessionLifetime: c.Pools[0].SessionLifetime, RotateEvery: d.Scheme.RotateEvery,
	}
	for i := range d.Servers {
		s := &d.Servers[i]
		m := rollout.Member{Name: rollout.ServerName(s.Name), Group: s.Group, Share: 1}
		if s.Share != nil {
			m.Share = *s.Share
		}
		if m.Share == 0 {
			return w, fmt.Errorf("server %s: a share of 0 is no space to mint in; remove the server, or drain it", s.Name)
		}
		w.Members = append(w.Members, m)
	}
	return w, nil
}

// checkName refuses what cannot be the name of a pool.
func checkName(name string) error {
	if err := config.CheckName(name); err != nil {
		return &invalidError{fmt.Errorf("name: %w", err)}
	}
	return nil
}
