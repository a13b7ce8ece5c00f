package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/route"
)

// A hostPort is the two halves of an address, of which the port is a number.
type hostPort struct {
	host string // without brackets
	port uint16
}

// splitAddress splits "host:port". want is an example for the remedy.
func splitAddress(s, want string) (hostPort, *fault) {
	if s == "" {
		return hostPort{}, faultf("write "+strconv.Quote(want), "is empty")
	}
	if strings.Contains(s, "://") {
		return hostPort{}, faultf("write "+strconv.Quote(want), "%s is a URL, not an address", quote(s))
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return hostPort{}, splitFault(s, want, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case port == "":
		return hostPort{}, faultf("write "+strconv.Quote(s+"443"), "%s has no port", quote(s))
	case err != nil, strconv.FormatUint(n, 10) != port:
		return hostPort{}, faultf("write a port from 1 to 65535, as in "+strconv.Quote(want), "%s has a bad port", quote(s))
	}
	return hostPort{host, uint16(n)}, nil
}

func splitFault(s, want string, err error) *fault {
	bare := strings.Trim(s, "[]")
	if ip, ipErr := netip.ParseAddr(bare); ipErr == nil {
		remedy := "write " + strconv.Quote(net.JoinHostPort(ip.String(), "443"))
		if i := strings.LastIndexByte(bare, ':'); ip.Is6() && i > 0 && bare == s {
			// 2001:db8::1:443 is an address, and may have been meant as two.
			if _, portErr := strconv.ParseUint(s[i+1:], 10, 16); portErr == nil {
				if short, shortErr := netip.ParseAddr(s[:i]); shortErr == nil {
					remedy += fmt.Sprintf(", or %q if %s is the port", net.JoinHostPort(short.String(), s[i+1:]), s[i+1:])
				}
			}
		}
		return faultf(remedy, "%s has no port", quote(s))
	}
	if addrErr, ok := errors.AsType[*net.AddrError](err); ok && strings.HasPrefix(addrErr.Err, "missing port") && dnsFault(s) == nil {
		return faultf("write "+strconv.Quote(s+":443"), "%s has no port", quote(s))
	}
	if port, portErr := strconv.ParseUint(s, 10, 16); portErr == nil {
		return faultf(fmt.Sprintf(`write "127.0.0.1:%d", with the address before the port`, port), "%s has no address", quote(s))
	}
	if i := strings.LastIndexByte(s, ':'); i > 0 {
		if ip, ipErr := netip.ParseAddr(s[:i]); ipErr == nil && ip.Is6() {
			return faultf("write "+strconv.Quote(net.JoinHostPort(ip.String(), s[i+1:])),
				"%s is an IPv6 address without brackets", quote(s))
		}
	}
	return faultf("write an address like "+strconv.Quote(want), "%s is not host:port", quote(s))
}

func unixFault(path string) *fault {
	switch {
	case path == "":
		return faultf(`write "unix:/run/mintmark/name.sock"`, `"unix:" has no path`)
	case !filepath.IsAbs(path):
		return faultf("write the path from the root, "+strconv.Quote("unix:/"+path), "%s is a relative path", quote(path))
	case len(path) > maxUnixPath:
		return faultf("write a path of at most "+strconv.Itoa(maxUnixPath)+" bytes", "%s is too long for a unix socket", quote(path))
	case strings.ContainsRune(path, 0):
		return faultf("remove the zero byte", "%s has a zero byte", quote(path))
	}
	return nil
}

// parseListen reads an address to listen on.
func parseListen(s string) (Address, *fault) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return Address{Network: "unix", Address: path}, unixFault(path)
	}
	hp, f := splitAddress(s, "127.0.0.1:8443")
	if f != nil {
		return Address{}, f
	}
	port := strconv.Itoa(int(hp.port))
	if hp.host == "" {
		return Address{Network: "tcp", Address: ":" + port}, nil
	}
	ip, err := netip.ParseAddr(hp.host)
	if err != nil {
		example := "127.0.0.1:" + port
		if hp.host == "*" {
			example = ":" + port
		}
		return Address{}, faultf("write an IP address of this machine, as in "+strconv.Quote(example),
			"%s is not an IP address", quote(hp.host))
	}
	return Address{Network: "tcp", Address: netip.AddrPortFrom(ip, hp.port).String()}, nil
}

// parseServer reads the address of a server.
func parseServer(s string) (route.Address, *fault) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return route.Address{Network: "unix", Host: path}, unixFault(path)
	}
	const example = "192.0.2.1:443"
	hp, f := splitAddress(s, example)
	switch {
	case f != nil:
		return route.Address{}, f
	case hp.host == "":
		return route.Address{}, faultf("write "+strconv.Quote("127.0.0.1:"+strconv.Itoa(int(hp.port))), "%s has no host", quote(s))
	case hp.port == 0:
		return route.Address{}, faultf("write the port that the server listens on, 1 to 65535", "%s has the port 0", quote(s))
	}
	ip, err := netip.ParseAddr(hp.host)
	switch {
	case err == nil && ip.IsUnspecified():
		return route.Address{}, faultf("write the address that the server is reached at, as in "+strconv.Quote(example),
			"%s is no address of a server", quote(hp.host))
	case err == nil:
		return route.Address{Network: "tcp", Host: ip.String(), Port: hp.port}, nil
	case strings.Contains(s, "["):
		return route.Address{}, faultf(`write an address like "[2001:db8::1]:443"`, "%s is not an IPv6 address", quote(hp.host))
	}
	if f := dnsFault(hp.host); f != nil {
		return route.Address{}, f
	}
	return route.Address{Network: "tcp", Host: hp.host, Port: hp.port}, nil
}

// isIP reports whether s is an IP address, perhaps in brackets.
func isIP(s string) bool {
	_, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil
}

// dnsFault says what is wrong with a DNS name (RFC 1035, 2.3.4), in which
// underscores are allowed because service names of container networks have
// them.
func dnsFault(name string) *fault {
	const maxName, maxLabel = 253, 63
	remedy := `write a DNS name such as "a.internal", or an IP address`
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > maxName {
		return faultf(remedy, "%s is not a DNS name", quote(name))
	}
	digits := true // 10.0.0.300 is a mistyped IP address
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return faultf(remedy, "%s is neither an IP address nor a DNS name", quote(name))
		}
		for _, c := range []byte(label) {
			letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
			digit := '0' <= c && c <= '9'
			if !letter && !digit && c != '-' && c != '_' {
				return faultf(remedy, "%s is neither an IP address nor a DNS name", quote(name))
			}
			digits = digits && digit
		}
	}
	if digits {
		return faultf("write four numbers from 0 to 255 with dots between", "%s is not an IP address", quote(name))
	}
	return nil
}

// A socket is an address that is listened on, to find two that are the same.
type socket struct {
	address Address
	path    *path
}

// collides reports whether the kernel would refuse to open both.
func (a Address) collides(b Address) bool {
	if a.Network != b.Network {
		return false
	}
	if a.Network == "unix" {
		return filepath.Clean(a.Address) == filepath.Clean(b.Address)
	}
	hostA, portA, errA := net.SplitHostPort(a.Address)
	hostB, portB, errB := net.SplitHostPort(b.Address)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	// Go opens a wildcard for both families, whichever one is written.
	return hostA == hostB || wildcard(hostA) || wildcard(hostB)
}

func wildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}
