package dgram

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/internal/route"
)

// start is when tests begin.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// client is the tuple of the nth client.
func client(n int) *Tuple {
	t := TupleOf(
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 40000),
		netip.MustParseAddrPort("192.0.2.1:443"))
	return &t
}

// byFirstOctet is a table in which the first octet of an ID is the letter of its
// owner.
func byFirstOctet(tb testing.TB, owners ...idspace.Owner) *idspace.Table {
	tb.Helper()
	var rules []idspace.Rule
	for _, o := range owners {
		rules = append(rules, idspace.Rule{Owner: o, Bits: &idspace.Bits{Mask: []byte{0xff}, Values: [][]byte{{o[0]}}}})
	}
	table, err := idspace.Compile(rules)
	if err != nil {
		tb.Fatal(err)
	}
	return table
}

// poolConfig has the servers a, b and c, each the owner of IDs that begin with its
// letter.
func poolConfig(tb testing.TB) route.PoolConfig {
	tb.Helper()
	c := route.PoolConfig{Name: "h3", Policy: route.Hash, Table: byFirstOctet(tb, "a", "b", "c")}
	for i, name := range []route.ServerName{"a", "b", "c"} {
		c.Servers = append(c.Servers, route.ServerConfig{
			Name: name, Weight: 1, Address: route.Address{Network: "tcp", Host: "192.0.2.9", Port: uint16(1000 + i)},
		})
	}
	return c
}

func newPool(tb testing.TB, c route.PoolConfig, prev *route.Pool) *route.Pool {
	tb.Helper()
	p, err := route.NewPool(c, prev)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func newDecider(tb testing.TB, p *route.Pool) *Decider {
	tb.Helper()
	d, err := NewDecider(p)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func newFlows(tb testing.TB, limits FlowLimits) *Flows {
	tb.Helper()
	f, err := NewFlows(limits)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// roomy are limits that no test reaches by accident.
var roomy = FlowLimits{Max: 1000, MaxUnknown: 1000, Idle: time.Minute}

// short is a message with a server's ID, long one with an ID that may be invented.
func short(id string) *Message {
	return &Message{Field: idspace.FieldCIDShort, ID: []byte(id)}
}

func long(id string) *Message {
	return &Message{Field: idspace.FieldCIDLong, ID: []byte(id), Opening: true}
}

// noID is a message of a DTLS handshake.
func noID() *Message { return &Message{Opening: true} }

func serverNamed(tb testing.TB, p *route.Pool, name route.ServerName) *route.Server {
	tb.Helper()
	for _, s := range p.Servers {
		if s.Config.Name == name {
			return s
		}
	}
	tb.Fatalf("there is no server %s", name)
	return nil
}

// checkSlots checks that each server holds as many slots as it has flows.
func checkSlots(tb testing.TB, p *route.Pool, flows ...*Flows) {
	tb.Helper()
	held := map[*route.State]int64{}
	for _, t := range flows {
		for _, f := range t.flows {
			held[f.Server.State]++
		}
	}
	for _, s := range p.Servers {
		if got := s.State.Conns.Load(); got != held[s.State] {
			tb.Errorf("server %s has %d slots taken; want %d, one for each flow", s.Config.Name, got, held[s.State])
		}
	}
}

// quicLB returns a table of servers a, b and c under QUIC-LB, and a function that
// mints for them.
func quicLB(tb testing.TB, config quiclb.Config) (*idspace.Table, func(server int) []byte) {
	tb.Helper()
	set, err := quiclb.NewSet(config)
	if err != nil {
		tb.Fatal(err)
	}
	var servers []idspace.QUICLBServer
	var minters []*quiclb.Minter
	for i := range 3 {
		id, err := quiclb.NewServerID(bytes.Repeat([]byte{byte(i + 1)}, config.ServerIDLength))
		if err != nil {
			tb.Fatal(err)
		}
		servers = append(servers, idspace.QUICLBServer{Config: config.ID, ID: id, Server: uint32(i)})
		m, err := quiclb.NewMinter(quiclb.MinterConfig{Config: config, ServerID: id})
		if err != nil {
			tb.Fatal(err)
		}
		minters = append(minters, m)
	}
	function, err := idspace.QUICLB(set, servers)
	if err != nil {
		tb.Fatal(err)
	}
	table, err := idspace.CompileFunction(function, map[uint32]idspace.Owner{0: "a", 1: "b", 2: "c"})
	if err != nil {
		tb.Fatal(err)
	}
	return table, func(server int) []byte {
		tb.Helper()
		cid, err := minters[server].Append(nil)
		if err != nil {
			tb.Fatal(err)
		}
		return cid
	}
}
