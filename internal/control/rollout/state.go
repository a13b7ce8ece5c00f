package rollout

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

// A ServerName names a server, which is the owner of its spaces.
type ServerName = idspace.Owner

// A SpaceID says which space is meant.
type SpaceID struct {
	Owner      ServerName
	Generation uint64
}

// MarshalText writes id as in "3 a": the generation, then the owner.
func (id SpaceID) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d %s", id.Generation, id.Owner), nil
}

// UnmarshalText reads what MarshalText writes.
func (id *SpaceID) UnmarshalText(text []byte) error {
	number, owner, _ := strings.Cut(string(text), " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || owner == "" {
		return fmt.Errorf("%q is no space: it has a generation and an owner", text)
	}
	*id = SpaceID{Generation: n, Owner: ServerName(owner)}
	return nil
}

func (id SpaceID) compare(other SpaceID) int {
	return cmp.Or(cmp.Compare(id.Generation, other.Generation), cmp.Compare(id.Owner, other.Owner))
}

// A Pool is the state of the rollout of one planned pool. It is immutable:
// Apply returns another. The zero Pool knows nothing yet.
type Pool struct {
	// plan is what balancers are told; nil before the first Configure.
	plan *idspace.Plan
	s    state
	// order is what the package's rules are; tests break them.
	order order
}

// state is all of a Pool but its plan. The maps are never changed in place
// after Apply has returned.
type state struct {
	// Version counts the changes of what is routed.
	Version uint64 `json:"version"`
	// Assigned counts the changes of assignments, of all servers: so a server
	// that left and was added again is never given a version for a second time.
	Assigned uint64 `json:"assigned,omitempty"`
	// Wanted is the configuration that the plan follows as soon as it can.
	Wanted Configuration `json:"wanted"`
	// Behind is set while the plan may not be as wanted.
	Behind bool `json:"behind,omitempty"`
	// Rotate is why a new generation is to be opened as soon as one can; "":
	// none is.
	Rotate string `json:"rotate,omitempty"`
	// RotatedAt is when the last generation was opened.
	RotatedAt time.Time `json:"rotated_at"`
	// Problem is why the plan could not follow what is wanted.
	Problem string    `json:"problem,omitempty"`
	Since   time.Time `json:"problem_since,omitzero"`

	Balancers map[string]balancer     `json:"balancers"`
	Servers   map[ServerName]server   `json:"servers"`
	Spaces    map[SpaceID]spaceRecord `json:"spaces"`
}

// balancer is what is known of a balancer.
type balancer struct {
	// Acked is the newest version that it has on disk and live.
	Acked uint64 `json:"acked"`
	// Since is when it has been waited for, for people.
	Since time.Time `json:"since"`
	// SeenUpTo is the time until which it has told which IDs it saw, without
	// a gap that was not accounted for.
	SeenUpTo time.Time `json:"seen_up_to"`
	// Ignored is set by an override: nothing waits for it until it
	// acknowledges or reports again.
	Ignored bool `json:"ignored,omitempty"`
}

// server is what is known of a server that is, or was, in the pool.
type server struct {
	Group string `json:"group,omitempty"`
	// Agent is set when something reports for it.
	Agent bool `json:"agent,omitempty"`
	// Version is that of its assignment. See Assignment.Version.
	Version uint64    `json:"version"`
	Report  Report    `json:"report"`
	At      time.Time `json:"at,omitzero"` // of the report
	// RemovedAt is the version of the routes without it; 0: it is in the pool.
	RemovedAt    uint64    `json:"removed_at,omitempty"`
	RemovedSince time.Time `json:"removed_since,omitzero"`
	// Ignored is set by an override: nothing waits for it until it reports.
	Ignored bool `json:"ignored,omitempty"`
	// Uses is what its assignment lets it do.
	Uses []Use `json:"uses,omitempty"`
	// Growth is how often its share was doubled because its space ran out,
	// the last time at GrownAt.
	Growth  uint8     `json:"growth,omitempty"`
	GrownAt time.Time `json:"grown_at,omitzero"`
}

