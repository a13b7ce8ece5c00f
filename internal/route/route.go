package route

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

// Names of the domain, one type each so that they cannot be mixed up.
type (
	PoolName     string
	ServerName   string
	GroupName    string
	ListenerName string
)

// PoolConfig describes a pool. It is plain data, made by package config.
type PoolConfig struct {
	Name            PoolName
	Policy          Policy
	WhenOwnerDown   WhenOwnerDown
	UnknownIDs      UnknownIDs
	RandomIDs       RandomIDs
	EarlyData       EarlyData
	SessionLifetime time.Duration
	DrainTimeout    time.Duration
	Table           *idspace.Table // nil: no spaces; owners are names of Servers or Groups
	Groups          []GroupConfig
	Servers         []ServerConfig
	Health          HealthConfig
	ProxyProtocol   ProxyVersion // towards the servers
}

type GroupConfig struct {
	Name   GroupName
	Policy Policy
}

type ServerConfig struct {
	Name           ServerName
	Address        Address
	Group          GroupName // "" for none
	Weight         int
	MaxConnections int // 0: no limit
	Draining       bool
}

// Address is where a server listens: "host:port" with an IP address or a DNS
// name, or "unix:/path".
type Address struct {
	Network string // "tcp" or "unix"
	Host    string // IP address or DNS name; path for unix
	Port    uint16
}

type HealthConfig struct {
	Type       HealthType
	Interval   time.Duration
	Timeout    time.Duration
	Rise, Fall int
	SNI        string
}

// State is the live state of one server. It outlives reloads: NewPool hands
// the State of a server on to the server of the same name in the next pool.
// All of it is safe for concurrent use.
type State struct {
	Up         atomic.Bool                      // set by health checks and passive detection; true at first
	Conns      atomic.Int64                     // connections in progress
	DrainSince atomic.Int64                     // unix nanoseconds; 0 when not draining
	Addrs      atomic.Pointer[[]netip.AddrPort] // resolved addresses of a DNS name
}

type Server struct {
	Config ServerConfig
	Index  int // in Pool.Servers
	Pool   *Pool
	State  *State
}

type Pool struct {
	Config  PoolConfig
	Servers []*Server
	// unexported: owner index -> server or group, maglev table, counters ...
}

// NewPool builds a pool. prev is the pool of the same name in the snapshot
// before, nil if there is none: servers of the same name keep their State.
func NewPool(cfg PoolConfig, prev *Pool) (*Pool, error) { return &Pool{Config: cfg}, nil }

type Candidate struct {
	Field idspace.Field
	ID    []byte
}

// Facts is what the decision uses besides the candidates.
type Facts struct {
	Client      netip.AddrPort // hash policy
	OffersTLS13 bool
	HasTicket   bool // a non-empty ticket or a PSK was offered
	EarlyData   bool
	Now         time.Time
	Exclude     []*Server // tried already: connect failed
}

// Decision is the answer. Server is nil exactly when RoutedBy is ByRefused.
type Decision struct {
	Server    *Server
	RoutedBy  RoutedBy
	Cause     Cause
	Field     idspace.Field // field of the ID that decided, or of the first candidate; FieldNone without an ID
	Match     idspace.Match
	HasMatch  bool
	Candidate int // index of the candidate that decided, -1
	Skipped   int // random session IDs not looked up
}

// Pick decides and takes a connection slot on the server chosen; the caller
// must call Release on that server when the connection has ended.
func (p *Pool) Pick(c []Candidate, f *Facts) Decision { return Decision{} }

// Explain decides like Pick and changes nothing.
func (p *Pool) Explain(c []Candidate, f *Facts) Decision { return Decision{} }

// Release gives back the slot that Pick took.
func (s *Server) Release() { s.State.Conns.Add(-1) }

// SNIRoute sends names that match to a pool. Pattern is exact or "*.rest".
type SNIRoute struct {
	Pattern string
	Pool    *Pool
}

// Listener maps what a listener accepts to pools.
type Listener struct {
	Name   ListenerName
	Routes []SNIRoute
	Pool   *Pool // nil: what no route takes is refused
}

// PoolFor returns the pool for a server name, nil if none takes it.
func (l *Listener) PoolFor(sni []byte) *Pool { return l.Pool }

// Snapshot is all that a balancer needs to decide. It is immutable.
type Snapshot struct {
	Pools     map[PoolName]*Pool
	Listeners map[ListenerName]*Listener
}
