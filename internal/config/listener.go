package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

func (c *checker) listeners() {
	p := (*path)(nil).field("listeners")
	if c.managed() && !c.written(p) && c.written((*path)(nil).field("control").field("listen")) {
		return // a control plane alone
	}
	if !c.require(p, `write "listeners:" with at least one listener`) {
		return
	}
	if len(c.file.Listeners) == 0 {
		c.problem(p, "is empty", "write at least one listener")
	}
	names := map[string]*path{}
	for i := range c.file.Listeners {
		c.listener(&c.file.Listeners[i], p.item(i), names)
	}
}

func (c *checker) listener(f *FileListener, p *path, names map[string]*path) {
	c.absent = ""
	c.checkName(p.field("name"), f.Name, names)
	c.require(p.field("protocol"), "write protocol: tls, tcp, http, quic, dtls or udp")
	t := p.field("timeouts")
	l := Listener{
		Name:            route.ListenerName(f.Name),
		Protocol:        Protocol(f.Protocol),
		HelloTimeout:    c.lasts(t.field("hello"), f.Timeouts.Hello, time.Millisecond, maxTimeout),
		ConnectTimeout:  c.lasts(t.field("connect"), f.Timeouts.Connect, time.Millisecond, maxTimeout),
		IdleTimeout:     c.idle(t.field("idle"), f),
		MaxConnections:  f.MaxConnections,
		AccessLogFormat: f.AccessLogFormat,
		Engine:          f.Engine,
		Pool:            route.PoolName(f.Pool),
	}
	c.between(p.field("max_connections"), f.MaxConnections, 0, MaxConnections)
	l.Listen = c.listen(f.Listen, p.field("listen"), l.Protocol)
	l.AcceptFrom = c.acceptFrom(f.ProxyProtocol, p.field("proxy_protocol"))
	l.AccessLog = c.accessLog(f, p)
	l.HTTP = c.http(f, p)
	l.Routes = c.routes(f, p)
	c.listenerPool(f, p)
	if l.Protocol.Datagrams() {
		c.datagrams(f, p)
	}
	l.Bytes = c.byteIDs(f, p)
	if pool := c.pools[f.Pool]; pool != nil {
		l.CIDLength = pool.cidLength
		l.Significant = c.result.Schemes[l.Pool].Significant
	}
	if c.absent != "" {
		c.result.Waiting = append(c.result.Waiting, Waiting{Listener: f.Name, Pool: c.absent})
		return
	}
	c.result.Listeners = append(c.result.Listeners, l)
}

// idle checks a timeout that may be zero, for none.
func (c *checker) idle(p *path, f *FileListener) time.Duration {
	datagrams := Protocol(f.Protocol).Datagrams()
	switch v := f.Timeouts.Idle; {
	case v == nil && datagrams:
		return defaultFlowIdle
	case v == nil:
		return defaultIdle
	case *v == 0 && !datagrams:
		return 0
	default:
		return c.lasts(p, *v, time.Second, maxLifetime)
	}
}

func (c *checker) listen(list []string, p *path, protocol Protocol) []Address {
	if !c.require(p, `write an address such as "127.0.0.1:8443"`) {
		return nil
	}
	if len(list) == 0 {
		c.problem(p, "is empty", `write an address such as "127.0.0.1:8443"`)
	}
	var out []Address
	for i, s := range list {
		if a, ok := c.socket(s, c.item(p, i), protocol); ok {
			out = append(out, a)
		}
	}
	return out
}

// socket checks an address to listen on, and that nothing else of the file
// listens there. protocol is "" for those that are no listener's.
func (c *checker) socket(s string, p *path, protocol Protocol) (Address, bool) {
	if !c.sound(p) {
		return Address{}, false
	}
	a, f := parseListen(s)
	if f != nil {
		c.fault(p, f)
		return Address{}, false
	}
	if protocol.Datagrams() {
		if a.Network == "unix" {
			c.problemf(p, `write an address such as "192.0.2.1:443"`, "protocol %s listens for datagrams, and a unix socket gets none", protocol)
			return Address{}, false
		}
		a.Network = "udp"
	}
	for _, other := range c.sockets {
		if a.collides(other.address) {
			c.problemf(p, "write an address or port that is free", "%s is taken by %s in line %d",
				quote(s), other.path, other.path.line(c.root))
			return a, false
		}
	}
	c.sockets = append(c.sockets, socket{a, p})
	return a, true
}

