package config_test

import (
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/route"
)

// TestCompiled compares all that comes out of a file that says nothing it
// need not say, and of one that says everything.
func TestCompiled(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, data string
		want       config.Config
	}{
		{"defaults", minimal, config.Config{
			Path:          "dir/x.yaml",
			ShutdownGrace: 30 * time.Second,
			Listeners: []config.Listener{{
				Name: "web", Protocol: config.ProtocolTLS, Pool: "web",
				Listen:       []config.Address{{Network: "tcp", Address: "127.0.0.1:8443"}},
				HelloTimeout: 5 * time.Second, ConnectTimeout: 5 * time.Second, IdleTimeout: 10 * time.Minute,
				AccessLogFormat: "text", Engine: "auto",
			}},
			Pools: []route.PoolConfig{{
				Name:            "web",
				SessionLifetime: 24 * time.Hour, DrainTimeout: 24 * time.Hour,
				Health:  route.HealthConfig{Type: route.HealthTCP, Interval: 5 * time.Second, Timeout: 3 * time.Second, Rise: 2, Fall: 3},
				Servers: []route.ServerConfig{{Name: "a", Address: route.Address{Network: "tcp", Host: "127.0.0.1", Port: 9001}, Weight: 1}},
			}},
			Schemes: map[route.PoolName]config.Scheme{},
		}},
		{"everything", `
version: 1
admin: {listen: "unix:/run/admin.sock"}
shutdown_grace: 1m30s
listeners:
  - name: web
    listen: ["[::1]:8443", ":8444"]
    protocol: tls
    proxy_protocol: {accept_from: [10.0.0.0/8]}
    timeouts: {hello: 1s, connect: 2s, idle: 1d}
    max_connections: 7
    access_log: logs/access.log
    access_log_format: json
    engine: portable
    routes: [{sni: "*.Shop.example.", pool: web}]
    pool: web
pools:
  - name: web
    policy: random-two
    when_owner_down: refuse
    unknown_ids: refuse
    random_ids: skip
    early_data: allow
    session_lifetime: 2h
    drain_timeout: 0s
    proxy_protocol: v1
    health: {type: tls, interval: 2s, timeout: 1s, rise: 4, fall: 5, sni: www.example}
    groups: [{name: one}, {name: two, policy: hash}]
    servers:
      - {name: a, address: "unix:/run/a.sock", group: one, weight: 3, max_connections: 5, draining: true}
      - {name: b, address: "b.internal:9002", group: two}
`, config.Config{
			Path:          "dir/x.yaml",
			Admin:         &config.Address{Network: "unix", Address: "/run/admin.sock"},
			ShutdownGrace: 90 * time.Second,
			Listeners: []config.Listener{{
				Name: "web", Protocol: config.ProtocolTLS, Pool: "web",
				Listen:       []config.Address{{Network: "tcp", Address: "[::1]:8443"}, {Network: "tcp", Address: ":8444"}},
				AcceptFrom:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
				HelloTimeout: time.Second, ConnectTimeout: 2 * time.Second, IdleTimeout: 24 * time.Hour,
				MaxConnections: 7,
				AccessLog:      "dir/logs/access.log", AccessLogFormat: "json", Engine: "portable",
				Routes: []config.Route{{SNI: "*.shop.example", Pool: "web"}},
			}},
			Pools: []route.PoolConfig{{
				Name: "web", Policy: route.RandomTwo, WhenOwnerDown: route.OwnerDownRefuse, UnknownIDs: route.UnknownRefuse,
				RandomIDs: route.RandomSkip, EarlyData: route.EarlyAllow, ProxyProtocol: route.ProxyV1,
				SessionLifetime: 2 * time.Hour, DrainTimeout: 0,
				Health: route.HealthConfig{Type: route.HealthTLS, Interval: 2 * time.Second, Timeout: time.Second, Rise: 4, Fall: 5, SNI: "www.example"},
				Groups: []route.GroupConfig{{Name: "one", Policy: route.RandomTwo}, {Name: "two", Policy: route.Hash}},
				Servers: []route.ServerConfig{
					{
						Name: "a", Address: route.Address{Network: "unix", Host: "/run/a.sock"}, Group: "one",
						Weight: 3, MaxConnections: 5, Draining: true,
					},
					{Name: "b", Address: route.Address{Network: "tcp", Host: "b.internal", Port: 9002}, Group: "two", Weight: 1},
				},
			}},
			Schemes: map[route.PoolName]config.Scheme{},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg, err := config.Parse("dir/x.yaml", []byte(tc.data), config.Options{})
			if err != nil {
				t.Fatal(err)
			}
			diff := cmp.Diff(tc.want, *cfg, cmpopts.IgnoreFields(config.Config{}, "Warnings"),
				cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty())
			if diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			buildAll(t, cfg)
		})
	}
}

