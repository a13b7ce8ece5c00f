package route

import (
	"net"
	"net/netip"
	"strconv"
)

// Address is where a server listens: "host:port" with an IP address or a DNS
// name, or "unix:/path".
type Address struct {
	Network string // "tcp" or "unix"
	Host    string // IP address (IPv6 without brackets) or DNS name; path for unix
	Port    uint16 // 0 for unix
}

// String returns the address as the configuration file writes it.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Host
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}

// literal returns the address if Host is an IP address, else zero.
func (a Address) literal() netip.AddrPort {
	ip, err := netip.ParseAddr(a.Host)
	if err != nil || a.Network == "unix" {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip, a.Port)
}
