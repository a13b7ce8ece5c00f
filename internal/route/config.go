package route

import (
	"crypto/tls"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

// The names of the domain have a type each so that they cannot be mixed up.
type (
	// PoolName names a pool.
	PoolName string
	// ServerName names a server within its pool.
	ServerName string
	// GroupName names a group within its pool. It differs from the names of
	// the pool's servers, because either can own a space.
	GroupName string
	// ListenerName names a listener.
	ListenerName string
)

// Bounds of a pool.
const (
	// MaxServers is how many servers a pool may have. It keeps indexes in 16
	// bits and leaves each server slots in the table of the policy hash.
	MaxServers = 1 << 14
	// MaxWeight is the largest weight of a server.
	MaxWeight = 1<<16 - 1
)

// PoolConfig describes a pool. It is plain data, made by package config; a
// Pool does not change it, and neither may anybody else once NewPool has it.
type PoolConfig struct {
	Name PoolName
	// Policy chooses a server for new traffic.
	Policy Policy
	// WhenOwnerDown, UnknownIDs, RandomIDs and EarlyData are the pool's rules
	// for steps 2 and 4 of the decision; see their types.
	WhenOwnerDown WhenOwnerDown
	UnknownIDs    UnknownIDs
	RandomIDs     RandomIDs
	EarlyData     EarlyData
	// SessionLifetime is how long after its last use an ID may come back. The
	// decision does not use it.
	SessionLifetime time.Duration
	// DrainTimeout is how long a draining server still takes the IDs of its
	// space. 0: until it is removed.
	DrainTimeout time.Duration
	// Table finds the owners of IDs, which are names of Servers or Groups.
	// nil: there are no spaces.
	Table *idspace.Table
	// Gone are owners of Table that have left the pool. Their IDs are dealt
	// with like those of a server that is down.
	Gone []idspace.Owner
	// Seen is told which IDs were seen. nil: nobody wants to know.
	Seen *Seen
	// Discovered says that Table was read off the servers, or will be: it
	// says what they mint and not what they should.
	Discovered bool
	// Learned knows IDs that servers were seen to assign. nil: the pool does
	// not learn.
	Learned LearnedList
	Groups  []GroupConfig
	Servers []ServerConfig
	Health  HealthConfig
	// ProxyProtocol is the version of the PROXY header that the servers expect.
	ProxyProtocol ProxyVersion
	// Upstream is how listeners of protocol http speak with the servers.
	Upstream UpstreamConfig
}

// GroupConfig describes a group: servers that share session state.
type GroupConfig struct {
	Name GroupName
	// Policy chooses among the members.
	Policy Policy
}

// ServerConfig describes a server.
type ServerConfig struct {
	Name    ServerName
	Address Address
	// Group is the group that the server is a member of, "" for none.
	Group GroupName
	// Weight is the server's part of new traffic, in proportion to the other
	// servers' weights, at most MaxWeight. 0: no new traffic; the IDs of its
	// space come all the same.
	Weight int
	// MaxConnections is the most connections at a time, from this replica,
	// for any reason. 0: no limit.
	MaxConnections int
	// Draining ends new traffic to the server; see the package comment.
	Draining bool
}

// HealthConfig describes the health checks of a pool's servers.
type HealthConfig struct {
	Type HealthType
	// Interval is the time between two checks of a server, Timeout the most
	// that one may take.
	Interval time.Duration
	Timeout  time.Duration
	// Rise and Fall are how many checks in a row must succeed or fail to
	// change what is thought of a server.
	Rise, Fall int
	// SNI is the server name that a check of type tls asks for, "" for none.
	SNI string
	// Path and Host are what a check of type http asks for.
	Path, Host string
}

// UpstreamConfig is how HTTP is spoken with a pool's servers.
type UpstreamConfig struct {
	// HTTP2 is HTTP/2: with TLS where the server agrees to it (ALPN), without
	// TLS with prior knowledge.
	HTTP2 bool
	// TLS encrypts. nil: cleartext. It must not be changed.
	TLS *tls.Config
}

// A LearnedList knows which server was seen to assign an ID. It must be safe
// for concurrent use, must not keep or change id, and should not allocate: it
// is asked for every ID without an owner.
type LearnedList interface {
	// Server returns the name of the server that assigned id, which stood in
	// field.
	Server(field idspace.Field, id []byte) (ServerName, bool)
}

// Snapshot is all that a balancer needs to decide. It is immutable; a reload
// makes another one.
type Snapshot struct {
	Pools     map[PoolName]*Pool
	Listeners map[ListenerName]*Listener
}
