package config

import (
	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

// warn notes what is legal and probably not meant. It runs last, because most
// of it concerns pools together with the listeners that use them.
func (c *checker) warn() {
	seen := map[string]bool{}
	for i := range c.file.Pools {
		if c.managed() {
			break // whoever changed them was told
		}
		f := &c.file.Pools[i]
		pool := c.pools[f.Name]
		if pool == nil || seen[f.Name] {
			continue
		}
		seen[f.Name] = true
		if len(pool.protocols) == 0 {
			c.warnf(pool.path.field("name"), "name it in a listener, or remove it", "no listener uses the pool %s", f.Name)
		}
		c.warnServers(f, pool)
		c.warnUnused(f, pool)
		c.warnGroups(f, pool)
		c.warnSpaces(f, pool)
	}
	for i := range c.file.Listeners {
		c.warnLimit(&c.file.Listeners[i], (*path)(nil).field("listeners").item(i))
	}
}

func (c *checker) warnServers(f *FilePool, pool *poolFacts) {
	for _, s := range pool.config.Servers {
		if s.Weight > 0 && !s.Draining {
			return
		}
	}
	if len(f.Servers) > 0 {
		c.warnf(pool.path.field("servers"), "give a server a weight, or end its drain",
			"every server has weight 0 or is draining: new traffic is refused")
	}
}

// warnUnused notes settings of schemes that the pool does not have.
func (c *checker) warnUnused(f *FilePool, pool *poolFacts) {
	kind := ""
	if f.Scheme != nil {
		kind = f.Scheme.Kind
	}
	note := func(owner *path) {
		if at := owner.field("share"); c.written(at) && (!plannedKind(kind) || f.PlanFile == "") {
			c.warnf(at, "remove it, or write scheme: {kind: ranges} and a plan_file",
				"has no effect in a pool whose spaces are not planned")
		}
		if at := owner.field("number"); c.written(at) && kind != schemeFunction {
			c.warnf(at, "remove it, or write scheme: {kind: function, name: NAME}",
				"has no effect in a pool without the scheme function")
		}
	}
	for i := range f.Servers {
		note(pool.path.field("servers").item(i))
	}
	for i := range f.Groups {
		note(pool.path.field("groups").item(i))
	}
}

func (c *checker) warnGroups(f *FilePool, pool *poolFacts) {
	down := pool.path.field("when_owner_down")
	if len(f.Groups) == 0 && f.WhenOwnerDown == "group" && c.written(down) {
		c.warnf(down, "define groups and name them in the servers, or write balance",
			"the pool has no groups: IDs whose owner is down go to any server")
	}
	for i := range f.Groups {
		members := 0
		for j := range f.Servers {
			if f.Servers[j].Group == f.Groups[i].Name {
				members++
			}
		}
		at := pool.path.field("groups").item(i).field("name")
		switch members {
		case 0:
			c.warnf(at, "write group: "+f.Groups[i].Name+" in the servers that are in it", "no server is in the group %s", f.Groups[i].Name)
		case 1:
			c.warnf(at, "put the servers that share its session state in it", "the group %s has one member, which shares with nobody",
				f.Groups[i].Name)
		}
	}
}

// maxSparse is the share of all session_ids up to which random_ids: auto looks
// them up in every hello: 2^-16, the chance that a random one is taken for a
// minted one.
const maxSparse = 1.0 / (1 << 16)

func (c *checker) warnSpaces(f *FilePool, pool *poolFacts) {
	t := pool.config.Table
	if t == nil {
		if f.UnknownIDs == "refuse" && f.Discover == nil && !c.opts.WithoutPlans && len(c.report.problems) == 0 {
			c.warnf(pool.path.field("unknown_ids"), "write balance, or give the servers ids", "nobody owns an ID, so everything is refused")
		}
		return
	}
	if pool.protocols[ProtocolTCP] && !pool.protocols[ProtocolTLS] {
		c.warnf(pool.path.field("name"), "use protocol: tls if the clients speak TLS",
			"protocol tcp reads no ID, so the spaces of pool %s are never looked up", f.Name)
	}
	if pool.onlyHTTP() && pool.read == 0 {
		c.warnf(pool.path.field("name"), "write in the listener where the ID is, as in ids: [{cookie: session}]",
			"no listener of protocol http reads an ID, so the spaces of pool %s are never looked up", f.Name)
	}
	if pool.protocols[ProtocolTLS] {
		c.warnRandom(f, pool, t)
	}
	c.warnOwnerless(f, pool, t)
	rules, paths := t.Rules(), map[string]*path{}
	for i := range f.Servers {
		addPaths(paths, pool.path.field("servers").item(i).field("ids"), len(f.Servers[i].IDs))
	}
	for i := range f.Groups {
		addPaths(paths, pool.path.field("groups").item(i).field("ids"), len(f.Groups[i].IDs))
	}
	c.ruleWarnings(pool, rules, paths)
}

func addPaths(paths map[string]*path, list *path, n int) {
	for i := range n {
		p := list.item(i)
		paths[p.String()] = p
	}
}

func (c *checker) warnRandom(f *FilePool, pool *poolFacts, t *idspace.Table) {
	share := t.AssignedShare(idspace.FieldSessionID)
	if share <= maxSparse {
		return
	}
	at := pool.path.field("random_ids")
	if !c.written(at) {
		at = pool.path.field("name")
	}
	if kind := f.Scheme; kind != nil && kind.Kind == schemeFunction && share >= 1 {
		if pool.config.RandomIDs == route.RandomAuto {
			c.warnf(at, "give the function a method Share (idspace.Sharer), or write random_ids: route or skip",
				"how many random session IDs the function takes for minted is not known: the session_id of a hello that offers TLS 1.3 or a ticket is not looked up")
		}
		return
	}
	sparser := "compare more bits, bind the rules to field: [psk, ticket]"
	if f.Scheme != nil && plannedKind(f.Scheme.Kind) && f.PlanFile != "" {
		sparser = "plan with scheme: {kind: sealed}"
	}
	switch pool.config.RandomIDs {
	case route.RandomAuto:
		c.warnf(at, sparser+", or write random_ids: skip if no server mints session IDs",
			"one session ID in %.0f is assigned, more than one in 65536: the session_id of a hello that offers TLS 1.3 or a ticket is not looked up",
			1/share)
	case route.RandomRoute:
		c.warnf(at, sparser+", or write random_ids: auto",
			"one session ID in %.0f is assigned, so that part of the random ones is taken for minted", 1/share)
	case route.RandomSkip:
	}
}

// warnOwnerless notes servers without a space beside servers with one.
func (c *checker) warnOwnerless(f *FilePool, pool *poolFacts, t *idspace.Table) {
	if f.Scheme != nil {
		return
	}
	owners := map[string]bool{}
	for _, o := range t.Owners() {
		owners[string(o)] = true
	}
	for i := range f.Servers {
		s := &f.Servers[i]
		if !owners[s.Name] && !(s.Group != "" && owners[s.Group]) {
			c.warnf(pool.path.field("servers").item(i).field("name"), "give it ids, so that its IDs come back to it",
				"server %s has no space, and others have", s.Name)
		}
	}
}

func (c *checker) warnLimit(f *FileListener, p *path) {
	pool := c.pools[f.Pool]
	if pool == nil || len(f.Routes) > 0 || pool.limit == 0 || f.MaxConnections <= pool.limit {
		return
	}
	c.warnf(p.field("max_connections"), "raise the servers' limits, or lower this one",
		"%d connections are more than the servers of pool %s take together, which is %d", f.MaxConnections, f.Pool, pool.limit)
}
