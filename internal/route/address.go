package route

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Address is where a server listens: "host:port" with an IP address or a DNS
// name, or "unix:/path".
type Address struct {
	Network string // "tcp" or "unix"
	Host    string // IP address (IPv6 without brackets) or DNS name; path for unix
	Port    uint16 // 0 for unix
}

// ParseAddress parses "host:port", "[ipv6]:port" and "unix:/path". It does not
// look names up.
func ParseAddress(s string) (Address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return Address{}, errors.New(`"unix:" has no path; write "unix:/run/app.sock"`)
		}
		return Address{Network: "unix", Host: path}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if addrErr := (*net.AddrError)(nil); errors.As(err, &addrErr) && addrErr.Err == "missing port in address" {
			return Address{}, fmt.Errorf("%q has no port; write %q", s, net.JoinHostPort(strings.Trim(s, "[]"), "443"))
		}
		return Address{}, fmt.Errorf("%q is not host:port, [ipv6]:port or unix:/path", s)
	}
	if host == "" {
		return Address{}, fmt.Errorf("%q has no host; write %q", s, "127.0.0.1:"+port)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Address{}, fmt.Errorf("%q has a bad port; write a number from 1 to 65535", s)
	}
	return Address{Network: "tcp", Host: host, Port: uint16(n)}, nil
}

// String returns the form that ParseAddress reads.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Host
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}
