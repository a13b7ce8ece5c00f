package backend

import (
	"net/netip"
	"time"
)

// historySize is how many changes of a server's state are remembered. It is
// enough to see a server flap, and bounds what a flapping one costs.
const historySize = 16

// A Transition is one change of a server's state.
type Transition struct {
	At     time.Time
	Up     bool
	Reason string
}

// Status is what is known of a server at one moment, for people to see.
type Status struct {
	// Up says whether the server is up, and Since how long: since the last
	// transition, or since the server is known.
	Up    bool
	Since time.Time
	// LastCheck is when the last health check began; zero when there was none.
	LastCheck time.Time
	// LastError is what was wrong at the last health check, "" if nothing was.
	LastError string
	// ResolveError is why the name last did not resolve, "" if it did. The
	// addresses are then older.
	ResolveError string
	// Addresses are those of a DNS name.
	Addresses []netip.Addr
	// FailedConnects is how many connects in a row have failed.
	FailedConnects int
	// History holds the last transitions, oldest first.
	History []Transition
}

// remember appends a transition and forgets the oldest one if need be.
func remember(history []Transition, t Transition) []Transition {
	if len(history) == historySize {
		copy(history, history[1:])
		history = history[:historySize-1]
	}
	return append(history, t)
}
