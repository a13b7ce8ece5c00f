package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/mintmark/mintmark/idspace/sealed"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/audit"
	"github.com/mintmark/mintmark/internal/control/rollout"
	"github.com/mintmark/mintmark/internal/store"
)

// A routesDocument is what balancers are sent of a pool.
type routesDocument struct {
	// Version is that of the rollout, which an acknowledgement is for.
	Version uint64 `json:"version"`
	// YAML is the document `pools:` with this one pool.
	YAML string `json:"yaml"`
	// Plan is its plan, and PlanRevision which; nil: it has none.
	Plan         []byte `json:"plan,omitempty"`
	PlanRevision uint64 `json:"plan_revision,omitempty"`
}

// An agentDocument is what is known of an agent.
type agentDocument struct {
	// Recipient is to whom its partners seal keys.
	Recipient string `json:"recipient,omitempty"`
	// Capacity is how much new traffic it says that its server can take.
	Capacity *uint32 `json:"capacity,omitempty"`
	// Keys are its own, sealed for its partners: by partner, then generation.
	Keys map[string]map[uint64]sealedKey `json:"keys,omitempty"`
}

// A sealedKey is key material that only the holder of Recipient's identity
// reads.
type sealedKey struct {
	Recipient string `json:"recipient"`
	Sealed    []byte `json:"sealed"`
}

// A change is one step of one pool: what the store has, and what it shall have.
type change struct {
	s    *Server
	name string
	at   time.Time

	pool    *poolDocument // nil: there is none
	poolRev uint64
	rollout *rollout.Pool // nil: the pool is not planned
	agents  map[string]*agentDocument

	before struct {
		pool, rollout []byte
		agents        map[string][]byte
		agentRevs     map[string]uint64
		routes        routesDocument
		rolloutRev    uint64
		routesRev     uint64
	}
	extra  store.Txn // of the caller
	dryRun bool
}

// An act is a change that a person makes, for the audit log.
type act struct {
	who  access.Identity
	verb string // "add server"
	on   string // "web/a"
	from uint64
}

// maxTries bounds how often a change is tried again because somebody else was
// faster. Whoever wins has made progress, so this is reached only when far too
// many want the same pool at once.
const maxTries = 50

// errNoPool is the error of a pool that is not there.
var errNoPool = errors.New("there is no such pool (mintmark pool list)")

// change makes one step of a pool: it loads the pool, has f work it out, and
// commits it. When somebody else was faster, it does all of that again. It
// returns the revision of the store. f must not keep anything.
func (s *Server) change(ctx context.Context, pool string, a *act, f func(*change) error) (uint64, error) {
	for range maxTries {
		c, err := s.load(ctx, pool)
		if err != nil {
			return 0, err
		}
		if a != nil && a.from != 0 && a.from != c.poolRev {
			return 0, &store.ConflictError{Key: prefixPools + pool, Want: a.from, Have: c.poolRev}
		}
		if err := f(c); err != nil {
			return 0, err
		}
		t, err := c.txn(a)
		if err == nil && a != nil && !c.dryRun {
			err = c.remember(ctx, &t)
		}
		if err != nil || c.dryRun || len(t.Put)+len(t.Delete) == 0 {
			return c.poolRev, err
		}
		rev, err := s.store.Commit(ctx, t)
		if _, conflict := errors.AsType[*store.ConflictError](err); conflict {
			continue
		}
		return rev, err
	}
	return 0, fmt.Errorf("changing pool %s: others changed it %d times meanwhile; try again", pool, maxTries)
}