func (c *checker) acceptFrom(f *FileProxyIn, p *path) []netip.Prefix {
	if f == nil || c.report.has(p) {
		return nil
	}
	from := p.field("accept_from")
	remedy := `write the networks that send PROXY headers, as in ["10.0.0.0/8"]`
	if !c.require(from, remedy) {
		return nil
	}
	if len(f.AcceptFrom) == 0 {
		c.problem(from, "is empty", remedy)
	}
	var out []netip.Prefix
	for i, s := range f.AcceptFrom {
		at := c.item(from, i)
		if !c.sound(at) {
			continue
		}
		prefix, fault := parsePrefix(s)
		c.fault(at, fault)
		if fault == nil && prefix.Bits() == 0 {
			c.warnf(at, "name the networks of the load balancers in front", "every client may claim to have any address")
		}
		out = append(out, prefix)
	}
	return out
}

func parsePrefix(s string) (netip.Prefix, *fault) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.Prefix{}, faultf(fmt.Sprintf("write %q", netip.PrefixFrom(ip.WithZone(""), ip.BitLen())),
			"%s has no prefix length", quote(s))
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, faultf(`write a network such as "10.0.0.0/8" or "2001:db8::/32"`, "%s is not a network", quote(s))
	case prefix != prefix.Masked():
		return netip.Prefix{}, faultf(fmt.Sprintf("write %q, or %q for the one address",
			prefix.Masked(), netip.PrefixFrom(prefix.Addr(), prefix.Addr().BitLen())),
			"%s has bits set beyond its prefix length", quote(s))
	}
	return prefix, nil
}

// accessLog returns the path of the access log, relative to the file.
func (c *checker) accessLog(f *FileListener, p *path) string {
	log := p.field("access_log")
	if !c.written(log) {
		if format := p.field("access_log_format"); c.written(format) {
			c.warnf(format, "write access_log: PATH as well", "has no effect without an access_log")
		}
		return ""
	}
	if f.AccessLog == "" {
		if !c.report.has(log) {
			c.problem(log, "is empty", "write the path of a file, or remove the line")
		}
		return ""
	}
	name := c.relative(f.AccessLog)
	// A warning: the file may be checked on another machine.
	if dir := filepath.Dir(name); missing(dir) {
		c.warnf(log, "make the directory on the balancer", "is in %s, which is not there: `mintmark serve` would not start", quote(dir))
	}
	return name
}

func missing(name string) bool {
	_, err := os.Stat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// relative returns a path of the file as seen from the working directory.
func (c *checker) relative(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.dir, name)
}

func (c *checker) routes(f *FileListener, p *path) []Route {
	at := p.field("routes")
	if protocol := Protocol(f.Protocol); len(f.Routes) > 0 && (protocol == ProtocolTCP || protocol.Datagrams()) {
		c.problemf(at, "write protocol: tls, or a pool instead of the routes",
			"routes go by the name in a TLS hello, and protocol %s reads none", protocol)
		return nil
	}
	var out []Route
	var places []*path // where each of out stands
	for i := range f.Routes {
		r, rp := &f.Routes[i], at.item(i)
		read := c.sniRoute
		if f.HTTP() {
			read = c.httpRoute
		}
		to, ok := read(r, rp)
		c.poolReference(r.Pool, rp.field("pool"), f)
		if !ok {
			continue
		}
		c.reachable(to, out, places, rp)
		out, places = append(out, to), append(places, rp)
	}
	return out
}