// spaceRecord is what is known of a space that is in the plan.
type spaceRecord struct {
	// RoutedSince is the version of the routes that first held all its values.
	RoutedSince uint64    `json:"routed_since"`
	Values      uint64    `json:"values"`
	Since       time.Time `json:"since"` // of the present phase, for people
	// Grant is the right to mint it; nil before all have acknowledged.
	Grant *Grant `json:"grant,omitempty"`
	// Offered is set once the server was told that it may mint it, and Moved
	// is the version of the assignment that first told it not to any more.
	Offered bool   `json:"offered,omitempty"`
	Moved   uint64 `json:"moved,omitempty"`
	// StoppedAt is when the server had stopped; zero: it has not, or is not
	// known to have.
	StoppedAt time.Time `json:"stopped_at,omitzero"`
	// LastSeen is when an ID of it was last seen by a balancer, or may have been.
	LastSeen time.Time `json:"last_seen,omitzero"`
	// None is set when the server said that no session of it is left.
	None bool `json:"none,omitempty"`
	// Buried is set by an override: it counts as dead.
	Buried bool `json:"buried,omitempty"`
}

// A Grant is the right of a server to mint a space. It never changes.
type Grant struct {
	// Name is the name of the server's ticket key of this generation.
	Name []byte `json:"name"`
	// Number is the server's number, of sealed.
	Number uint32 `json:"number,omitempty"`
	// Prefix begins IDs that have a constant in front; nil if the space holds
	// no prefix. Text is the mark as the head of a text ID, such as a jvmRoute.
	Prefix []byte `json:"prefix,omitempty"`
	Text   string `json:"text,omitempty"`
}

// clone returns a copy of p that can be changed.
func (p *Pool) clone() *Pool {
	c := *p
	c.s.Balancers = maps.Clone(p.s.Balancers)
	c.s.Servers = maps.Clone(p.s.Servers)
	c.s.Spaces = maps.Clone(p.s.Spaces)
	if c.s.Balancers == nil {
		c.s.Balancers = make(map[string]balancer)
	}
	if c.s.Servers == nil {
		c.s.Servers = make(map[ServerName]server)
	}
	if c.s.Spaces == nil {
		c.s.Spaces = make(map[SpaceID]spaceRecord)
	}
	return &c
}

// document is a Pool as it is kept.
type document struct {
	Format int             `json:"format"`
	Plan   json.RawMessage `json:"plan,omitempty"`
	State  state           `json:"state"`
}

// format is the version of the document.
const format = 1

// Encode returns the document of p, the same bytes for the same state. It
// holds mark keys in the clear: keep it as a secret.
func (p *Pool) Encode() ([]byte, error) {
	d := document{Format: format, State: p.s}
	if p.plan != nil {
		d.Plan = p.plan.Encode()
	}
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encoding a rollout: %w", err)
	}
	return b, nil
}

// Decode reads what Encode wrote.
func Decode(b []byte) (*Pool, error) {
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("the document of a rollout is damaged: %w", err)
	}
	if d.Format != format {
		return nil, fmt.Errorf("the document of a rollout has format %d; this program reads %d", d.Format, format)
	}
	p := &Pool{s: d.State}
	if d.Plan != nil {
		plan, err := idspace.ParsePlan(d.Plan)
		if err != nil {
			return nil, fmt.Errorf("the plan in the document of a rollout: %w", err)
		}
		p.plan = plan
	}
	return p.clone(), nil
}

// MarshalJSON returns an error: see Encode.
func (p *Pool) MarshalJSON() ([]byte, error) {
	return nil, fmt.Errorf("a rollout holds mark keys and is not shown as a whole; use Status")
}

// Routed returns the plan that balancers must have, nil before there is one,
// and its version.
func (p *Pool) Routed() (*idspace.Plan, uint64) { return p.plan, p.s.Version }

// sortedSpaces returns the spaces in order.
func (p *Pool) sortedSpaces() []SpaceID {
	return slices.SortedFunc(maps.Keys(p.s.Spaces), SpaceID.compare)
}

// sortedServers returns the servers in order, those that left included.
func (p *Pool) sortedServers() []ServerName { return slices.Sorted(maps.Keys(p.s.Servers)) }

// sortedBalancers returns the balancers in order.
func (p *Pool) sortedBalancers() []string { return slices.Sorted(maps.Keys(p.s.Balancers)) }
