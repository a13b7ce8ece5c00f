package engine

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/dgram"
)

// An upstream is the socket of a flow: connected to its server, so that the kernel
// tells the replies to one client from those to another.
type upstream struct {
	fd   int
	flow *dgram.Flow
	// slot finds the upstream from an event of epoll. serial tells it from those that
	// had the slot before.
	slot, serial uint32
	// server is where the flow's datagrams go, client where the replies do.
	server, client place
	clientName     unix.RawSockaddrInet6
	// first and last are the queue of datagrams to the server, in worker.queue; -1
	// when it is empty.
	first, last int32
	// waiting says that it is in worker.ready.
	waiting bool
}

// upstreams are those of a worker. Their number is bounded by the flows'.
type upstreams struct {
	slots  []*upstream // nil: free
	free   []uint32
	serial uint32
}

func (u *upstreams) add(s *upstream) {
	u.serial++
	s.serial = u.serial
	if n := len(u.free); n > 0 {
		s.slot = u.free[n-1]
		u.free = u.free[:n-1]
		u.slots[s.slot] = s
		return
	}
	s.slot = uint32(len(u.slots)) //nolint:gosec // bounded by the number of flows
	u.slots = append(u.slots, s)
}

func (u *upstreams) remove(s *upstream) {
	u.slots[s.slot] = nil
	u.free = append(u.free, s.slot)
}

// find returns the upstream that an event is about, nil if it is gone.
func (u *upstreams) find(e *unix.EpollEvent) *upstream {
	if int(e.Fd) >= len(u.slots) {
		return nil
	}
	if s := u.slots[e.Fd]; s != nil && s.serial == uint32(e.Pad) { //nolint:gosec // it is no number but a mark
		return s
	}
	return nil
}

// connect opens the socket of a flow.
func (w *epollWorker) connect(f *dgram.Flow) (*upstream, error) {
	server, ok := serverAddr(f.Server)
	if !ok {
		return nil, errUnresolved
	}
	server = netip.AddrPortFrom(server.Addr().Unmap(), server.Port())
	fd, err := open(server.Addr(), w.whole, flowBuffer)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, sockaddrOf(server)); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("connecting to %v: %w", server, err)
	}
	s := &upstream{fd: fd, flow: f, server: place{v4: server.Addr().Is4()}, first: -1, last: -1}
	w.backTo(s)
	w.up.add(s)
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLET,
		Fd:     int32(s.slot), Pad: int32(s.serial), //nolint:gosec // bits, not numbers
	}
	if err := unix.EpollCtl(w.poll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		w.disconnect(s)
		return nil, fmt.Errorf("watching a socket: %w", err)
	}
	return s, nil
}

// backTo fills in where the replies of s go, and the address that they come from.
func (w *epollWorker) backTo(s *upstream) {
	t := &s.flow.Tuple
	client := netip.AddrFrom16(t.Client)
	s.client = place{name: &s.clientName, v4: client.Is4In6()}
	if w.v4 {
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.clientName))
		*name = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: networkOrder(t.ClientPort), Addr: client.As4()}
		s.client.nameLen = unix.SizeofSockaddrInet4
	} else {
		s.clientName = unix.RawSockaddrInet6{
			Family: unix.AF_INET6, Port: networkOrder(t.ClientPort), Addr: t.Client, Scope_id: t.Scope,
		}
		s.client.nameLen = unix.SizeofSockaddrInet6
	}
	if !w.wildcard {
		return
	}
	buffer := make([]byte, 0, controlOut)
	if local := netip.AddrFrom16(t.Local); local.Is4In6() {
		info := unix.Inet4Pktinfo{Spec_dst: local.As4()}
		s.client.origin = appendControl(buffer, unix.IPPROTO_IP, unix.IP_PKTINFO, (*[unix.SizeofInet4Pktinfo]byte)(unsafe.Pointer(&info))[:])
	} else {
		info := unix.Inet6Pktinfo{Addr: t.Local}
		s.client.origin = appendControl(buffer, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, (*[unix.SizeofInet6Pktinfo]byte)(unsafe.Pointer(&info))[:])
	}
}

// disconnect closes the socket of a flow that is gone.
func (w *epollWorker) disconnect(s *upstream) {
	w.up.remove(s)
	_ = unix.Close(s.fd) // which also takes it out of epoll
}
