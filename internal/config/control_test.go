package config_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
)

const managedFile = `
version: 1
control: {connect: "https://10.0.0.1:7070", token_file: join.token}
listeners:
  - {name: web, listen: "127.0.0.1:8443", protocol: tls, pool: web}
  - {name: other, listen: "127.0.0.1:8444", protocol: tls, pool: other}
`

// The pools of a control plane stand where those of the file would; listeners
// of a pool that it does not have wait, and owners that have left the pool
// keep their IDs until the plan forgets them.
func TestManagedPools(t *testing.T) {
	t.Parallel()
	before, err := config.Parse("x.yaml", []byte(managedFile), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Waiting{{Listener: "web", Pool: "web"}, {Listener: "other", Pool: "other"}}
	if diff := cmp.Diff(want, before.Waiting); diff != "" || len(before.Listeners) != 0 {
		t.Errorf("without pools, %d listeners are open, and these wait (-want +got)\n%s", len(before.Listeners), diff)
	}
	plan, err := idspace.NextPlan(nil, idspace.Change{
		At: time.Unix(1, 0), Scheme: &idspace.Scheme{Kind: idspace.SchemeRanges}, Members: []idspace.Member{{Owner: "a"}, {Owner: "b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := config.Options{Pools: &config.Pools{
		YAML:  "pools:\n- name: web\n  scheme: {kind: ranges}\n  servers: [{name: a, address: \"127.0.0.1:1\"}, {name: new, address: \"127.0.0.1:2\"}]\n",
		Plans: map[string][]byte{"web": plan.Encode()},
	}}
	c, err := config.Parse("x.yaml", []byte(managedFile), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listeners) != 1 || c.Listeners[0].Name != "web" || !slices.Equal(c.Waiting, want[1:]) {
		t.Errorf("got listeners %v, waiting %v", c.Listeners, c.Waiting)
	}
	if p := c.Pools[0]; p.Table == nil || !slices.Equal(p.Gone, []idspace.Owner{"b"}) {
		t.Errorf("pool %s has the table %v, and these are gone: %v", p.Name, p.Table, p.Gone)
	}
	if len(c.Warnings) != 0 {
		t.Errorf("got warnings %v", c.Warnings)
	}
	o.Pools.Plans["web"] = []byte("{}")
	if _, err := config.Parse("x.yaml", []byte(managedFile), o); err == nil {
		t.Error("a damaged plan was accepted")
	}
	o.Pools.YAML = "pools: ["
	if _, err := config.Parse("x.yaml", []byte(managedFile), o); err == nil {
		t.Error("damaged pools were accepted")
	}
}
