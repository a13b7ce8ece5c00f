package control_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/sealed"
	"github.com/mintmark/mintmark/internal/config"
)

// fileOfPools has settings that YAML alone would take for something else.
const fileOfPools = `
version: 1
listeners: [{name: web, listen: 127.0.0.1:8443, protocol: tls, pool: web}]
pools:
  - name: web
    session_lifetime: 8h
    scheme: {kind: KIND}
    plan_file: some/where.plan
    groups: [{name: g, policy: random-two}]
    servers:
      - {name: a, address: 127.0.0.1:9001, group: g, weight: 3}
      - {name: b, address: 127.0.0.1:9002, group: g, share: 2, max_connections: 50, draining: true}
  - name: written
    policy: hash
    health: {type: none}
    servers:
      - {name: c, address: 127.0.0.1:9003, ids: [{range: {from: 0e12, to: 0e13}, field: [ticket, psk]}, {bits: {offset: 2, mask: "0012", values: 0012}, field: session_id}]}
`

func planOf(t *testing.T, kind idspace.SchemeKind) *idspace.Plan {
	t.Helper()
	var key sealed.Key
	if kind == idspace.SchemeSealed {
		key = sealed.NewKey()
	}
	p, err := idspace.NextPlan(nil, idspace.Change{
		At: time.Now(), SessionLifetime: 8 * time.Hour, Scheme: &idspace.Scheme{Kind: kind},
		Members: []idspace.Member{{Owner: "a", Share: 1}, {Owner: "b", Share: 2}}, Open: &idspace.OpenGeneration{Key: key},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func importFile(p *plane, kind string, plan []byte) error {
	_, err := p.admin.Import(p.t.Context(), connect.NewRequest(&mintmarkv1.ImportRequest{
		Config: strings.Replace(fileOfPools, "KIND", kind, 1), Plans: map[string][]byte{"some/where.plan": plan},
	}))
	return err
}

// What comes into the store comes out as a file that means the same, and an ID
// that was minted by the file's plan is routed to the same server by the
// balancers of the control plane, from their first snapshot on.
func TestImportExport(t *testing.T) {
	t.Parallel()
	for _, kind := range []idspace.SchemeKind{idspace.SchemeRanges, idspace.SchemeBits, idspace.SchemeSealed} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			p, plan := newPlane(t), planOf(t, kind)
			if err := importFile(p, string(kind), plan.Encode()); err != nil {
				t.Fatal(err)
			}
			out, err := p.admin.Export(t.Context(), connect.NewRequest(&mintmarkv1.ExportRequest{WithSecrets: true}))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Msg.GetPlans()["web.plan"], plan.Encode()) {
				t.Error("the plan came out as another")
			}
			before, err := config.PoolSettings([]byte(strings.Replace(fileOfPools, "KIND", string(kind), 1)))
			if err != nil {
				t.Fatal(err)
			}
			before[0]["plan_file"] = "web.plan"
			after, err := config.PoolSettings([]byte(out.Msg.GetConfig()))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(before, after); d != "" {
				t.Errorf("the file came out as another (-in +out)\n%s\n%s", d, out.Msg.GetConfig())
			}
			b := p.balancer("lb1")
			table := routesOf(t, b.receive())
			for _, owner := range []idspace.Owner{"a", "b"} {
				a, err := plan.Mint(owner)
				if err != nil {
					t.Fatal(err)
				}
				name := a.NewKeyName()
				if m, ok := table.Lookup(idspace.FieldPSK, name[:]); !ok || table.Owners()[m.Owner] != owner {
					t.Errorf("an ID of %s is not its own any more", owner)
				}
			}
			// The rollout goes on: the agents take over what was done by hand.
			b.ack()
			a := p.agent("web", "a", &mintmarkv1.WatchAssignmentsRequest{})
			got := a.until("a key to encrypt with", encrypts(0)).GetKeys()[0].GetPrefix()
			if want := map[bool]int{true: 0, false: 8}[kind == idspace.SchemeSealed]; len(got) != want {
				t.Errorf("the prefix has %d bytes; want %d, which AWS_LBC_QUIC_SERVER_ID has", len(got), want)
			}
		})
	}
}

func routesOf(t *testing.T, m *mintmarkv1.WatchSnapshotsResponse) *idspace.Table {
	t.Helper()
	c, err := config.Parse("sent", []byte("version: 1\ncontrol: {listen: \"127.0.0.1:1\", store: x}\n"), config.Options{
		Pools: &config.Pools{YAML: m.GetPoolsYaml(), Plans: m.GetPlans()},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Pools {
		if c.Pools[i].Name == "web" {
			return c.Pools[i].Table
		}
	}
	t.Fatalf("no pool web in\n%s", m.GetPoolsYaml())
	return nil
}

// Nothing is half imported, and secrets go to nobody who did not ask as an
// admin.
func TestImportAndExportRefuse(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	if _, err := p.admin.PutPool(t.Context(), connect.NewRequest(&mintmarkv1.PutPoolRequest{Pool: &mintmarkv1.Pool{Name: "written"}})); err != nil {
		t.Fatal(err)
	}
	plan := planOf(t, idspace.SchemeSealed)
	err := importFile(p, "sealed", plan.Encode())
	if connect.CodeOf(err) != connect.CodeAlreadyExists || !strings.Contains(err.Error(), "pool written is there already") {
		t.Errorf("importing a pool that is there: %v", err)
	}
	all, err := p.admin.ListPools(t.Context(), connect.NewRequest(&mintmarkv1.ListPoolsRequest{}))
	if err != nil || len(all.Msg.GetPools()) != 1 {
		t.Errorf("after the refusal there are %v, %v", all.Msg.GetPools(), err)
	}
	if _, err := p.admin.DeletePool(t.Context(), connect.NewRequest(&mintmarkv1.DeletePoolRequest{Name: "written"})); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		do   func() error
		want string
	}{
		"no plan":      {func() error { return importFile(p, "sealed", nil) }, "the plan some/where.plan"},
		"another plan": {func() error { return importFile(p, "ranges", plan.Encode()) }, "the plan has the scheme sealed, and the pool ranges"},
		"a bad file":   {func() error { return importFile(p, "sealde", plan.Encode()) }, "line 7: pools[0].scheme.kind"},
	} {
		if err := c.do(); connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want %q", name, err, c.want)
		}
	}
	if err := importFile(p, "sealed", plan.Encode()); err != nil {
		t.Fatal(err)
	}
	viewer := mintmarkv1connect.NewControlServiceClient(p.join(p.token("viewer", "", "eve")), p.url)
	if _, err := viewer.Export(t.Context(), connect.NewRequest(&mintmarkv1.ExportRequest{WithSecrets: true})); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a viewer who asks for mark keys: %v", err)
	}
	out, err := viewer.Export(t.Context(), connect.NewRequest(&mintmarkv1.ExportRequest{}))
	if err != nil || len(out.Msg.GetPlans()) != 0 || !strings.Contains(out.Msg.GetConfig(), "holds mark keys and is left out") {
		t.Errorf("without secrets, the export is %v, %v", out.Msg, err)
	}
}
