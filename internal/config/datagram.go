package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/internal/route"
)

const schemeQUICLB = "quic-lb"

// Bounds of what datagrams are read for. Package dgram has the same, with the
// reasons.
const (
	maxBytesIDs    = 8
	maxBytesOffset = 1200
	maxBytesLength = 255
	maxCIDLength   = 255
)

// uses are the protocols of the listeners that use a pool.
type uses map[Protocol]bool

// noteUses notes which pools are for datagrams, because that decides what their
// settings may be and mean.
func (c *checker) noteUses() {
	c.uses = map[string]uses{}
	for i := range c.file.Listeners {
		f := &c.file.Listeners[i]
		if f.Pool == "" {
			continue
		}
		if c.uses[f.Pool] == nil {
			c.uses[f.Pool] = uses{}
		}
		c.uses[f.Pool][Protocol(f.Protocol)] = true
	}
}

func (u uses) datagrams() bool { return u[ProtocolQUIC] || u[ProtocolDTLS] || u[ProtocolUDP] }

// onlyDatagrams reports whether nothing else than datagrams comes to the pool.
func (u uses) onlyDatagrams() bool {
	for p := range u {
		if !p.Datagrams() {
			return false
		}
	}
	return u.datagrams()
}

// policy returns the policy of a pool, which is hash for datagrams.
func (c *checker) policy(f *FilePool, p *path) string {
	if c.uses[f.Name].datagrams() && !c.written(p.field("policy")) {
		return route.Hash.String()
	}
	return f.Policy
}

// healthType returns the health check of a pool.
func (c *checker) healthType(f *FilePool, p *path) string {
	u := c.uses[f.Name]
	switch {
	case !u.onlyDatagrams() || c.written(p.field("health").field("type")):
		return f.Health.Type
	case u[ProtocolQUIC]:
		return route.HealthQUIC.String()
	case u[ProtocolDTLS]:
		return route.HealthDTLS.String()
	default:
		return route.HealthNone.String()
	}
}

// datagramPool checks what pools for datagrams must be like.
func (c *checker) datagramPool(f *FilePool, p *path, cfg *route.PoolConfig) {
	if at := p.field("policy"); cfg.Policy != route.Hash && !c.report.has(at) {
		c.problemf(at, "write policy: hash, or remove the line",
			"with %v, each balancer and each worker of one would send a client elsewhere; datagrams need the policy that all compute alike", cfg.Policy)
	}
	if at := p.field("proxy_protocol"); cfg.ProxyProtocol != route.ProxyNone {
		c.problem(at, "the PROXY protocol begins a connection, and datagrams have none", "remove it")
	}
	for i := range f.Servers {
		at := p.field("servers").item(i).field("address")
		if cfg.Servers[i].Address.Network == "unix" && !c.report.has(at) {
			c.problem(at, "is a unix socket, which takes no datagrams from here", `write an address such as "192.0.2.1:443"`)
		}
	}
	for i := range f.Groups {
		if at := p.field("groups").item(i).field("ids"); c.written(at) {
			c.problem(at, "a connection lives on one server, so a group cannot own connection IDs", "give them to the servers")
		}
	}
	if at := p.field("health").field("type"); c.uses[f.Name].onlyDatagrams() && c.written(at) && (cfg.Health.Type == route.HealthTCP || cfg.Health.Type == route.HealthTLS) {
		c.warnf(at, "write type: quic, dtls or none, unless each server also listens on TCP", "a check over TCP does not see whether datagrams are answered")
	}
}

// datagrams checks the settings of a listener for datagrams.
func (c *checker) datagrams(f *FileListener, p *path) {
	if at := p.field("proxy_protocol"); c.written(at) {
		c.problem(at, "the PROXY protocol begins a connection, and datagrams have none", "remove it")
	}
	if at := p.field("access_log"); c.written(at) {
		c.problemf(at, "remove it", "protocol %s has no connections to write lines about", f.Protocol)
	}
	for _, name := range []string{"hello", "connect"} {
		if at := p.field("timeouts").field(name); c.written(at) {
			c.warnf(at, "remove it", "has no effect with protocol %s", f.Protocol)
		}
	}
	if at := p.field("timeouts").field("idle"); f.Timeouts.Idle != nil && *f.Timeouts.Idle == 0 && c.sound(at) {
		c.problem(at, "a flow of datagrams has no other end than being idle", "write a time, as in 2m")
	}
	pool := c.pools[f.Pool]
	if pool == nil || f.Protocol != string(ProtocolDTLS) || pool.config.Table == nil || pool.cidLength > 0 {
		return
	}
	c.problemf(pool.path.field("scheme"), "write how long the servers' connection IDs are, as in scheme: {kind: bits, cid_length: 8}",
		"the listener %s reads DTLS, where connection IDs do not say how long they are", f.Name)
}

