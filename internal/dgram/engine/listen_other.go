//go:build !linux

package engine

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// native says that this system has workers of its own.
const native = false

// Sockets are what an address of a listener is bound by.
type Sockets struct {
	addr netip.AddrPort
	each []*net.UDPConn // nil: a worker has taken it
}

// Listen binds an address, such as 192.0.2.1:443 or :443 for all addresses of the
// machine. The options are left to the system.
func Listen(ctx context.Context, address string, _ ListenOptions) (*Sockets, error) {
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, fmt.Errorf("binding %s: %w", address, err)
	}
	udp := conn.(*net.UDPConn) //nolint:forcetypeassert // what ListenPacket returns for udp
	_ = udp.SetReadBuffer(listenBuffer)
	addr := udp.LocalAddr().(*net.UDPAddr).AddrPort() //nolint:forcetypeassert // likewise
	return &Sockets{addr: addr, each: []*net.UDPConn{udp}}, nil
}

// conn gives a socket away.
func (s *Sockets) conn(i int) (*net.UDPConn, error) {
	c := s.each[i]
	s.each[i] = nil
	return c, nil
}

func (p *Proxy) newWorker(s *Sockets, i int) (worker, error) { return p.newPortableWorker(s, i) }

// Close closes the sockets that no worker has taken.
func (s *Sockets) Close() {
	for i, c := range s.each {
		if c != nil {
			_ = c.Close()
			s.each[i] = nil
		}
	}
}
