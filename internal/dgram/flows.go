package dgram

// Hot: every datagram finds a flow here. Budget: no allocation but for new flows.

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// A Tuple is the addresses of a datagram from a client: its own, and the one that
// it was sent to. IPv4 addresses are mapped to IPv6. It has no pointers and no
// padding, so that a map hashes it as one run of bytes.
type Tuple struct {
	Client, Local         [16]byte
	ClientPort, LocalPort uint16
	// Scope is the interface of a link-local client, else 0.
	Scope uint32
}

// TupleOf returns the tuple of two addresses without scopes.
func TupleOf(client, local netip.AddrPort) Tuple {
	return Tuple{
		Client: client.Addr().As16(), ClientPort: client.Port(),
		Local: local.Addr().As16(), LocalPort: local.Port(),
	}
}

// ClientAddrPort returns the client's address, without its scope.
func (t *Tuple) ClientAddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(t.Client).Unmap(), t.ClientPort)
}

// A Flow is what one client and one server send each other.
type Flow struct {
	Tuple Tuple
	// Server is where the flow goes, as it was configured when the flow was opened. It
	// holds a connection slot for the flow; see Flows.
	Server *route.Server

	// Socket is whatever the caller keeps for the flow.
	Socket any

	known    bool // its client sent an ID with an owner
	home     bool // it is in Flows.homes
	lastSeen time.Time
	// Neighbours in the list of its kind.
	older, newer *Flow
}

// Known reports whether the flow's client sent an ID with an owner: it is a client
// that a server has spoken with, and no forged address.
func (f *Flow) Known() bool { return f.known }

// LastSeen returns when a datagram last passed.
func (f *Flow) LastSeen() time.Time { return f.lastSeen }

// A flowKey finds a flow by its server's live state, which is the same before and
// after a reload.
type flowKey struct {
	tuple  Tuple
	server *route.State
}

// FlowLimits bound a table of flows. Each flow costs a descriptor and some memory
// here and in the kernel.
type FlowLimits struct {
	// Max is how many flows there may be.
	Max int
	// MaxUnknown is how many of them may be unknown (see Flow.Known), at most Max. A
	// flood of forged addresses fills that part and no more. When all sessions are
	// without IDs, it should be Max.
	MaxUnknown int
	// Idle is how long a flow may be without a datagram in either direction.
	Idle time.Duration
	// Settled is how long a flow must have been without one until an unknown newcomer
	// may take its place. It bounds how often a flood opens and closes sockets; 0 sets
	// no bound.
	Settled time.Duration
}

func (l FlowLimits) check() error {
	if l.Max < 1 || l.MaxUnknown < 1 || l.MaxUnknown > l.Max || l.Idle <= 0 || l.Settled < 0 {
		return fmt.Errorf("limiting flows: %d of which %d unknown, idle for %v, settled for %v: all but the last must be positive, and the second at most the first",
			l.Max, l.MaxUnknown, l.Idle, l.Settled)
	}
	return nil
}

// Flows are the flows of one worker, and the homes of addresses. A flow holds a
// connection slot of its server from open until it is gone. It is not safe for
// concurrent use.
type Flows struct {
	limits FlowLimits
	flows  map[flowKey]*Flow
	homes  map[Tuple]*Flow
	// Of both kinds, in the order in which they were last seen.
	known, unknown flowList
	// closed are those that Reap has not returned yet.
	closed flowList
}

// NewFlows returns an empty table.
func NewFlows(limits FlowLimits) (*Flows, error) {
	if err := limits.check(); err != nil {
		return nil, err
	}
	return &Flows{limits: limits, flows: make(map[flowKey]*Flow), homes: make(map[Tuple]*Flow)}, nil
}

// SetLimits changes the limits. Flows that are too many now go as others are opened,
// or expire.
func (t *Flows) SetLimits(limits FlowLimits) {
	if limits.check() == nil {
		t.limits = limits
	}
}

// Len returns the number of flows, and how many of them are unknown.
func (t *Flows) Len() (all, unknown int) { return t.known.n + t.unknown.n, t.unknown.n }