// byteIDs checks where IDs stand.
func (c *checker) byteIDs(f *FileListener, p *path) []BytesID {
	at := p.field("ids")
	if !c.sound(at) || f.HTTP() {
		return nil
	}
	if Protocol(f.Protocol) != ProtocolUDP {
		c.problemf(at, "remove it, or write protocol: udp or http", "protocol %s knows where its IDs stand", f.Protocol)
		return nil
	}
	if len(f.IDs) > maxBytesIDs {
		c.problemf(at, fmt.Sprintf("write at most %d", maxBytesIDs), "has %d places, each of which is looked at for each datagram", len(f.IDs))
	}
	var out []BytesID
	for i := range f.IDs {
		bp := at.item(i).field("bytes")
		c.onlyBytes(at.item(i))
		if !c.require(bp, "write where the ID stands, as in bytes: {offset: 4, length: 4}") {
			continue
		}
		b := f.IDs[i].Bytes
		id := BytesID{Offset: b.Offset, Length: b.Length}
		c.between(bp.field("offset"), b.Offset, 0, maxBytesOffset)
		if length := bp.field("length"); c.require(length, "write how many octets the ID has") {
			c.between(length, b.Length, 1, maxBytesLength)
		}
		if w := bp.field("when"); b.When != nil && c.sound(w) {
			c.between(w.field("offset"), b.When.Offset, 0, maxBytesOffset)
			if equals := w.field("equals"); c.require(equals, `write the octets in hexadecimal, as in equals: "04"`) {
				if len(*b.When.Equals) > maxBytesLength {
					c.problemf(equals, fmt.Sprintf("write at most %d octets", maxBytesLength), "has %d octets", len(*b.When.Equals))
				}
				id.WhenOffset, id.WhenEquals = b.When.Offset, *b.When.Equals
			}
		}
		out = append(out, id)
	}
	return out
}

// cidLength returns how long the connection IDs of a pool are, 0 when it does not
// say so.
func (c *checker) cidLength(f *FilePool, p *path) int {
	at := p.field("scheme").field("cid_length")
	if c.sound(at) {
		c.between(at, f.Scheme.CIDLength, 1, maxCIDLength)
		return f.Scheme.CIDLength
	}
	if f.Scheme.Kind != schemeQUICLB {
		return 0
	}
	length := 0
	for _, q := range f.Scheme.Configs {
		n := 1 + q.ServerIDLength + q.NonceLength
		if length != 0 && n != length {
			return 0
		}
		length = n
	}
	return length
}

// quicLB compiles the spaces of a pool under QUIC-LB.
func (c *checker) quicLB(f *FilePool, p *path) *idspace.Table {
	at := p.field("scheme").field("configs")
	if !c.require(at, "write at least one, as in configs: [{id: 0, server_id_length: 4, nonce_length: 7}]") {
		return nil
	}
	if len(f.Scheme.Configs) == 0 {
		c.problem(at, "is empty", "write at least one, as in configs: [{id: 0, server_id_length: 4, nonce_length: 7}]")
		return nil
	}
	configs := map[quiclb.ConfigID]quiclb.Config{}
	var list []quiclb.Config
	for i := range f.Scheme.Configs {
		if q, ok := c.quicLBConfig(&f.Scheme.Configs[i], at.item(i)); ok {
			if _, taken := configs[q.ID]; taken {
				c.problemf(at.item(i).field("id"), "give each configuration a number of its own", "%d is taken by another one above", q.ID)
				continue
			}
			configs[q.ID] = q
			list = append(list, q)
		}
	}
	servers, owners := c.quicLBServers(f, p, configs)
	if len(list) < len(f.Scheme.Configs) || c.report.has(at) {
		return nil
	}
	set, err := quiclb.NewSet(list...)
	if err != nil {
		c.problem(at, err.Error(), "see the QUIC-LB draft for what a configuration may be")
		return nil
	}
	scheme := c.result.Schemes[route.PoolName(f.Name)]
	scheme.QUICLB = set
	scheme.ServerIDs = map[route.ServerName][]quiclb.Decoded{}
	for _, id := range servers {
		name := route.ServerName(owners[id.Server])
		scheme.ServerIDs[name] = append(scheme.ServerIDs[name], quiclb.Decoded{ServerID: id.ID, Config: id.Config})
	}
	for _, q := range list {
		scheme.QUICLBOrder = append(scheme.QUICLBOrder, q.ID)
		scheme.Significant = max(scheme.Significant, 1+q.ServerIDLength+q.NonceLength)
	}
	c.result.Schemes[route.PoolName(f.Name)] = scheme
	if len(servers) == 0 {
		return nil
	}
	function, err := idspace.QUICLB(set, servers)
	if err != nil {
		for _, e := range leaves(err) {
			c.problem(p.field("servers"), e.Error(), "change the server IDs")
		}
		return nil
	}
	table, err := idspace.CompileFunction(function, owners)
	if err != nil {
		c.problem(p.field("scheme"), err.Error(), "remove the problems above first")
	}
	return table
}

