package rollout

import (
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/sealed"
)

// An Event is something that happened. Every event says when.
type Event interface{ at() time.Time }

// A Configuration is what an operator wants of a planned pool.
type Configuration struct {
	// Scheme is the family of rules; its kind never changes.
	Scheme Scheme `json:"scheme"`
	// Members are the servers, each an owner.
	Members []Member `json:"members"`
	// SessionLifetime is how long a session lives after its ID was last used;
	// 0: without bound, so that a space is dead only when its server or an
	// operator says so.
	SessionLifetime time.Duration `json:"session_lifetime"`
	// RotateEvery opens a generation so long after the last; 0: never.
	RotateEvery time.Duration `json:"rotate_every,omitempty"`
}

// A Member is a server of the pool.
type Member struct {
	Name  ServerName `json:"name"`
	Share uint32     `json:"share,omitempty"` // 0 means 1
	// Group is the name of the servers that share session state with it; "":
	// none do.
	Group string `json:"group,omitempty"`
}

// Configure says what is wanted. Key is for the generation that may have to
// be opened, of the scheme sealed: a new one for each event.
//
// Plan, for a pool that has none yet, is one by which servers mint and
// balancers route already, without a control plane: the rollout goes on from
// it, and every ID of it is routed as before.
type Configure struct {
	Configuration
	Plan *idspace.Plan
	Key  sealed.Key
	At   time.Time
}

// BalancerJoined says that a balancer may ask for routes from now on. It is
// sent before the first route is handed out to it.
type BalancerJoined struct {
	Name string
	At   time.Time
}

// BalancerLeft says that a balancer will never route again.
type BalancerLeft struct {
	Name string
	At   time.Time
}

// BalancerAcked says that a balancer has the routes of Version, or newer ones,
// on disk and live in every worker.
type BalancerAcked struct {
	Name    string
	Version uint64
	At      time.Time
}

// BalancerSaw says which IDs a balancer has seen between Since and At. What it
// saw in a gap before Since, because it was restarted, nobody knows.
type BalancerSaw struct {
	Name   string
	Since  time.Time
	Spaces map[SpaceID]time.Time // when last
	At     time.Time
}

// AgentReported is what a server's agent, or the SDK in it, says.
type AgentReported struct {
	Server ServerName
	Report Report
	At     time.Time
}

// A Report is the state of a server.
type Report struct {
	// Version is that of the assignment which is in effect.
	Version uint64 `json:"version"`
	// Held are the keys with which it decrypts, its own and its partners'.
	Held []SpaceID `json:"held,omitempty"`
	// Minting are the generations under which it may mint now.
	Minting []uint64 `json:"minting,omitempty"`
	// OldWorkersGone says that no process with older keys is left.
	OldWorkersGone bool `json:"old_workers_gone,omitempty"`
	// Verified says that this was seen on the wire.
	Verified bool `json:"verified,omitempty"`
	// NoSessions are the generations of which no session is left.
	NoSessions []uint64 `json:"no_sessions,omitempty"`
	// Problem is why it could not do as assigned.
	Problem string `json:"problem,omitempty"`
	// RunsOut says that the space is small against the rate of minting.
	RunsOut bool `json:"runs_out,omitempty"`
	// KeysKept is how many keys the product decrypts with; 0: no limit.
	KeysKept uint32 `json:"keys_kept,omitempty"`
	// MarkBytes is the longest mark that it can carry; 0: any.
	MarkBytes uint32 `json:"mark_bytes,omitempty"`
	// Adapter is how it is configured, for people.
	Adapter string `json:"adapter,omitempty"`
}

// AgentLeft says that nothing reports for a server any more. What it minted
// remains its own.
type AgentLeft struct {
	Server ServerName
	At     time.Time
}

// Rotate opens a generation. It is refused while one is being prepared, and,
// unless EndSessions is set, when servers would forget keys of sessions that
// live.
type Rotate struct {
	Key         sealed.Key
	EndSessions bool
	At          time.Time
}

// Override ends waits by an operator's word. Costs must be those that Status
// told, so that nobody overrides what they have not read.
type Override struct {
	Waits []WaitID
	Costs []string
	At    time.Time
}

// Tick is time passing. Key is as in Configure.
type Tick struct {
	Key sealed.Key
	At  time.Time
}

func (e Configure) at() time.Time      { return e.At }
func (e BalancerJoined) at() time.Time { return e.At }
func (e BalancerLeft) at() time.Time   { return e.At }
func (e BalancerAcked) at() time.Time  { return e.At }
func (e BalancerSaw) at() time.Time    { return e.At }
func (e AgentReported) at() time.Time  { return e.At }
func (e AgentLeft) at() time.Time      { return e.At }
func (e Rotate) at() time.Time         { return e.At }
func (e Override) at() time.Time       { return e.At }
func (e Tick) at() time.Time           { return e.At }