// load reads all that the store has of a pool.
func (s *Server) load(ctx context.Context, pool string) (*change, error) {
	c := &change{s: s, name: pool, at: s.now().UTC(), agents: make(map[string]*agentDocument)}
	c.before.agents, c.before.agentRevs = make(map[string][]byte), make(map[string]uint64)
	if e, err := s.get(ctx, prefixPools+pool); err != nil {
		return nil, err
	} else if e.Revision != 0 {
		c.pool, c.poolRev, c.before.pool = new(poolDocument), e.Revision, e.Value
		if err := json.Unmarshal(e.Value, c.pool); err != nil {
			return nil, fmt.Errorf("the store's document of pool %s is damaged: %w", pool, err)
		}
	}
	if e, err := s.get(ctx, prefixRollouts+pool); err != nil {
		return nil, err
	} else if e.Revision != 0 {
		if c.rollout, err = rollout.Decode(e.Value); err != nil {
			return nil, fmt.Errorf("the store's document of the rollout of %s: %w", pool, err)
		}
		c.before.rollout, c.before.rolloutRev = e.Value, e.Revision
	}
	e, err := s.get(ctx, prefixRoutes+pool)
	if err != nil {
		return nil, err
	}
	if c.before.routesRev = e.Revision; e.Revision != 0 {
		if err := json.Unmarshal(e.Value, &c.before.routes); err != nil {
			return nil, fmt.Errorf("the store's document of the routes of %s is damaged: %w", pool, err)
		}
	}
	agents, _, err := s.store.List(ctx, prefixAgents+pool+"/")
	if err != nil {
		return nil, fmt.Errorf("reading the store: %w", err)
	}
	for _, e := range agents {
		name := strings.TrimPrefix(e.Key, prefixAgents+pool+"/")
		c.agents[name] = new(agentDocument)
		if err := json.Unmarshal(e.Value, c.agents[name]); err != nil {
			return nil, fmt.Errorf("the store's document of agent %s/%s is damaged: %w", pool, name, err)
		}
		c.before.agents[name], c.before.agentRevs[name] = e.Value, e.Revision
	}
	return c, nil
}

// get returns an entry, with revision 0 if there is none.
func (s *Server) get(ctx context.Context, key string) (store.Entry, error) {
	e, err := s.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return store.Entry{Key: key}, nil
	}
	if err != nil {
		return e, fmt.Errorf("reading the store: %w", err)
	}
	return e, nil
}

// tell has the rollout take a step.
func (c *change) tell(e rollout.Event) error {
	if c.rollout == nil {
		return nil
	}
	next, err := c.rollout.Apply(e)
	if err != nil {
		return err
	}
	c.rollout = next
	return nil
}

// configure brings the rollout to what is wanted, after the pool has changed.
func (c *change) configure(ctx context.Context) error {
	checked, err := c.pool.check(c.name)
	if err != nil {
		return &invalidError{err}
	}
	if !c.pool.planned() {
		if c.rollout != nil {
			return &invalidError{errors.New("scheme: a planned pool stays planned: IDs of its servers are in use; make a new pool")}
		}
		return nil
	}
	wanted, err := c.pool.configuration(checked)
	if err != nil {
		return &invalidError{err}
	}
	if c.rollout == nil {
		c.rollout = &rollout.Pool{}
		if err := c.knowBalancers(ctx); err != nil {
			return err
		}
	}
	if err := c.tell(rollout.Configure{Configuration: wanted, Key: sealed.NewKey(), At: c.at}); err != nil {
		return &invalidError{err}
	}
	return nil
}

// knowBalancers tells a new rollout who routes.
func (c *change) knowBalancers(ctx context.Context) error {
	all, _, err := c.s.store.List(ctx, prefixBalancers)
	if err != nil {
		return fmt.Errorf("reading the store: %w", err)
	}
	for _, e := range all {
		if err := c.tell(rollout.BalancerJoined{Name: strings.TrimPrefix(e.Key, prefixBalancers), At: c.at}); err != nil {
			return err
		}
	}
	return nil
}

// routes is what balancers shall have.
func (c *change) routes() (routesDocument, error) {
	a := adjustments{stale: make(map[string]bool), capacity: make(map[string]uint32)}
	for name, agent := range c.agents {
		if agent.Capacity != nil {
			a.capacity[name] = *agent.Capacity
		}
	}
	r := routesDocument{}
	if c.rollout != nil {
		for _, s := range c.pool.Servers {
			a.stale[s.Name] = c.rollout.Stale(rollout.ServerName(s.Name))
		}
		plan, version := c.rollout.Routed()
		r.Version = version
		if plan != nil {
			r.Plan, r.PlanRevision = plan.Encode(), plan.Revision()
		}
	}
	item, err := c.pool.yaml(c.name, a)
	if err != nil {
		return r, err
	}
	r.YAML, err = poolsYAML([]yaml.MapSlice{item})
	return r, err
}