func (c *checker) quicLBConfig(f *FileQUICLB, p *path) (quiclb.Config, bool) {
	if c.report.has(p) {
		return quiclb.Config{}, false
	}
	ok := c.require(p.field("id"), "write the number in the first three bits, 0 to 6")
	ok = c.require(p.field("server_id_length"), "write how many octets a server ID has") && ok
	ok = c.require(p.field("nonce_length"), "write how many octets a nonce has") && ok
	if !ok {
		return quiclb.Config{}, false
	}
	if *f.ID < 0 || *f.ID >= int(quiclb.Unroutable) {
		c.problemf(p.field("id"), "write a number from 0 to 6; 7 says that an ID cannot be routed", "%d is out of range", *f.ID)
		return quiclb.Config{}, false
	}
	q := quiclb.Config{ID: quiclb.ConfigID(*f.ID), ServerIDLength: f.ServerIDLength, NonceLength: f.NonceLength}
	if at := p.field("key"); c.written(at) {
		if f.Key == nil || c.report.has(at) {
			return quiclb.Config{}, false
		}
		key, err := quiclb.NewKey(*f.Key)
		if err != nil {
			c.problemf(at, "write 32 hexadecimal digits", "has %d octets; a key has %d", len(*f.Key), quiclb.KeyLength)
			return quiclb.Config{}, false
		}
		q.Key = key
	}
	if err := q.Validate(); err != nil {
		for _, e := range leaves(err) {
			c.problem(p, strings.TrimPrefix(e.Error(), "quiclb: "), "change the lengths")
		}
		return quiclb.Config{}, false
	}
	return q, true
}

// quicLBServers collects the server IDs, and the numbers by which the function
// names the servers.
func (c *checker) quicLBServers(f *FilePool, p *path, configs map[quiclb.ConfigID]quiclb.Config) ([]idspace.QUICLBServer, map[uint32]idspace.Owner) {
	var servers []idspace.QUICLBServer
	owners := map[uint32]idspace.Owner{}
	taken := map[quiclb.Decoded]*path{}
	inClear := map[quiclb.ServerID]bool{}
	for i := range f.Servers {
		number := uint32(i) //nolint:gosec // at most route.MaxServers
		for _, w := range c.serverIDs(&f.Servers[i], p.field("servers").item(i), configs) {
			config, ok := configs[w.config]
			if !ok {
				continue // reported
			}
			id, err := quiclb.NewServerID(w.octets)
			key := quiclb.Decoded{ServerID: id, Config: w.config}
			plain := config.Algorithm() == quiclb.Plaintext
			was, used := inClear[id]
			switch first, twice := taken[key]; {
			case err != nil || id.Len() != config.ServerIDLength:
				c.problemf(w.at, "write "+strconv.Itoa(2*config.ServerIDLength)+" hexadecimal digits",
					"has %d octets; server IDs of configuration %d have %d", len(w.octets), w.config, config.ServerIDLength)
			case twice:
				c.problemf(w.at, "give each server an ID of its own", "%v is already the server ID of %s in line %d", id, first.parent, first.line(c.root))
			case used && was != plain:
				c.problem(w.at, "is used by a configuration with a key and by one without: whoever sees it in the clear learns what the encrypted IDs say",
					"write another server ID in one of the two")
			default:
				taken[key], inClear[id] = w.at, plain
				servers = append(servers, idspace.QUICLBServer{Config: w.config, ID: id, Server: number})
				owners[number] = idspace.Owner(f.Servers[i].Name)
			}
		}
	}
	return servers, owners
}

// A writtenID is a server ID in the file.
type writtenID struct {
	config quiclb.ConfigID
	octets []byte
	at     *path
}

// serverIDs returns the server IDs that a server has in the file.
func (c *checker) serverIDs(f *FileServer, p *path, configs map[quiclb.ConfigID]quiclb.Config) []writtenID {
	one, several := p.field("server_id"), p.field("server_ids")
	var out []writtenID
	switch {
	case c.written(one) && c.written(several):
		c.problem(one, "stands beside server_ids", "remove one of the two")
	case c.written(one):
		if len(configs) > 1 {
			c.problemf(one, "write server_ids, with the number of each configuration", "says nothing of which of %d configurations it is for", len(configs))
			return nil
		}
		for id := range configs {
			if f.ServerID != nil && c.sound(one) {
				out = append(out, writtenID{id, *f.ServerID, one})
			}
		}
	case f.ServerIDs != nil:
		s := f.ServerIDs
		for i, octets := range []*Hex{s.In0, s.In1, s.In2, s.In3, s.In4, s.In5, s.In6} {
			id, at := quiclb.ConfigID(i), several.field(strconv.Itoa(i)) //nolint:gosec // 0 to 6
			if octets == nil || !c.sound(at) {
				continue
			}
			if _, ok := configs[id]; !ok {
				c.problem(at, "there is no configuration "+strconv.Itoa(i), "write the id of one of scheme.configs, or add it there")
				continue
			}
			out = append(out, writtenID{id, *octets, at})
		}
	default:
		c.require(one, "write the server's ID, or server_ids with several configurations")
	}
	return out
}
