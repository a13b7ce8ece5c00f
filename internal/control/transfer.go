package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/goccy/go-yaml"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/sealed"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/rollout"
	"github.com/mintmark/mintmark/internal/store"
)

// Import implements ControlService. All pools of the file come in, or none.
func (a *adminAPI) Import(ctx context.Context, r *connect.Request[mintmarkv1.ImportRequest]) (*connect.Response[mintmarkv1.ImportResponse], error) {
	pools, err := importedPools(r.Msg)
	if err != nil {
		return nil, rpcError(&invalidError{err})
	}
	out := &mintmarkv1.ImportResponse{Pools: slices.Sorted(maps.Keys(pools))}
	for range maxTries {
		t, err := a.importTxn(ctx, r.Msg.GetFromRevision(), pools)
		if err != nil {
			return nil, rpcError(err)
		}
		out.Revision, err = a.s.store.Commit(ctx, t)
		if is[*store.ConflictError](err) {
			continue
		}
		if err != nil {
			return nil, rpcError(err)
		}
		return connect.NewResponse(out), nil
	}
	return nil, rpcError(errors.New("importing: others changed the same pools meanwhile; try again"))
}

// An importedPool is a pool of a file, with its plan.
type importedPool struct {
	pool *poolDocument
	plan *idspace.Plan // nil: it is not planned
}

// importTxn makes all pools one transaction.
func (a *adminAPI) importTxn(ctx context.Context, from uint64, pools map[string]importedPool) (store.Txn, error) {
	if _, rev, err := a.s.store.List(ctx, prefixPools); err != nil {
		return store.Txn{}, err
	} else if from != 0 && from != rev {
		return store.Txn{}, &store.ConflictError{Key: prefixPools, Want: from, Have: rev}
	}
	var all store.Txn
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		c, err := a.s.load(ctx, name)
		if err != nil {
			return all, err
		}
		if c.pool != nil {
			return all, connect.NewError(connect.CodeAlreadyExists,
				fmt.Errorf("pool %s is there already, and nothing was imported: rename it in the file, or delete the other", name))
		}
		p := pools[name]
		c.pool = p.pool
		if err := c.configureFrom(ctx, p.plan); err != nil {
			return all, fmt.Errorf("pool %s: %w", name, err)
		}
		t, err := c.txn(acting(ctx, "import pool", name, from))
		if err != nil {
			return all, err
		}
		all.If, all.Put, all.Delete = append(all.If, t.If...), append(all.Put, t.Put...), append(all.Delete, t.Delete...)
	}
	return all, nil
}

