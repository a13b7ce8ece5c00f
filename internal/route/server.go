package route

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// State is the live state of one server. It outlives reloads: NewPool hands
// the State of a server on to the server of the same name in the next pool.
// All of it is safe for concurrent use.
type State struct {
	// Up is what health checks and failing connects say; true at first.
	Up atomic.Bool
	// Conns is the number of connections in progress. Pick adds to it, Release
	// takes away.
	Conns atomic.Int64
	// DrainSince is when a drain was ordered otherwise than by the
	// configuration, in Unix nanoseconds; 0 when none was. See
	// [Server.DrainingSince] for both.
	DrainSince atomic.Int64
	// Addrs holds the resolved addresses of a DNS name, and is nil before they
	// are known and for other servers. The ports do not count: the port is
	// that of the server's Address.
	Addrs atomic.Pointer[[]netip.AddrPort]
}

// A Server is one server of a Pool. It is immutable, but for its State.
type Server struct {
	Config ServerConfig
	Index  int // in Pool.Servers
	Pool   *Pool
	State  *State

	literal      netip.AddrPort // of an Address without a name; zero otherwise
	group        *group         // nil for none
	weight       int64          // Config.Weight
	limit        int64          // Config.MaxConnections
	drainSince   int64          // Unix nanoseconds, of the configured drain; 0 when not draining
	drainTimeout int64          // nanoseconds; 0 for none
}

// Literal returns the server's address, if it is not a name or a path.
func (s *Server) Literal() (netip.AddrPort, bool) { return s.literal, s.literal.IsValid() }

// DrainingSince returns when the server's drain began, and false when it is
// not draining.
func (s *Server) DrainingSince() (time.Time, bool) {
	ns := s.drainStart()
	return time.Unix(0, ns), ns != 0
}

// TakesTraffic reports whether IDs of the server's space go to it: it is up,
// and a drain has not timed out. Its connection limit does not count.
func (s *Server) TakesTraffic(now time.Time) bool { return s.takes(nanos(now), nil) }

// TakesNewTraffic reports whether messages without an ID may go to the server:
// it takes traffic, has a weight, and does not drain. Its connection limit
// does not count.
func (s *Server) TakesNewTraffic(now time.Time) bool {
	return s.TakesTraffic(now) && s.takesNew()
}

// Release gives back the slot that Pick took.
func (s *Server) Release() { s.State.Conns.Add(-1) }

func (s *Server) drainStart() int64 {
	if ns := s.State.DrainSince.Load(); ns != 0 {
		return ns
	}
	return s.drainSince
}

// takesNew says whether a server that takes traffic takes new traffic too.
func (s *Server) takesNew() bool { return s.weight > 0 && s.drainStart() == 0 }

// takes says whether the server takes traffic at now, in Unix nanoseconds, for
// a message for which the servers of exclude were tried in vain.
func (s *Server) takes(now int64, exclude []*Server) bool {
	if !s.State.Up.Load() {
		return false
	}
	if s.drainTimeout > 0 {
		if since := s.drainStart(); since != 0 && now-since >= s.drainTimeout {
			return false
		}
	}
	for _, x := range exclude {
		// By State, which is the same before and after a reload.
		if x.State == s.State {
			return false
		}
	}
	return true
}

// full says whether the server is at its connection limit.
func (s *Server) full() bool { return s.limit > 0 && s.State.Conns.Load() >= s.limit }

// acquire takes a connection slot, and returns false when there is none. The
// limit holds exactly however many goroutines ask at once.
func (s *Server) acquire() bool {
	if s.limit == 0 {
		s.State.Conns.Add(1)
		return true
	}
	for {
		n := s.State.Conns.Load()
		if n >= s.limit {
			return false
		}
		if s.State.Conns.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// nanos is t.UnixNano, with 0 for the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
