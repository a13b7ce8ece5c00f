package route

import (
	"net/netip"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

// start is "now" in tests: the time does not matter, only differences do.
func start() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }

// server returns the config of an ordinary server.
func server(name ServerName, change ...func(*ServerConfig)) ServerConfig {
	c := ServerConfig{
		Name:    name,
		Address: Address{Network: "tcp", Host: "127.0.0.1", Port: 1},
		Weight:  1,
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func inGroup(g GroupName) func(*ServerConfig) { return func(c *ServerConfig) { c.Group = g } }
func weight(w int) func(*ServerConfig)        { return func(c *ServerConfig) { c.Weight = w } }
func limit(n int) func(*ServerConfig)         { return func(c *ServerConfig) { c.MaxConnections = n } }
func draining(c *ServerConfig)                { c.Draining = true }

// spaces gives each owner the IDs that start with its name and a colon, in any
// field. So an ID reads as "a:..." in tests.
func spaces(t testing.TB, owners ...string) *idspace.Table {
	t.Helper()
	var rules []idspace.Rule
	for _, o := range owners {
		rules = append(rules, idspace.Rule{Owner: idspace.Owner(o), Source: "space of " + o, Bits: idspace.Prefix(o + ":")})
	}
	table, err := idspace.Compile(rules)
	if err != nil {
		t.Fatalf("compiling spaces of %v: %v", owners, err)
	}
	return table
}

func newPool(t testing.TB, cfg PoolConfig) *Pool {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "web"
	}
	p, err := NewPool(cfg, nil)
	if err != nil {
		t.Fatalf("NewPool: %v", err)
	}
	return p
}

func candidate(f idspace.Field, id string) Candidate { return Candidate{Field: f, ID: []byte(id)} }
func psk(id string) Candidate                        { return candidate(idspace.FieldPSK, id) }
func ticket(id string) Candidate                     { return candidate(idspace.FieldTicket, id) }
func sessionID(id string) Candidate                  { return candidate(idspace.FieldSessionID, id) }
func cookie(id string) Candidate                     { return candidate(idspace.FieldCookie, id) }

// client returns the n-th of many client addresses.
func client(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 4711)
}

// hello returns the facts of an ordinary TLS 1.3 hello.
func hello() *Facts { return &Facts{Client: client(1), OffersTLS13: true, Now: start()} }

// drainedFor makes the server drain since that long before start().
func drainedFor(s *Server, d time.Duration) {
	s.State.DrainSince.Store(start().Add(-d).UnixNano())
}

// name of the server that a decision chose, "" for none.
func (d *Decision) name() ServerName {
	if d.Server == nil {
		return ""
	}
	return d.Server.Config.Name
}
