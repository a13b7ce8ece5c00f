package config

import (
	"net/netip"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/internal/route"
)

// A Config is a file that was read, checked and compiled.
type Config struct {
	// Path is the path that was given to Load.
	Path string
	// Admin is where metrics and health are served; nil means nowhere.
	Admin *Address
	// ShutdownGrace is how long connections may go on after SIGTERM.
	ShutdownGrace time.Duration
	// Control is the control plane; nil: there is none.
	Control *Control
	// Listeners stand in the order of the file.
	Listeners []Listener
	// Waiting are the listeners whose pool the control plane does not have.
	Waiting []Waiting
	// Pools stand in the order of the file.
	Pools []route.PoolConfig
	// Schemes are the pools that have a scheme.
	Schemes map[route.PoolName]Scheme
	// Discover are the pools whose servers are probed.
	Discover map[route.PoolName]*Discover
	// Learn are the pools that have a learned list.
	Learn map[route.PoolName]Learn
	// Warnings are what is legal and probably not meant, by line.
	Warnings []Problem
}

// An Address to listen on: Network is "tcp", "udp" or "unix", Address is what
// net.Listen takes.
type Address struct{ Network, Address string }

// Protocol of a listener, as the file names it.
type Protocol string

// The protocols.
const (
	ProtocolTLS  Protocol = "tls"  // TLS that is passed through, routed by its hello
	ProtocolTCP  Protocol = "tcp"  // TCP of any kind, connected at once
	ProtocolQUIC Protocol = "quic" // QUIC, routed by connection ID
	ProtocolDTLS Protocol = "dtls" // DTLS, routed by connection ID
	ProtocolUDP  Protocol = "udp"  // UDP of any kind, routed by bytes at a place
	ProtocolHTTP Protocol = "http" // HTTP, each request routed by itself
)

// Datagrams reports whether p is a protocol of datagrams.
func (p Protocol) Datagrams() bool {
	return p == ProtocolQUIC || p == ProtocolDTLS || p == ProtocolUDP
}

// A Listener of the file, with every default filled in.
type Listener struct {
	Name            route.ListenerName
	Listen          []Address
	Protocol        Protocol
	AcceptFrom      []netip.Prefix // peers that must send a PROXY header; nil: none does
	HelloTimeout    time.Duration
	ConnectTimeout  time.Duration
	IdleTimeout     time.Duration  // 0: connections may be idle for ever
	MaxConnections  int            // 0: no limit, and for datagrams the default
	CIDLength       int            // of the pool's servers; 0: not known
	Significant     int            // how many octets of an ID say whose it is; 0: not known
	Bytes           []BytesID      // where IDs stand, with protocol udp
	AccessLog       string         // path; "" none
	AccessLogFormat string         // text or json
	Engine          string         // auto or portable
	Routes          []Route        // the first that matches wins
	Pool            route.PoolName // what no route takes; "": that is refused
	HTTP            *HTTP          // of protocol http; nil for others
}

// A BytesID is a place in datagrams where an ID stands.
type BytesID struct {
	Offset, Length int
	// The datagrams meant have the octets WhenEquals at WhenOffset; nil: all.
	WhenOffset int
	WhenEquals []byte
}

// A Route of a listener.
type Route struct {
	SNI  string // a name, or "*.rest"; lower case
	Host string // of protocol http: likewise, "" for every host
	Path string // of protocol http: a prefix, "" for every path
	Pool route.PoolName
}

// A Scheme is how a pool's spaces come about when nobody writes them by hand.
type Scheme struct {
	// Kind is the scheme as the file names it.
	Kind string
	// PlanFile is the path of the plan, "" when the pool has none.
	PlanFile string
	// Members are who shall have a space, in the order of the file: its
	// servers and those groups that have a share.
	Members []idspace.Member
	// QUICLB are the configurations of the scheme quic-lb; nil without it.
	QUICLB *quiclb.Set
	// QUICLBOrder are their numbers in the order of the file, and ServerIDs what
	// each server has under them.
	QUICLBOrder []quiclb.ConfigID
	ServerIDs   map[route.ServerName][]quiclb.Decoded
	// CIDLength is the length of the servers' connection IDs; 0: not known.
	CIDLength int
	// Significant is how many of their octets say whose they are; 0: not known.
	Significant int
}

// Options of Load.
type Options struct {
	// Functions are the ID functions that the program brings, by name
	// (scheme: {kind: function, name: ...}).
	Functions map[string]idspace.Function
	// Pools are the control plane's. nil: it has sent none yet, or there is no
	// control plane.
	Pools *Pools
	// WithoutPlans leaves the plans unread: a planned pool has a Scheme and no
	// table. It is for the command that is about to write them.
	WithoutPlans bool
}
