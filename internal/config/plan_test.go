package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/sealed"
	"github.com/mintmark/mintmark/internal/config"
)

// planned writes a configuration with one planned pool, and a plan of members
// beside it, and returns the path of the first.
func planned(t *testing.T, kind idspace.SchemeKind, servers string, plan *idspace.Plan) string {
	t.Helper()
	dir := t.TempDir()
	if plan != nil {
		if err := os.MkdirAll(filepath.Join(dir, "plans"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "plans", "web.plan"), plan.Encode(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "mintmark.yaml")
	data := fmt.Sprintf(`version: 1
listeners: [{name: web, listen: "127.0.0.1:8443", protocol: tls, pool: web}]
pools:
  - name: web
    random_ids: skip
    scheme: {kind: %s}
    plan_file: plans/web.plan
    servers:
%s`, kind, servers)
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func newPlan(t *testing.T, kind idspace.SchemeKind, members ...idspace.Member) *idspace.Plan {
	t.Helper()
	first := idspace.Change{Scheme: &idspace.Scheme{Kind: kind}, Members: members}
	if kind == idspace.SchemeSealed {
		first.Open = &idspace.OpenGeneration{Key: sealed.NewKey()}
	}
	p, err := idspace.NextPlan(nil, first)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const twoServers = `      - {name: a, address: "127.0.0.1:9001", share: 2}
      - {name: b, address: "127.0.0.1:9002"}
`

// TestPlannedPool: what the plan lets an owner mint is found to be its own.
func TestPlannedPool(t *testing.T) {
	t.Parallel()
	for _, kind := range []idspace.SchemeKind{idspace.SchemeRanges, idspace.SchemeBits, idspace.SchemeSealed} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			plan := newPlan(t, kind, idspace.Member{Owner: "a", Share: 2}, idspace.Member{Owner: "b"})
			cfg, err := config.Load(planned(t, kind, twoServers, plan), config.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(cfg.Warnings) > 0 {
				t.Errorf("warnings: %v", cfg.Warnings)
			}
			table := cfg.Pools[0].Table
			for _, m := range plan.Members() {
				mint, err := plan.Mint(m.Owner)
				if err != nil {
					t.Fatal(err)
				}
				name := mint.NewKeyName()
				match, ok := table.Lookup(idspace.FieldTicket, append(name[:], 1, 2, 3))
				if !ok || table.Owners()[match.Owner] != m.Owner {
					t.Errorf("an ID of %s is found to be of %v, %v", m.Owner, match, ok)
				}
			}
			scheme := cfg.Schemes["web"]
			want := config.Scheme{
				Kind:     string(kind),
				PlanFile: filepath.Join(filepath.Dir(cfg.Path), "plans", "web.plan"),
				Members:  []idspace.Member{{Owner: "a", Share: 2}, {Owner: "b", Share: 1}},
			}
			if diff := cmp.Diff(want, scheme); diff != "" {
				t.Errorf("scheme (-want +got)\n%s", diff)
			}
		})
	}
}

// TestPlanAndFile: a plan and a file that do not agree.
func TestPlanAndFile(t *testing.T) {
	t.Parallel()
	ab := newPlan(t, idspace.SchemeRanges, idspace.Member{Owner: "a", Share: 2}, idspace.Member{Owner: "b"})
	onlyA, err := idspace.NextPlan(ab, idspace.Change{At: time.Unix(1_800_000_000, 0), Members: []idspace.Member{{Owner: "a", Share: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		kind    idspace.SchemeKind
		servers string
		plan    *idspace.Plan
		want    string // DIR stands for the directory of the file
	}{
		{
			"no plan", idspace.SchemeRanges, twoServers, nil,
			"7: pools[0].plan_file: there is no file \"DIR/plans/web.plan\"; run `mintmark plan -c DIR/mintmark.yaml --pool web`",
		},
		{
			"another scheme", idspace.SchemeSealed, twoServers, ab,
			"7: pools[0].plan_file: holds a plan of the scheme ranges, and the pool has sealed; " +
				"write scheme: {kind: ranges}, or another plan_file and run `mintmark plan -c DIR/mintmark.yaml --pool web`",
		},
		{
			"a new server", idspace.SchemeRanges, twoServers + "      - {name: c, address: \"127.0.0.1:9003\"}\n", ab,
			"11: pools[0].servers[2]: server \"c\" has no space in the plan; run `mintmark plan -c DIR/mintmark.yaml --pool web`",
		},
		{
			"a server gone", idspace.SchemeRanges, "      - {name: a, address: \"127.0.0.1:9001\", share: 2}\n", ab,
			"7: pools[0].plan_file: the plan gives \"b\" a space, and the pool has no such server or group; " +
				"put it back, or retire its space with `mintmark plan -c DIR/mintmark.yaml --pool web`",
		},
		{
			"a server gone whose IDs may be left", idspace.SchemeRanges, "      - {name: a, address: \"127.0.0.1:9001\", share: 2}\n", onlyA,
			"7: pools[0].plan_file: the plan still routes the IDs of \"b\", which is being retired, and the pool has no such server or group; " +
				"keep it in the file with share: 0 and draining: true while IDs of it may be left; " +
				"when none is, run `mintmark plan -c DIR/mintmark.yaml --pool web --dead b`",
		},
		{
			"a server that retires", idspace.SchemeRanges,
			"      - {name: a, address: \"127.0.0.1:9001\", share: 2}\n      - {name: b, address: \"127.0.0.1:9002\", share: 0, draining: true}\n", onlyA,
			"ok",
		},
		{
			"a server that should have retired", idspace.SchemeRanges,
			"      - {name: a, address: \"127.0.0.1:9001\", share: 2}\n      - {name: b, address: \"127.0.0.1:9002\", share: 0}\n", ab,
			"10: pools[0].servers[1].share: server \"b\" has a space in the plan; run `mintmark plan -c DIR/mintmark.yaml --pool web`",
		},
		{
			"another share", idspace.SchemeRanges, strings.ReplaceAll(twoServers, "share: 2", "share: 3"), ab,
			"warning: 9: pools[0].servers[0].share: the plan gives server \"a\" the share 2; run `mintmark plan -c DIR/mintmark.yaml --pool web`",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			name := planned(t, tc.kind, tc.servers, tc.plan)
			cfg, err := config.Load(name, config.Options{})
			got := "ok"
			switch {
			case err != nil:
				got = err.Error()
			case len(cfg.Warnings) > 0:
				got = "warning: " + cfg.Warnings[0].String()
			}
			got = strings.Replace(got, name+":", "", 1)
			got = strings.ReplaceAll(got, filepath.Dir(name), "DIR")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPlanThatIsNone(t *testing.T) {
	t.Parallel()
	name := planned(t, idspace.SchemeRanges, twoServers, newPlan(t, idspace.SchemeRanges, idspace.Member{Owner: "a"}))
	if err := os.WriteFile(filepath.Join(filepath.Dir(name), "plans", "web.plan"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(name, config.Options{})
	for _, want := range []string{"mintmark.yaml:7: pools[0].plan_file: ", "holds no plan", "restore the plan from a backup"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v; want %s in it", err, want)
		}
	}
}

// TestWithoutPlans: the command that writes plans reads the file before there
// is one, and still learns what else is wrong with it.
func TestWithoutPlans(t *testing.T) {
	t.Parallel()
	o := config.Options{WithoutPlans: true}
	cfg, err := config.Load(planned(t, idspace.SchemeSealed, twoServers, nil), o)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Pools[0].Table != nil || len(cfg.Schemes["web"].Members) != 2 {
		t.Errorf("got table %v and scheme %+v", cfg.Pools[0].Table, cfg.Schemes["web"])
	}
	if _, err := config.Load(planned(t, idspace.SchemeSealed, "      - {name: a}\n", nil), o); err == nil {
		t.Error("a server without an address is accepted")
	}
}
