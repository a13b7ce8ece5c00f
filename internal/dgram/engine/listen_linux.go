package engine

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// native says that this system has workers of its own.
const native = true

// Sockets are what an address of a listener is bound by, one for each worker.
type Sockets struct {
	addr  netip.AddrPort
	whole bool
	each  []int // descriptors; those that a worker took are -1
}

// Listen binds an address, such as 192.0.2.1:443 or :443 for all addresses of the
// machine.
func Listen(_ context.Context, address string, o ListenOptions) (*Sockets, error) {
	addr, err := parseListen(address)
	if err != nil {
		return nil, err
	}
	// Sockets that share an address let anybody of the same user join them. A first one
	// without that finds out whether somebody else is there.
	probe, err := bind(addr, o.Join, o.Whole)
	if err != nil {
		return nil, fmt.Errorf("binding %v: %w", addr, err)
	}
	bound, err := unix.Getsockname(probe)
	_ = unix.Close(probe)
	if err != nil {
		return nil, fmt.Errorf("asking for the address of a socket: %w", err)
	}
	if port := portOf(bound); addr.Port() == 0 {
		addr = netip.AddrPortFrom(addr.Addr(), port)
	}
	s := &Sockets{addr: addr, whole: o.Whole}
	for range Workers() {
		fd, err := bind(addr, true, o.Whole)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("binding %v: %w", addr, err)
		}
		s.each = append(s.each, fd)
	}
	return s, nil
}

// parseListen reads "host:port", where an empty host means all addresses.
func parseListen(address string) (netip.AddrPort, error) {
	if strings.HasPrefix(address, ":") {
		address = "[::]" + address
	}
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading the address %s: %w", address, err)
	}
	return addr, nil
}

func portOf(sa unix.Sockaddr) uint16 {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port) //nolint:gosec // the kernel's
	case *unix.SockaddrInet6:
		return uint16(sa.Port) //nolint:gosec // the kernel's
	}
	return 0
}

// bind opens a socket that is bound to addr.
func bind(addr netip.AddrPort, shared, whole bool) (int, error) {
	fd, err := open(addr.Addr(), whole, listenBuffer)
	if err != nil {
		return -1, err
	}
	if shared {
		err = set(fd, "SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil && addr.Addr().IsUnspecified() {
		err = setWildcard(fd, addr.Addr())
	}
	if err == nil {
		err = unix.Bind(fd, sockaddrOf(addr))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// setWildcard asks for the address that a datagram came to, which is the one that
// its answer has to come from.
func setWildcard(fd int, ip netip.Addr) error {
	if err := set(fd, "IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
		return err
	}
	if ip.Is4() {
		return nil
	}
	if err := set(fd, "IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
		return err
	}
	return set(fd, "IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
}

// open opens a socket for the family of ip, with all that sockets towards clients
// and servers have in common.
func open(ip netip.Addr, whole bool, buffer int) (int, error) {
	family := unix.AF_INET
	if ip.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := prepare(fd, ip, whole, buffer); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func prepare(fd int, ip netip.Addr, whole bool, buffer int) error {
	// With the first, root may have more than net.core.rmem_max.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) // from Linux 5.0 on
	// IPv6 sockets of all addresses get datagrams of IPv4 too.
	if err := set(fd, "IP_RECVTOS", unix.IPPROTO_IP, unix.IP_RECVTOS, 1); err != nil {
		return err
	}
	if ip.Is6() {
		if err := set(fd, "IPV6_RECVTCLASS", unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1); err != nil {
			return err
		}
	}
	if !whole {
		return nil
	}
	// Don't Fragment, and no opinion on the size: it is the endpoints that probe.
	if err := set(fd, "IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE); err != nil {
		return err
	}
	if ip.Is6() {
		return set(fd, "IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
	}
	return nil
}

func set(fd int, name string, level, option, value int) error {
	if err := unix.SetsockoptInt(fd, level, option, value); err != nil {
		return fmt.Errorf("setting %s: %w", name, err)
	}
	return nil
}

func sockaddrOf(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: zoneID(a.Addr().Zone())}
}

// take gives the descriptor of a socket away.
func (s *Sockets) take(i int) int {
	fd := s.each[i]
	s.each[i] = -1
	return fd
}

// conn gives a socket away for the runtime's poller.
func (s *Sockets) conn(i int) (*net.UDPConn, error) {
	file := os.NewFile(uintptr(s.take(i)), "udp") //nolint:gosec // a descriptor
	defer file.Close()
	_ = unix.SetsockoptInt(int(file.Fd()), unix.IPPROTO_UDP, unix.UDP_GRO, 0) // it takes one datagram at a time
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, fmt.Errorf("taking a socket: %w", err)
	}
	return conn.(*net.UDPConn), nil //nolint:forcetypeassert // what it is for UDP
}

// Close closes the sockets that no worker has taken.
func (s *Sockets) Close() {
	for i := range s.each {
		if fd := s.take(i); fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// zoneID returns the interface of a link-local address, 0 if there is none.
func zoneID(zone string) uint32 {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index) //nolint:gosec // the kernel's
	}
	return 0
}
