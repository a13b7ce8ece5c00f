package config

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// A Control is the control plane of a file: one of the two halves.
type Control struct {
	// Listen is the address of the API in this process; nil: it is elsewhere.
	Listen *Address
	// Store and KeyFile are where its state is kept.
	Store, KeyFile string
	// Names are for its certificate.
	Names []string
	// Plain means without TLS, on loopback.
	Plain bool

	// Connect are the URLs of a control plane elsewhere.
	Connect []string
	// CA and TokenFile are paths; "" if not written.
	CA, TokenFile string

	// Cache is the file with the last snapshot, and Credentials the directory
	// with the certificate.
	Cache, Credentials string
	// Name of the balancer; "": that of the host, or of its certificate.
	Name string
}

// Pools are the pools that a control plane sends instead of those of the file.
type Pools struct {
	// YAML is a document with the key pools.
	YAML string
	// Plans are the plans of those that are planned, by pool.
	Plans map[string][]byte
}

// A Waiting is a listener whose pool the control plane does not have (yet). It
// is not opened.
type Waiting struct {
	Listener string
	Pool     string
}

// control checks the control plane of the file.
func (c *checker) control() {
	p := (*path)(nil).field("control")
	f := c.file.Control
	if f == nil || c.report.has(p) {
		return
	}
	out := &Control{Names: f.Names, Plain: f.TLS == "off", Name: f.Name}
	if f.Cache != "" {
		out.Cache = c.relative(f.Cache)
		out.Credentials = out.Cache + ".credentials"
	}
	if name := p.field("name"); c.sound(name) {
		c.fault(name, nameFault(f.Name))
	}
	embedded, elsewhere := c.written(p.field("listen")), c.written(p.field("connect"))
	switch {
	case embedded && elsewhere:
		c.problem(p.field("connect"), "is for a balancer whose control plane is elsewhere, and this file has one of its own",
			"remove connect, or listen and store")
	case embedded:
		c.embeddedControl(f, p, out)
	case elsewhere:
		c.controlElsewhere(f, p, out)
	default:
		c.require(p.field("listen"), "write listen: 127.0.0.1:7070 and store: ./mintmark.db, or connect: https://HOST:7070")
	}
	c.result.Control = out
}

func (c *checker) embeddedControl(f *FileControl, p *path, out *Control) {
	if a, ok := c.socket(f.Listen, p.field("listen"), ""); ok {
		out.Listen = &a
		if out.Plain && !a.loopback() {
			c.problemf(p.field("tls"), "write tls: on, or a loopback address such as 127.0.0.1:7070",
				"the API would listen on %s without TLS", quote(f.Listen))
		}
	}
	for _, key := range []string{"ca", "token_file"} {
		if at := p.field(key); c.written(at) {
			c.problem(at, "is for a balancer whose control plane is elsewhere", "remove it, or write connect")
		}
	}
	at := p.field("store")
	if !c.require(at, "write a file, as in store: ./mintmark.db, or etcd://host:2379/mintmark") {
		return
	}
	key := p.field("key_file")
	switch {
	case f.Store == "":
		c.problem(at, "is empty", "write a file, as in store: ./mintmark.db, or etcd://host:2379/mintmark")
	case strings.HasPrefix(f.Store, "etcd://"):
		out.Store = f.Store
		if f.KeyFile == "" {
			c.require(key, "write the path of a key file, which is the same on all machines of the store")
		}
	case strings.Contains(f.Store, "://"):
		c.problemf(at, "write a path, or etcd://host:2379/mintmark", "%s is no store that is known here", quote(f.Store))
	default:
		out.Store = c.relative(f.Store)
		out.KeyFile = out.Store + ".key"
	}
	if f.KeyFile != "" {
		out.KeyFile = c.relative(f.KeyFile)
	}
	for i, name := range f.Names {
		if _, err := netip.ParseAddr(name); err != nil {
			c.fault(c.item(p.field("names"), i), dnsFault(name))
		}
	}
}

func (c *checker) controlElsewhere(f *FileControl, p *path, out *Control) {
	for _, key := range []string{"store", "key_file", "names", "tls", "name"} {
		if at := p.field(key); c.written(at) {
			c.problem(at, "is for a control plane in this process, and this file connects to one elsewhere", "remove it")
		}
	}
	at := p.field("connect")
	if len(f.Connect) == 0 && c.sound(at) {
		c.problem(at, "is empty", "write a URL, as in https://10.0.0.1:7070")
	}
	for i, text := range f.Connect {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			c.problemf(c.item(at, i), "write a URL, as in https://10.0.0.1:7070", "%s is not the URL of a control plane", quote(text))
			continue
		}
		out.Connect = append(out.Connect, u.Scheme+"://"+u.Host)
	}
	if f.CA != "" {
		out.CA = c.relative(f.CA)
	}
	if c.require(p.field("token_file"), "write the path of a file with the token that `mintmark token create balancer NAME` prints") {
		out.TokenFile = c.relative(f.TokenFile)
	}
}

// loopback reports whether nobody but this machine can reach a.
func (a Address) loopback() bool {
	if a.Network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(a.Address)
	ip, ipErr := netip.ParseAddr(host)
	return err == nil && ipErr == nil && ip.IsLoopback()
}

// managed reports whether the pools come from a control plane.
func (c *checker) managed() bool { return c.file.Control != nil }

// graft puts the pools of a control plane where the file would have its own.
func graft(root *node, pools *Pools, r *report) {
	if root.kind != kindMapping || root.lookup("pools") != nil {
		return // the one or the other is reported
	}
	tree, pr := parseYAML([]byte(pools.YAML))
	for _, p := range pr.problems {
		r.add(1, nil, "the pools of the control plane cannot be read: "+p.Reason, "update this program, if it is older than the control plane")
	}
	if v := tree.lookup("pools"); v != nil {
		root.entries = append(root.entries, entry{key: "pools", line: 1, value: v})
	}
}