// txn is what has to be committed. It is empty when nothing has changed.
func (c *change) txn(a *act) (store.Txn, error) {
	t := store.Txn{
		If: append([]store.Condition{
			{Key: prefixPools + c.name, Revision: c.poolRev},
			{Key: prefixRollouts + c.name, Revision: c.before.rolloutRev},
			{Key: prefixRoutes + c.name, Revision: c.before.routesRev},
		}, c.extra.If...),
		Put: c.extra.Put, Delete: c.extra.Delete,
	}
	if c.pool == nil {
		if c.poolRev == 0 {
			return store.Txn{}, errNoPool
		}
		t.Delete = append(t.Delete, prefixPools+c.name, prefixRollouts+c.name, prefixRoutes+c.name)
		for name := range c.before.agents {
			t.Delete = append(t.Delete, agentKey(c.name, name))
		}
		return withAudit(t, c.at, a), nil
	}
	if err := c.putChanged(&t); err != nil {
		return store.Txn{}, err
	}
	return withAudit(t, c.at, a), nil
}

func withAudit(t store.Txn, at time.Time, a *act) store.Txn {
	if a != nil {
		t.Put = append(t.Put, audit.Put(at, a.who, a.verb, a.on, a.from))
	}
	return t
}

// putChanged adds the documents that differ from what the store has.
func (c *change) putChanged(t *store.Txn) error {
	doc, err := json.Marshal(c.pool)
	if err != nil {
		return fmt.Errorf("writing pool %s: %w", c.name, err)
	}
	if !bytes.Equal(doc, c.before.pool) {
		t.Put = append(t.Put, store.Put{Key: prefixPools + c.name, Value: doc})
	}
	if c.rollout != nil {
		doc, err := c.rollout.Encode()
		if err != nil {
			return err
		}
		if !bytes.Equal(doc, c.before.rollout) {
			t.Put = append(t.Put, store.Put{Key: prefixRollouts + c.name, Value: doc, Secret: true})
		}
	}
	routes, err := c.routes()
	if err != nil {
		return err
	}
	if before := &c.before.routes; c.before.routesRev == 0 || routes.YAML != before.YAML || routes.Version != before.Version ||
		routes.PlanRevision != before.PlanRevision {
		doc, err := json.Marshal(routes)
		if err != nil {
			return fmt.Errorf("writing the routes of %s: %w", c.name, err)
		}
		t.Put = append(t.Put, store.Put{Key: prefixRoutes + c.name, Value: doc, Secret: true})
	}
	return c.putAgents(t)
}

func (c *change) putAgents(t *store.Txn) error {
	for name, agent := range c.agents {
		doc, err := json.Marshal(agent)
		if err != nil {
			return fmt.Errorf("writing agent %s/%s: %w", c.name, name, err)
		}
		if !bytes.Equal(doc, c.before.agents[name]) {
			t.If = append(t.If, store.Condition{Key: agentKey(c.name, name), Revision: c.before.agentRevs[name]})
			t.Put = append(t.Put, store.Put{Key: agentKey(c.name, name), Value: doc})
		}
	}
	for name := range maps.Keys(c.before.agents) {
		if c.agents[name] == nil {
			t.Delete = append(t.Delete, agentKey(c.name, name))
		}
	}
	return nil
}

// Tick tells the time to all rollouts.
func (s *Server) Tick(ctx context.Context) error {
	all, _, err := s.store.List(ctx, prefixRollouts)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range all {
		_, err := s.change(ctx, strings.TrimPrefix(e.Key, prefixRollouts), nil, func(c *change) error {
			if c.pool == nil {
				return errNoPool
			}
			return c.tell(rollout.Tick{Key: sealed.NewKey(), At: c.at})
		})
		if err != nil && !errors.Is(err, errNoPool) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