// sniRoute reads a route of a listener of protocol tls.
func (c *checker) sniRoute(f *FileRoute, p *path) (Route, bool) {
	for _, name := range []string{"host", "path"} {
		if at := p.field(name); c.sound(at) {
			c.problem(at, "is for listeners of protocol http", "write sni:, or remove it")
			return Route{}, false
		}
	}
	sni := p.field("sni")
	if !c.require(sni, `write a name, as in sni: "*.shop.example"`) {
		return Route{}, false
	}
	if fault := sniFault(f.SNI); fault != nil {
		c.fault(sni, fault)
		return Route{}, false
	}
	return Route{SNI: strings.ToLower(strings.TrimSuffix(f.SNI, ".")), Pool: route.PoolName(f.Pool)}, true
}

// sniFault says what is wrong with the pattern of a route.
func sniFault(pattern string) *fault {
	bare := strings.Trim(pattern, "[]")
	if _, err := netip.ParseAddr(bare); err == nil {
		return faultf("write a name; clients send none when they connect to an IP address (RFC 6066, 3)",
			"%s is an IP address", quote(pattern))
	}
	if host, _, err := net.SplitHostPort(pattern); err == nil {
		return faultf("write "+strconv.Quote(host), "%s has a port", quote(pattern))
	}
	if err := route.CheckSNIPattern(pattern); err != nil {
		reason, remedy, ok := strings.Cut(err.Error(), "; ")
		if !ok {
			remedy = `write a host name such as "www.shop.example", or "*.shop.example"`
		}
		return &fault{reason, remedy}
	}
	return nil
}

// reachable notes when one of the routes before takes all that r would.
func (c *checker) reachable(r Route, before []Route, places []*path, p *path) {
	for i, b := range before {
		at := places[i]
		where, what, taken := p.field("sni"), r.SNI, b.SNI
		if r.SNI == "" {
			where, what, taken = p, r.Host+r.Path, b.Host+b.Path
		}
		switch {
		case r.SNI == b.SNI && r.Host == b.Host && r.Path == b.Path:
			c.problemf(where, "remove one of the two", "%s is already taken by %s in line %d", quote(what), at, at.line(c.root))
			return
		case takesName(b.SNI, r.SNI) && takesName(b.Host, r.Host) && takesPath(b.Path, r.Path):
			c.warnf(where, "move this route above that one", "never matches: %s in line %d (%s) takes it before",
				at, at.line(c.root), quote(taken))
			return
		}
	}
}

// takesName says whether the pattern wide takes all names that narrow does.
func takesName(wide, narrow string) bool {
	rest, wild := strings.CutPrefix(wide, "*")
	return wide == "" || wide == narrow || wild && strings.HasSuffix(narrow, rest)
}

// takesPath says whether what lies under narrow lies under wide, too.
func takesPath(wide, narrow string) bool {
	return strings.HasPrefix(strings.TrimSuffix(narrow, "/")+"/", strings.TrimSuffix(wide, "/")+"/")
}

func (c *checker) listenerPool(f *FileListener, p *path) {
	at := p.field("pool")
	if !c.written(at) {
		if len(f.Routes) == 0 && !c.report.has(p.field("routes")) {
			c.require(at, "write the name of a pool")
		}
		return
	}
	c.poolReference(f.Pool, at, f)
}

// poolReference checks that a pool exists, and notes who uses it.
func (c *checker) poolReference(name string, p *path, f *FileListener) {
	if !c.require(p, "write the name of a pool") {
		return
	}
	pool, ok := c.pools[name]
	if ok {
		pool.protocols[Protocol(f.Protocol)] = true
		pool.read |= f.fields()
		if f.HTTP() && pool.config.ProxyProtocol != route.ProxyNone {
			c.problemf(p, "remove proxy_protocol from the pool; its servers read X-Forwarded-For",
				"pool %s sends PROXY headers, which name one client for all requests of a connection", quote(name))
		}
		return
	}
	if c.managed() {
		c.absent = name
		return
	}
	known := choices(c.pools)
	remedy := "define the pool under pools:"
	if len(known) > 0 {
		remedy = chooseFrom(name, known) + ", or define the pool"
	}
	c.problemf(p, remedy, "there is no pool %s", quote(name))
}