// Find returns the flow between a client and a server, nil if there is none.
func (t *Flows) Find(tuple *Tuple, s *route.Server) *Flow {
	return t.flows[flowKey{*tuple, s.State}]
}

// Home returns the flow that datagrams without a server's ID take, nil if there is
// none.
func (t *Flows) Home(tuple *Tuple) *Flow { return t.homes[*tuple] }

// Seen notes that a datagram of f passed, in either direction.
func (t *Flows) Seen(f *Flow, now time.Time) {
	f.lastSeen = now
	l := t.list(f)
	if l.newest != f {
		l.remove(f)
		l.add(f)
	}
}

// open adds a flow, for which the caller holds a slot of s. When there is no room,
// an older flow makes it: an unknown one if there is any, and for an unknown newcomer
// no other. It returns nil when that leaves no room.
func (t *Flows) open(tuple *Tuple, s *route.Server, known bool, now time.Time) *Flow {
	full := t.known.n+t.unknown.n >= t.limits.Max
	if full || !known && t.unknown.n >= t.limits.MaxUnknown {
		evicted := t.unknown.oldest
		if evicted != nil && !known && now.Sub(evicted.lastSeen) < t.limits.Settled {
			return nil
		}
		if evicted == nil && known {
			evicted = t.known.oldest
		}
		if evicted == nil {
			return nil
		}
		t.close(evicted)
	}
	f := &Flow{Tuple: *tuple, Server: s, known: known, lastSeen: now}
	t.flows[flowKey{*tuple, s.State}] = f
	t.list(f).add(f)
	return f
}

// settle makes f the home of its tuple.
func (t *Flows) settle(f *Flow) {
	if old := t.homes[f.Tuple]; old != nil {
		old.home = false
	}
	t.homes[f.Tuple], f.home = f, true
}

// recognise makes f known.
func (t *Flows) recognise(f *Flow) {
	if !f.known {
		t.unknown.remove(f)
		f.known = true
		t.known.add(f)
	}
}

// Close closes a flow, which is for flows whose socket could not be opened.
func (t *Flows) Close(f *Flow) { t.close(f) }

// close removes f and gives back its slot.
func (t *Flows) close(f *Flow) {
	delete(t.flows, flowKey{f.Tuple, f.Server.State})
	if f.home {
		delete(t.homes, f.Tuple)
	}
	t.list(f).remove(f)
	t.closed.add(f)
	f.Server.Release()
}

// Expire closes the flows that have been idle for too long.
func (t *Flows) Expire(now time.Time) {
	for _, l := range []*flowList{&t.unknown, &t.known} {
		for l.oldest != nil && now.Sub(l.oldest.lastSeen) >= t.limits.Idle {
			t.close(l.oldest)
		}
	}
}

// CloseAll closes all flows.
func (t *Flows) CloseAll() {
	for _, l := range []*flowList{&t.unknown, &t.known} {
		for l.oldest != nil {
			t.close(l.oldest)
		}
	}
}

// Reap returns a flow that was closed, whose socket is to be closed, or nil when
// there is none left. Decide and Expire close flows: call Reap until it returns nil
// after each batch.
func (t *Flows) Reap() *Flow {
	f := t.closed.oldest
	if f != nil {
		t.closed.remove(f)
	}
	return f
}

func (t *Flows) list(f *Flow) *flowList {
	if f.known {
		return &t.known
	}
	return &t.unknown
}

// A flowList is flows from the oldest to the newest.
type flowList struct {
	oldest, newest *Flow
	n              int
}

func (l *flowList) add(f *Flow) {
	f.older, f.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = f
	} else {
		l.oldest = f
	}
	l.newest = f
	l.n++
}

func (l *flowList) remove(f *Flow) {
	if f.older != nil {
		f.older.newer = f.newer
	} else {
		l.oldest = f.newer
	}
	if f.newer != nil {
		f.newer.older = f.older
	} else {
		l.newest = f.older
	}
	f.older, f.newer = nil, nil
	l.n--
}
