// Package config reads the configuration file: strictly, and with every
// problem at once.
package config

import (
	"time"

	"net/netip"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

// A Config is a file that was read, checked and compiled.
type Config struct {
	Path          string
	Admin         *Address // nil: no admin listener
	ShutdownGrace time.Duration
	Listeners     []Listener
	Pools         []route.PoolConfig
	Warnings      []Problem
}

// An Address to listen on: Network is "tcp" or "unix".
type Address struct{ Network, Address string }

// Protocol of a listener, as the file names it.
type Protocol string

// A Listener of the file.
type Listener struct {
	Name            route.ListenerName
	Listen          []Address
	Protocol        Protocol
	AcceptFrom      []netip.Prefix
	HelloTimeout    time.Duration
	ConnectTimeout  time.Duration
	IdleTimeout     time.Duration
	MaxConnections  int
	AccessLog       string // path; "" none
	AccessLogFormat string // text | json
	Engine          string
	Routes          []Route
	Pool            route.PoolName
}

// A Route of a listener.
type Route struct {
	SNI  string
	Pool route.PoolName
}

// A Problem is something wrong with a file, with what to write instead.
type Problem struct {
	Path   string // pools[2].servers[0].address
	Line   int
	Reason string
	Remedy string
}

// Problems is the error of a file with problems: all of them.
type Problems []Problem

func (p Problems) Error() string { return "" }

// Options of Load.
type Options struct {
	// Functions are the ID functions that the program brings, by name
	// (scheme: {kind: function, name: ...}).
	Functions map[string]idspace.Function
}

// Load reads, checks and compiles the file at path. The error is a Problems
// when the file could be read.
func Load(path string, o Options) (*Config, error) { return nil, nil }