// TestRules: a rule of the file is the rule of the table, with its owner, its
// field and its place.
func TestRules(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("x.yaml", []byte(`
version: 1
listeners: [{name: web, listen: "127.0.0.1:8443", protocol: tls, pool: web}]
pools:
  - name: web
    groups: [{name: g, ids: [{range: {from: 0a00, to: 0aff}, field: psk}]}]
    servers:
      - name: a
        address: 127.0.0.1:9001
        group: g
        ids:
          - bits: {offset: 1, from_end: true, id_length: 8, mask: f0, values: [10, 20]}
            field: [session_id]
      - {name: b, address: "127.0.0.1:9002", ids: [{prefix: b-, field: cookie}, {suffix: .b, field: header}]}
`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []idspace.Rule{
		{
			Owner: "a", Fields: idspace.Fields(idspace.FieldSessionID), Source: "pools[0].servers[0].ids[0]",
			Bits: &idspace.Bits{Offset: 1, FromEnd: true, IDLength: 8, Mask: []byte{0xf0}, Values: [][]byte{{0x10}, {0x20}}},
		},
		{Owner: "b", Fields: idspace.Fields(idspace.FieldCookie), Source: "pools[0].servers[1].ids[0]", Bits: idspace.Prefix("b-")},
		{Owner: "b", Fields: idspace.Fields(idspace.FieldHeader), Source: "pools[0].servers[1].ids[1]", Bits: idspace.Suffix(".b")},
		{
			Owner: "g", Fields: idspace.Fields(idspace.FieldPSK), Source: "pools[0].groups[0].ids[0]",
			Range: &idspace.Range{From: []byte{0x0a, 0}, To: []byte{0x0a, 0xff}},
		},
	}
	if diff := cmp.Diff(want, cfg.Pools[0].Table.Rules()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// byLength is a function of the kind that programs bring.
type byLength struct{}

func (byLength) Lookup(_ idspace.Field, id []byte) (uint32, uint8, bool) {
	return uint32(len(id)), 0, true //nolint:gosec // short
}

// rareByLength also says that it practically never takes random bytes for IDs.
type rareByLength struct{ byLength }

func (rareByLength) Share(idspace.Field, uint32) *big.Rat { return new(big.Rat) }

func TestFunction(t *testing.T) {
	t.Parallel()
	const data = `
version: 1
listeners: [{name: web, listen: "127.0.0.1:8443", protocol: tls, pool: web}]
pools:
  - name: web
    random_ids: skip
    scheme: {kind: function, name: by-length}
    groups: [{name: g, number: 3}]
    servers:
      - {name: a, address: "127.0.0.1:9001", number: 1, group: g}
      - {name: b, address: "127.0.0.1:9002", number: 2, group: g}
`
	o := config.Options{Functions: map[string]idspace.Function{"by-length": byLength{}}}
	cfg, err := config.Parse("x.yaml", []byte(data), o)
	if err != nil {
		t.Fatal(err)
	}
	table := cfg.Pools[0].Table
	for id, want := range map[string]idspace.Owner{"x": "a", "xx": "b", "xxx": "g", "xxxx": ""} {
		var got idspace.Owner
		if m, ok := table.Lookup(idspace.FieldPSK, []byte(id)); ok {
			got = table.Owners()[m.Owner]
		}
		if got != want {
			t.Errorf("%s: got %q; want %q", id, got, want)
		}
	}
	buildAll(t, cfg)
	auto := strings.ReplaceAll(data, "    random_ids: skip\n", "")
	cfg, err = config.Parse("x.yaml", []byte(auto), o)
	if err != nil || len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0].Reason, "is not known") {
		t.Errorf("got %v, %v; want a warning that the share is not known", cfg.Warnings, err)
	}
	_, err = config.Parse("x.yaml", []byte(strings.ReplaceAll(data, "name: by-length", "name: by-lengths")), o)
	if got, want := err.Error(), `x.yaml:7: pools[0].scheme.name: there is no function "by-lengths" in this program; write by-length`; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

// The directory of an access log may be on another machine than the one that
// checks the file: that it is not here is a warning.
func TestMissingLogDirectoryIsAWarning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for log, warnings := range map[string]int{"access.log": 0, "logs/access.log": 1, dir + "/x.log": 0, "/nonexistent/x.log": 1} {
		cfg, err := config.Parse(filepath.Join(dir, "m.yaml"), []byte(`
version: 1
listeners: [{name: web, listen: ":1", protocol: tcp, pool: web, access_log: `+log+`}]
pools: [{name: web, servers: [{name: a, address: "127.0.0.1:2"}]}]
`), config.Options{})
		if err != nil || len(cfg.Warnings) != warnings {
			t.Errorf("access_log: %s: got %v, %v; want %d warnings", log, cfg.Warnings, err, warnings)
		}
	}
}

// TestExamples: every configuration that is shipped or shown in the
// documentation is in order.
func TestExamples(t *testing.T) {
	t.Parallel()
	o := config.Options{
		WithoutPlans: true, // examples have none beside them
		Functions:    map[string]idspace.Function{"shards": rareByLength{}},
	}
	check := func(t *testing.T, name, data string) {
		t.Helper()
		cfg, err := config.Parse(name, []byte(data), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range cfg.Warnings {
			t.Errorf("warning: %s", w)
		}
		buildAll(t, cfg)
	}
	root := filepath.Join("..", "..")
	block := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")
	err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata"):
			return filepath.SkipDir
		case filepath.Ext(name) == ".yaml" && strings.Contains(name, "examples"):
			data, err := os.ReadFile(name)
			t.Run(name, func(t *testing.T) { check(t, name, string(data)) })
			return err
		case filepath.Ext(name) == ".md":
			data, err := os.ReadFile(name)
			for i, m := range block.FindAllStringSubmatch(string(data), -1) {
				if strings.Contains(m[1], "version: 1\n") {
					t.Run(name+" "+string(rune('a'+i)), func(t *testing.T) { check(t, name, m[1]) })
				}
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
