package engine

import (
	"net/netip"
	"time"
)

// ListenOptions are how an address is bound.
type ListenOptions struct {
	// Whole says that datagrams must not be fragmented on their way, as QUIC's.
	Whole bool
	// Join lets the address be bound already, by sockets that share it.
	Join bool
}

// Addr returns the address that the sockets are bound to.
func (s *Sockets) Addr() netip.AddrPort { return s.addr }

// Len returns how many sockets there are.
func (s *Sockets) Len() int { return len(s.each) }

const (
	// listenBuffer is how much the kernel may hold of what has come for a listener's
	// socket, and flowBuffer for a flow's: what a burst may bring while the worker is
	// busy. The kernel allows less if net.core.rmem_max says so.
	listenBuffer = 8 << 20
	flowBuffer   = 1 << 20
	// maxDatagram is the largest datagram of UDP over IPv4 or IPv6, rounded up.
	maxDatagram = 1 << 16
	// expireEvery is how often flows that are idle are looked for.
	expireEvery = time.Second
)
