package route

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

// A Pool is the servers that a listener balances over, and the rules by which
// it does. It is immutable, but for the State of its servers and the turns of
// its policies, and safe for concurrent use.
type Pool struct {
	Config  PoolConfig
	Servers []*Server // in the order of Config.Servers

	chooser chooser      // among all servers
	owners  []owner      // indexed by idspace.Match.Owner
	seen    []*seenOwner // likewise; nil: nobody wants to know
	groups  map[GroupName]*group
	byName  map[ServerName]*Server
	sparse  bool // few enough session_ids are assigned for RandomAuto to look them up
}

// sparseShare is the largest assigned share of session_ids at which RandomAuto
// still looks every one up: one in 65536 random ones goes to a server that did
// not mint it, and gains nothing from that but loses nothing either.
const sparseShare = 1.0 / (1 << 16)

// A group is servers that share session state.
type group struct {
	name    GroupName
	chooser chooser // among the members
}

// An owner of a space: a server, a group, or one that has left the pool.
type owner struct {
	server *Server
	group  *group
	gone   idspace.Owner
}

// NewPool builds a pool. prev is the pool of the same name in the snapshot
// before, nil if there is none: servers of the same name keep their State, a
// drain that goes on keeps its beginning, and policies go on with their turns.
//
// NewPool changes nothing that prev uses, so the new pool can still be thrown
// away. The error joins everything that is wrong with cfg.
func NewPool(cfg PoolConfig, prev *Pool) (*Pool, error) {
	p := &Pool{
		Config:  cfg,
		Servers: make([]*Server, 0, len(cfg.Servers)),
		groups:  make(map[GroupName]*group, len(cfg.Groups)),
		byName:  make(map[ServerName]*Server, len(cfg.Servers)),
	}
	if prev == nil {
		prev = &Pool{}
	}
	err := errors.Join(p.check(), p.addGroups(), p.addServers(prev), p.addOwners())
	if err != nil {
		return nil, fmt.Errorf("building pool %s: %w", cfg.Name, err)
	}
	p.chooser = newChooser(cfg.Policy, p.Servers, prev.chooser.turn)
	members := make(map[*group][]*Server, len(p.groups))
	for _, s := range p.Servers {
		if s.group != nil {
			members[s.group] = append(members[s.group], s)
		}
	}
	for _, g := range cfg.Groups {
		var turn *atomic.Uint64
		if before := prev.groups[g.Name]; before != nil {
			turn = before.chooser.turn
		}
		in := p.groups[g.Name]
		in.chooser = newChooser(g.Policy, members[in], turn)
	}
	if cfg.Table != nil {
		p.sparse = cfg.Table.AssignedShare(idspace.FieldSessionID) <= sparseShare
	}
	return p, nil
}

// Server returns the server of that name, nil if there is none.
func (p *Pool) Server(name ServerName) *Server { return p.byName[name] }

func (p *Pool) check() error {
	c := &p.Config
	var errs []error
	if len(c.Servers) > MaxServers {
		errs = append(errs, fmt.Errorf("%d servers are more than %d", len(c.Servers), MaxServers))
	}
	if c.DrainTimeout < 0 {
		errs = append(errs, fmt.Errorf("drain timeout %v is negative", c.DrainTimeout))
	}
	return errors.Join(errs...)
}

func (p *Pool) addGroups() error {
	var errs []error
	for _, g := range p.Config.Groups {
		switch {
		case g.Name == "":
			errs = append(errs, errors.New("a group has no name"))
		case p.groups[g.Name] != nil:
			errs = append(errs, fmt.Errorf("there are two groups %s", g.Name))
		default:
			p.groups[g.Name] = &group{name: g.Name}
		}
	}
	return errors.Join(errs...)
}

func (p *Pool) addServers(prev *Pool) error {
	var errs []error
	for i, c := range p.Config.Servers {
		s := &Server{
			Config:       c,
			Index:        i,
			Pool:         p,
			literal:      c.Address.literal(),
			group:        p.groups[c.Group],
			weight:       int64(c.Weight),
			limit:        int64(c.MaxConnections),
			drainTimeout: int64(p.Config.DrainTimeout),
		}
		switch {
		case c.Name == "":
			errs = append(errs, fmt.Errorf("server %d has no name", i))
		case p.byName[c.Name] != nil:
			errs = append(errs, fmt.Errorf("there are two servers %s", c.Name))
		case p.groups[GroupName(c.Name)] != nil:
			errs = append(errs, fmt.Errorf("server %s has the name of a group, and either could own a space", c.Name))
		case c.Group != "" && s.group == nil:
			errs = append(errs, fmt.Errorf("server %s is in group %s, which does not exist", c.Name, c.Group))
		}
		if c.Weight < 0 || c.Weight > MaxWeight {
			errs = append(errs, fmt.Errorf("server %s: weight %d is not from 0 to %d", c.Name, c.Weight, MaxWeight))
		}
		if c.MaxConnections < 0 {
			errs = append(errs, fmt.Errorf("server %s: connection limit %d is negative", c.Name, c.MaxConnections))
		}
		s.keep(prev.byName[c.Name])
		p.Servers = append(p.Servers, s)
		p.byName[c.Name] = s
	}
	return errors.Join(errs...)
}

// keep takes over what outlives a reload from before, which is nil for a new
// server.
func (s *Server) keep(before *Server) {
	if before != nil {
		s.State = before.State
	} else {
		s.State = new(State)
		s.State.Up.Store(true)
	}
	if s.Config.Draining {
		s.drainSince = time.Now().UnixNano()
		if before != nil && before.drainSince != 0 {
			s.drainSince = before.drainSince
		}
	}
}

func (p *Pool) addOwners() error {
	if p.Config.Table == nil {
		return nil
	}
	var errs []error
	for _, name := range p.Config.Table.Owners() {
		o := p.ownerOf(name)
		if o == (owner{}) && slices.Contains(p.Config.Gone, name) {
			o.gone = name
		}
		if o == (owner{}) {
			errs = append(errs, fmt.Errorf("a space belongs to %s, which is no server or group", name))
		}
		p.owners = append(p.owners, o)
		if p.Config.Seen != nil {
			p.seen = append(p.seen, p.Config.Seen.of(name))
		}
	}
	return errors.Join(errs...)
}

func (p *Pool) ownerOf(name idspace.Owner) owner {
	return owner{server: p.byName[ServerName(name)], group: p.groups[GroupName(name)]}
}

// name returns the name of the owner, for people.
func (o owner) name() string {
	switch {
	case o.group != nil:
		return "group " + string(o.group.name)
	case o.server == nil:
		return "server " + string(o.gone) + ", which has left the pool"
	}
	return "server " + string(o.server.Config.Name)
}
