package route

import (
	"errors"
	"fmt"
	"strings"
)

// SNIRoute sends names that match to a pool. Pattern is exact or "*.rest".
//
// Names are compared without regard to case and to one dot at their end.
// "*.shop.example" matches any name with one or more labels before
// ".shop.example", as in nginx and in the Kubernetes Gateway API (in a
// certificate it would be exactly one), and not "shop.example" itself.
type SNIRoute struct {
	Pattern string
	Pool    *Pool
}

// Listener maps what a listener accepts to pools. It is immutable once it is
// used. NewListener makes one that finds a route quickly among many.
type Listener struct {
	Name   ListenerName
	Routes []SNIRoute // the first that matches wins
	// HTTPRoutes are the routes of a listener of protocol http, which has no
	// others.
	HTTPRoutes []HTTPRoute
	Pool       *Pool // nil: what no route takes is refused

	// exact and under hold the index in Routes of the first pattern of each
	// kind, by its name; under by the rest of "*.rest". Both nil: not indexed.
	exact, under map[string]int
}

// maxName is the length of the longest host name, without a dot at the end
// (RFC 1035, 2.3.4). It also bounds what a client can make PoolFor look at: a
// server_name may have 65535 bytes.
const maxName = 253

// indexed is from how many routes on an index is faster than a walk.
const indexed = 8

// NewListener returns a listener with an index of its routes. The error names
// the first pattern that is not one.
func NewListener(name ListenerName, routes []SNIRoute, pool *Pool) (*Listener, error) {
	l := &Listener{Name: name, Routes: routes, Pool: pool}
	for i, r := range routes {
		if err := CheckSNIPattern(r.Pattern); err != nil {
			return nil, fmt.Errorf("listener %s: route %d: %w", name, i, err)
		}
	}
	if len(routes) < indexed {
		return l, nil
	}
	l.exact, l.under = make(map[string]int), make(map[string]int)
	for i, r := range routes {
		index := l.exact
		key, wild := strings.CutPrefix(canonical(r.Pattern), "*.")
		if wild {
			index = l.under
		}
		if _, ok := index[key]; !ok {
			index[key] = i
		}
	}
	return l, nil
}

// nameBytes is what host names consist of, in lower case. The underscore is in
// no host name by the standard, and in many by their owners.
const nameBytes = "abcdefghijklmnopqrstuvwxyz0123456789-_"

// CheckSNIPattern returns what is wrong with the pattern of a route, and what
// to write instead.
func CheckSNIPattern(pattern string) error {
	name := canonical(pattern)
	switch {
	case name == "":
		return errors.New(`the name is empty; write a host name, or "*." and a domain`)
	case name == "*":
		return errors.New(`"*" would take every name; write "*." and a domain, or set the listener's own pool`)
	case len(name) > maxName:
		return fmt.Errorf("a name of %d bytes is longer than any host name (%d)", len(name), maxName)
	}
	rest, _ := strings.CutPrefix(name, "*.")
	for label := range strings.SplitSeq(rest, ".") {
		switch {
		case label == "":
			return fmt.Errorf("%q has an empty label; write a host name", pattern)
		case strings.Contains(label, "*"):
			return fmt.Errorf(`%q has a "*" that is not its whole first label; write "*." and a domain`, pattern)
		}
		for _, c := range []byte(label) {
			if c >= 0x80 {
				return fmt.Errorf(`%q is not ASCII; write the name as it is on the wire, "xn--..."`, pattern)
			}
			if !strings.ContainsRune(nameBytes, rune(c)) {
				return fmt.Errorf("%q has a %q, which no host name has", pattern, c)
			}
		}
	}
	return nil
}

// PoolFor returns the pool for a server name, nil if none takes it. An empty
// name is that of a client that sent none. PoolFor does not allocate.
func (l *Listener) PoolFor(sni []byte) *Pool {
	if i := l.routeFor(sni); i >= 0 {
		return l.Routes[i].Pool
	}
	return l.Pool
}

// routeFor returns the index of the first route that takes the name, -1
// without one.
func (l *Listener) routeFor(sni []byte) int {
	if n := len(sni); n > 0 && sni[n-1] == '.' {
		sni = sni[:n-1]
	}
	if len(sni) == 0 || len(sni) > maxName {
		return -1
	}
	if l.exact == nil {
		for i := range l.Routes {
			if matchName(l.Routes[i].Pattern, sni) {
				return i
			}
		}
		return -1
	}
	var buf [maxName]byte
	name := buf[:len(sni)]
	for i, c := range sni {
		name[i] = lower(c)
	}
	best := -1
	if i, ok := l.exact[string(name)]; ok {
		best = i
	}
	for at, c := range name {
		// The label before the dot may not be empty.
		if c != '.' || at == 0 {
			continue
		}
		if i, ok := l.under[string(name[at+1:])]; ok && (best < 0 || i < best) {
			best = i
		}
	}
	return best
}

// matchName says whether pattern takes name, which does not end in a dot.
func matchName(pattern string, name []byte) bool {
	pattern = strings.TrimSuffix(pattern, ".")
	if rest, ok := strings.CutPrefix(pattern, "*"); ok {
		if len(name) <= len(rest) {
			return false
		}
		pattern, name = rest, name[len(name)-len(rest):]
	}
	if len(pattern) != len(name) {
		return false
	}
	for i, c := range name {
		if lower(c) != lower(pattern[i]) {
			return false
		}
	}
	return true
}

// canonical returns a name in lower case, without a dot at its end.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// lower returns c in lower case if it is an ASCII letter.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
