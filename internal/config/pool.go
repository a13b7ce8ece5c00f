package config

import (
	"fmt"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

func (c *checker) allPools() {
	p := (*path)(nil).field("pools")
	if c.managed() {
		if c.opts.Pools == nil && c.written(p) {
			c.problem(p, "has no effect beside control, whose store has the pools",
				fmt.Sprintf("take them into the store with `mintmark import %s`, then remove them here", c.name))
			return
		}
		if len(c.file.Pools) == 0 {
			return
		}
	}
	if !c.require(p, `write "pools:" with at least one pool`) {
		return
	}
	if len(c.file.Pools) == 0 {
		c.problem(p, "is empty", "write at least one pool")
	}
	names := map[string]*path{}
	for i := range c.file.Pools {
		c.pool(&c.file.Pools[i], p.item(i), names)
	}
}

func (c *checker) pool(f *FilePool, p *path, names map[string]*path) {
	c.checkName(p.field("name"), f.Name, names)
	health := c.health(f, p)
	cfg := &route.PoolConfig{
		Name:            route.PoolName(f.Name),
		Policy:          word(c.policy(f, p), route.ParsePolicy),
		WhenOwnerDown:   word(f.WhenOwnerDown, route.ParseWhenOwnerDown),
		UnknownIDs:      word(f.UnknownIDs, route.ParseUnknownIDs),
		RandomIDs:       word(f.RandomIDs, route.ParseRandomIDs),
		EarlyData:       word(f.EarlyData, route.ParseEarlyData),
		ProxyProtocol:   word(f.ProxyProtocol, route.ParseProxyVersion),
		SessionLifetime: c.lasts(p.field("session_lifetime"), f.SessionLifetime, time.Second, maxLifetime),
		Health:          health,
		Upstream:        c.upstream(&f.Upstream, p.field("upstream")),
	}
	cfg.DrainTimeout = cfg.SessionLifetime
	if f.DrainTimeout != nil {
		cfg.DrainTimeout = c.lasts(p.field("drain_timeout"), *f.DrainTimeout, 0, maxLifetime)
	}
	owners := map[string]*path{} // servers and groups, because either can own a space
	cfg.Groups = c.groups(f, p, owners)
	cfg.Servers = c.servers(f, p, owners)
	cfg.Table = c.spaces(f, p)
	if c.managed() {
		cfg.Gone = gone(cfg.Table, owners)
	}
	c.discover(f, p)
	c.learn(f, p)

	if c.uses[f.Name].datagrams() {
		c.datagramPool(f, p, cfg)
	}

	facts := &poolFacts{config: cfg, path: p, protocols: map[Protocol]bool{}, limit: totalLimit(cfg.Servers)}
	facts.cidLength = c.result.Schemes[route.PoolName(f.Name)].CIDLength
	if _, ok := c.pools[f.Name]; !ok && f.Name != "" {
		c.pools[f.Name] = facts
	}
	c.result.Pools = append(c.result.Pools, *cfg)
}

// gone returns the owners of a table that are not in the pool any more.
func gone(t *idspace.Table, owners map[string]*path) []idspace.Owner {
	if t == nil {
		return nil
	}
	var left []idspace.Owner
	for _, name := range t.Owners() {
		if owners[string(name)] == nil {
			left = append(left, name)
		}
	}
	return left
}

// word turns a word of the file into what package route calls it. Words that
// are none have been reported when the file was decoded.
func word[T any](s string, parse func(string) (T, error)) T {
	v, _ := parse(s)
	return v
}

func (c *checker) health(f *FilePool, p *path) route.HealthConfig {
	at := p.field("health")
	h := route.HealthConfig{
		Type:     word(c.healthType(f, p), route.ParseHealthType),
		Interval: c.lasts(at.field("interval"), f.Health.Interval, 100*time.Millisecond, maxTimeout),
		Rise:     f.Health.Rise,
		Fall:     f.Health.Fall,
		SNI:      f.Health.SNI,
	}
	c.between(at.field("rise"), h.Rise, 1, MaxThreshold)
	c.between(at.field("fall"), h.Fall, 1, MaxThreshold)
	h.Timeout = min(defaultHealthTimeout, h.Interval)
	if f.Health.Timeout != nil {
		tp := at.field("timeout")
		h.Timeout = c.lasts(tp, *f.Health.Timeout, 10*time.Millisecond, maxTimeout)
		if h.Timeout > h.Interval && c.sound(tp) && !c.report.has(at.field("interval")) {
			c.problemf(tp, fmt.Sprintf("write at most %s, or a longer interval", Duration(h.Interval)),
				"%s is longer than the interval", Duration(h.Timeout))
		}
	}
	c.healthHTTP(&f.Health, &h, at)
	if sni := at.field("sni"); c.sound(sni) {
		switch fault := sniFault(f.Health.SNI); {
		case h.Type != route.HealthTLS && c.sound(at.field("type")), !c.written(at.field("type")):
			c.problem(sni, "has no effect with checks that are not TLS", "write type: tls as well, or remove it")
		case fault != nil:
			c.fault(sni, fault)
		case f.Health.SNI[0] == '*':
			c.problem(sni, "is a pattern, and a check asks for one name", `write a name such as "www.shop.example"`)
		}
	}
	return h
}

func (c *checker) groups(f *FilePool, p *path, owners map[string]*path) []route.GroupConfig {
	var out []route.GroupConfig
	for i := range f.Groups {
		g, gp := &f.Groups[i], p.field("groups").item(i)
		c.checkName(gp.field("name"), g.Name, owners)
		c.between(gp.field("share"), g.Share, 0, idspace.MaxPlanShare)
		policy := c.policy(f, p)
		if g.Policy != "" {
			policy = g.Policy
		}
		out = append(out, route.GroupConfig{Name: route.GroupName(g.Name), Policy: word(policy, route.ParsePolicy)})
	}
	return out
}

func (c *checker) servers(f *FilePool, p *path, owners map[string]*path) []route.ServerConfig {
	at := p.field("servers")
	if !c.require(at, `write "servers:" with at least one server`) {
		return nil
	}
	switch {
	case len(f.Servers) == 0 && !c.managed():
		c.problem(at, "is empty", "write at least one server")
	case len(f.Servers) > route.MaxServers:
		c.problemf(at, fmt.Sprintf("split the pool; a pool has at most %d servers", route.MaxServers),
			"has %d servers", len(f.Servers))
	}
	groups := map[string]bool{}
	for i := range f.Groups {
		groups[f.Groups[i].Name] = true
	}
	addresses := map[route.Address]*path{}
	out := make([]route.ServerConfig, 0, len(f.Servers))
	for i := range f.Servers {
		s, sp := &f.Servers[i], at.item(i)
		c.checkName(sp.field("name"), s.Name, owners)
		c.serverGroup(s, sp, groups)
		c.between(sp.field("weight"), s.Weight, 0, route.MaxWeight)
		c.between(sp.field("max_connections"), s.MaxConnections, 0, MaxConnections)
		c.between(sp.field("share"), s.Share, 0, idspace.MaxPlanShare)
		out = append(out, route.ServerConfig{
			Name:           route.ServerName(s.Name),
			Address:        c.serverAddress(s, sp, addresses),
			Group:          route.GroupName(s.Group),
			Weight:         s.Weight,
			MaxConnections: s.MaxConnections,
			Draining:       s.Draining,
		})
	}
	return out
}

func (c *checker) serverAddress(s *FileServer, sp *path, taken map[route.Address]*path) route.Address {
	at := sp.field("address")
	if !c.require(at, `write where the server listens, as in address: "192.0.2.1:443"`) {
		return route.Address{}
	}
	a, f := parseServer(s.Address)
	if f != nil {
		c.fault(at, f)
		return a
	}
	if first, ok := taken[a]; ok {
		c.warnf(at, "write the address of another server, or remove one of the two",
			"%s is also the address of %s in line %d", quote(s.Address), first.parent, first.line(c.root))
	} else {
		taken[a] = at
	}
	return a
}

func (c *checker) serverGroup(s *FileServer, sp *path, groups map[string]bool) {
	at := sp.field("group")
	if !c.sound(at) || groups[s.Group] {
		return
	}
	remedy := "define it in the pool, as in groups: [{name: " + quote(s.Group) + "}]"
	if nameFault(s.Group) != nil {
		remedy = "write the name of a group of this pool"
	}
	if near := nearest(s.Group, choices(groups)); near != "" {
		remedy = "write " + near + ", or define it in the pool"
	}
	c.problemf(at, remedy, "there is no group %s in this pool", quote(s.Group))
}

func totalLimit(servers []route.ServerConfig) int {
	sum := 0
	for _, s := range servers {
		if s.MaxConnections == 0 {
			return 0
		}
		sum += s.MaxConnections
	}
	return sum
}

// spaces compiles who owns which IDs of a pool; nil when nobody owns any.
func (c *checker) spaces(f *FilePool, p *path) *idspace.Table {
	kind := ""
	if f.Scheme != nil {
		kind = c.scheme(f, p)
	}
	rules, paths := c.rules(f, p)
	switch planned := plannedKind(kind); {
	case planned && len(paths) > 0 && c.written(p.field("plan_file")):
		c.problem(paths[0], "is written by hand in a pool whose spaces are planned",
			"remove the ids, or remove scheme and plan_file")
		return nil
	case planned && len(paths) > 0 && kind != string(idspace.SchemeSealed):
		// The scheme only says how the rules are meant to look.
		return c.compileRules(rules, paths)
	case kind != "" && len(paths) > 0:
		c.problem(paths[0], "is written by hand in a pool with the scheme "+kind, "remove the ids, or remove the scheme")
		return nil
	case planned:
		return c.planned(f, p)
	case c.sound(p.field("plan_file")):
		c.problem(p.field("plan_file"), "needs a planned scheme", "write scheme: {kind: ranges}, {kind: bits} or {kind: sealed}")
		return nil
	case kind == schemeFunction:
		return c.function(f, p)
	case kind == schemeQUICLB:
		return c.quicLB(f, p)
	}
	if len(rules) == 0 {
		return nil
	}
	return c.compileRules(rules, paths)
}

const schemeFunction = "function"

func plannedKind(kind string) bool {
	switch idspace.SchemeKind(kind) {
	case idspace.SchemeRanges, idspace.SchemeBits, idspace.SchemeSealed:
		return true
	}
	return false
}

// scheme checks the scheme of a pool by itself and returns its kind, "" when
// it is none.
func (c *checker) scheme(f *FilePool, p *path) string {
	at := p.field("scheme")
	if c.report.has(at) || !c.require(at.field("kind"), "write kind: ranges, bits, sealed, function or quic-lb") {
		return ""
	}
	kind := f.Scheme.Kind
	if name := at.field("name"); kind != schemeFunction && c.sound(name) {
		c.problem(name, "has no effect with the scheme "+kind, "remove it; only functions have a name")
	}
	scheme := Scheme{Kind: kind}
	if f.PlanFile != "" {
		scheme.PlanFile = c.relative(f.PlanFile)
	}
	for i := range f.Servers {
		if s := &f.Servers[i]; s.Share > 0 {
			scheme.Members = append(scheme.Members, member(s.Name, s.Share))
		}
	}
	for i := range f.Groups {
		if g := &f.Groups[i]; g.Share > 0 {
			scheme.Members = append(scheme.Members, member(g.Name, g.Share))
		}
	}
	scheme.CIDLength = c.cidLength(f, p)
	c.result.Schemes[route.PoolName(f.Name)] = scheme
	return kind
}

func member(name string, share int) idspace.Member {
	return idspace.Member{Owner: idspace.Owner(name), Share: uint32(share)} //nolint:gosec // checked to be at most MaxPlanShare
}

// function compiles the spaces of a pool that a function of the program knows.
func (c *checker) function(f *FilePool, p *path) *idspace.Table {
	name := p.field("scheme").field("name")
	if !c.require(name, "write the name under which the program has the function") {
		return nil
	}
	fn, ok := c.opts.Functions[f.Scheme.Name]
	if !ok {
		remedy := "run this file with the program that brings the function; this one has none"
		if known := choices(c.opts.Functions); len(known) > 0 {
			remedy = chooseFrom(f.Scheme.Name, known)
		}
		c.problemf(name, remedy, "there is no function %s in this program", quote(f.Scheme.Name))
	}
	owners := map[uint32]idspace.Owner{}
	taken := map[uint32]*path{}
	for i := range f.Servers {
		at := p.field("servers").item(i).field("number")
		if c.require(at, "write the number by which the function names this server") {
			c.number(*f.Servers[i].Number, f.Servers[i].Name, at, owners, taken)
		}
	}
	for i := range f.Groups {
		if at := p.field("groups").item(i).field("number"); c.sound(at) {
			c.number(*f.Groups[i].Number, f.Groups[i].Name, at, owners, taken)
		}
	}
	if fn == nil || len(owners) == 0 {
		return nil
	}
	t, err := idspace.CompileFunction(fn, owners)
	if err != nil {
		c.problem(p.field("scheme"), err.Error(), "check the numbers of the servers")
	}
	return t
}

// number notes by which number a function names an owner.
func (c *checker) number(n uint32, owner string, at *path, owners map[uint32]idspace.Owner, taken map[uint32]*path) {
	if first, ok := taken[n]; ok {
		c.problemf(at, "give each server a number of its own", "%d is already the number of %s in line %d",
			n, first.parent, first.line(c.root))
		return
	}
	taken[n] = at
	owners[n] = idspace.Owner(owner)
}
