package route

import (
	"fmt"
	"strings"
)

// HTTPRoute sends requests for a host and under a path to a pool.
type HTTPRoute struct {
	// Host is as the Pattern of an SNIRoute; "" takes every host.
	Host string
	// Path takes itself and what lies under it: /api takes /api and /api/v1,
	// and not /apiary. "" takes every path.
	Path string
	Pool *Pool
}

// CheckHTTPPath returns what is wrong with the path of a route, and what to
// write instead.
func CheckHTTPPath(path string) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%q does not begin with a slash; write a path such as /api", path)
	}
	for _, c := range []byte(path) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("%?#*{}\\", c) >= 0 {
			return fmt.Errorf("%q has a %q; write a path such as /api, without escapes, patterns and query", path, c)
		}
	}
	if DotSegments(path) {
		return fmt.Errorf("%q has a segment of dots; write the path that it comes to", path)
	}
	return nil
}

// PoolForHTTP returns the pool for a request, nil if no route takes it. host
// may have a port, path has no escapes. PoolForHTTP does not allocate.
func (l *Listener) PoolForHTTP(host, path string) *Pool {
	if len(l.HTTPRoutes) == 0 {
		return l.Pool
	}
	host = hostOnly(host)
	for i := range l.HTTPRoutes {
		r := &l.HTTPRoutes[i]
		if (r.Host == "" || matchHost(r.Host, host)) && underPath(r.Path, path) {
			return r.Pool
		}
	}
	return l.Pool
}

// ByPath reports whether a route goes by the path.
func (l *Listener) ByPath() bool {
	for i := range l.HTTPRoutes {
		if l.HTTPRoutes[i].Path != "" {
			return true
		}
	}
	return false
}

// DotSegments reports whether a path, without escapes, has a segment . or ..,
// so that it means another path to whoever resolves those (RFC 3986, 5.2.4).
func DotSegments(path string) bool {
	for len(path) > 0 {
		i := strings.IndexAny(path, "/\\")
		segment := path
		if i >= 0 {
			segment, path = path[:i], path[i+1:]
		} else {
			path = ""
		}
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// hostOnly returns a Host without its port and without a dot at its end.
func hostOnly(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

// matchHost says whether pattern, without a dot at its end, takes host.
func matchHost(pattern, host string) bool {
	if rest, ok := strings.CutPrefix(pattern, "*"); ok {
		if len(host) <= len(rest) {
			return false
		}
		pattern, host = rest, host[len(host)-len(rest):]
	}
	if len(pattern) != len(host) {
		return false
	}
	for i := range len(host) {
		if lower(host[i]) != lower(pattern[i]) {
			return false
		}
	}
	return true
}

// underPath says whether path is prefix or lies under it.
func underPath(prefix, path string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}