// importedPools reads a configuration file.
func importedPools(r *mintmarkv1.ImportRequest) (map[string]importedPool, error) {
	data := []byte(r.GetConfig())
	cfg, err := config.Parse("the file", data, config.Options{WithoutPlans: true})
	if problems, ok := errors.AsType[config.Problems](err); ok {
		var all []error
		for _, p := range problems {
			all = append(all, fmt.Errorf("line %d: %s: %s; %s", p.Line, p.Path, p.Reason, p.Remedy))
		}
		return nil, errors.Join(all...)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Control != nil {
		return nil, errors.New("control: this file has its pools from a control plane already; give one with pools of its own")
	}
	settings, err := config.PoolSettings(data)
	if err != nil {
		return nil, err
	}
	pools := make(map[string]importedPool)
	for _, m := range settings {
		name := take(m, "name")
		p, err := importPool(m, r.GetPlans())
		if err != nil {
			return nil, fmt.Errorf("pool %s: %w", name, err)
		}
		pools[name] = p
	}
	return pools, nil
}

// take removes a text from settings and returns it.
func take(m map[string]any, key string) string {
	text, _ := m[key].(string)
	delete(m, key)
	return text
}

// importPool makes the documents of a pool out of its settings.
func importPool(m map[string]any, plans map[string][]byte) (importedPool, error) {
	var p importedPool
	d := &poolDocument{Servers: []serverDocument{}}
	if planFile := take(m, "plan_file"); planFile != "" {
		scheme, _ := m["scheme"].(map[string]any)
		delete(m, "scheme")
		d.Scheme = &schemeDocument{Kind: idspace.SchemeKind(take(scheme, "kind"))}
		plan, err := idspace.ParsePlan(plans[planFile])
		if err != nil {
			return p, fmt.Errorf("the plan %s: %w", planFile, err)
		}
		p.plan = plan
	}
	for _, item := range list(m, "groups") {
		g := groupDocument{Name: take(item, "name"), Policy: take(item, "policy")}
		if _, ok := item["share"]; ok && d.Scheme != nil {
			return p, fmt.Errorf("group %s: share: a control plane plans spaces for servers only; remove it", g.Name)
		}
		g.Settings = raw(item)
		d.Groups = append(d.Groups, g)
	}
	for _, item := range list(m, "servers") {
		s := serverDocument{
			Name: take(item, "name"), Address: take(item, "address"), Group: take(item, "group"),
			Weight: number(item, "weight"), Share: number(item, "share"),
		}
		if n := number(item, "max_connections"); n != nil {
			s.MaxConnections = *n
		}
		s.Draining, _ = item["draining"].(bool)
		delete(item, "draining")
		s.Settings = raw(item)
		d.Servers = append(d.Servers, s)
	}
	d.Settings = raw(m)
	p.pool = d
	return p, nil
}

// list removes a list of mappings from settings and returns it.
func list(m map[string]any, key string) []map[string]any {
	items, _ := m[key].([]any)
	delete(m, key)
	out := make([]map[string]any, 0, len(items))
	for _, item := range items {
		if e, ok := item.(map[string]any); ok {
			out = append(out, e)
		}
	}
	return out
}

// number removes a number from settings and returns it; nil: there was none.
func number(m map[string]any, key string) *uint32 {
	n, ok := m[key].(int64)
	if !ok || n < 0 || n > int64(^uint32(0)) {
		return nil
	}
	delete(m, key)
	return new(uint32(n))
}

// raw writes what is left of settings.
func raw(m map[string]any) json.RawMessage {
	if len(m) == 0 {
		return nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic("control: internal error: settings of a file cannot be written as JSON: " + err.Error())
	}
	return b
}

// configureFrom is configure, going on from a plan if there is one.
func (c *change) configureFrom(ctx context.Context, plan *idspace.Plan) error {
	if plan == nil {
		return c.configure(ctx)
	}
	checked, err := c.pool.check(c.name)
	if err != nil {
		return &invalidError{err}
	}
	wanted, err := c.pool.configuration(checked)
	if err != nil {
		return &invalidError{err}
	}
	c.rollout = &rollout.Pool{}
	if err := c.knowBalancers(ctx); err != nil {
		return err
	}
	if err := c.tell(rollout.Configure{Configuration: wanted, Plan: plan, Key: sealed.NewKey(), At: c.at}); err != nil {
		return &invalidError{err}
	}
	return nil
}

// errSecrets is the error of a viewer who asks for secrets.
var errSecrets = errors.New("only an admin gets mark keys")

// exportHead is the beginning of an exported file.
const exportHead = `# The pools of a control plane, as the configuration of a balancer without one.
# Add admin and listeners: see docs/configuration.md.
version: 1
`

// Export implements ControlService.
func (a *adminAPI) Export(ctx context.Context, r *connect.Request[mintmarkv1.ExportRequest]) (*connect.Response[mintmarkv1.ExportResponse], error) {
	if id, _ := access.From(ctx); r.Msg.GetWithSecrets() && id.Role != access.RoleAdmin {
		return nil, connect.NewError(connect.CodePermissionDenied, errSecrets)
	}
	entries, rev, err := a.s.store.List(ctx, prefixPools)
	if err != nil {
		return nil, rpcError(err)
	}
	out := &mintmarkv1.ExportResponse{Revision: rev, Plans: make(map[string][]byte)}
	var head strings.Builder
	head.WriteString(exportHead)
	var items []yaml.MapSlice
	for _, e := range entries {
		c, err := a.s.load(ctx, trimmed(e.Key, prefixPools))
		if err != nil {
			return nil, rpcError(err)
		}
		if c.pool == nil {
			continue // deleted meanwhile
		}
		item, notes, err := c.export(r.Msg.GetWithSecrets(), out.Plans)
		if err != nil {
			return nil, rpcError(err)
		}
		head.WriteString(notes)
		items = append(items, item)
	}
	text, err := poolsYAML(items)
	if err != nil {
		return nil, rpcError(err)
	}
	out.Config = head.String() + text
	return connect.NewResponse(out), nil
}

// export returns a pool as an item of a file, with what has to be said of it,
// and adds its plan.
func (c *change) export(secrets bool, plans map[string][]byte) (yaml.MapSlice, string, error) {
	item, err := c.pool.yaml(c.name, adjustments{})
	if err != nil || c.rollout == nil {
		return item, "", err
	}
	file := c.name + ".plan"
	item = append(item, yaml.MapItem{Key: "plan_file", Value: file})
	plan, _ := c.rollout.Routed()
	switch {
	case plan == nil:
		return item, fmt.Sprintf("# Pool %s has no plan yet: run `mintmark plan`.\n", c.name), nil
	case plan.Kind() == idspace.SchemeSealed && !secrets:
		return item, fmt.Sprintf("# The plan of pool %s holds mark keys and is left out: export --with-secrets.\n", c.name), nil
	}
	plans[file] = plan.Encode()
	var gone []string
	for _, sp := range plan.Spaces() {
		if sp.State != idspace.SpaceReserve && c.pool.server(string(sp.Owner)) == nil && !slices.Contains(gone, string(sp.Owner)) {
			gone = append(gone, string(sp.Owner))
		}
	}
	if gone == nil {
		return item, "", nil
	}
	return item, fmt.Sprintf("# Pool %s still routes IDs of servers that left (%s): add them with share: 0 and draining: true.\n",
		c.name, strings.Join(gone, ", ")), nil
}
