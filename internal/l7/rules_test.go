package l7_test

import (
	"testing"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/sealed"
	"github.com/mintmark/mintmark/internal/httpid"
	"github.com/mintmark/mintmark/internal/l7"
	"github.com/mintmark/mintmark/internal/route"
)

// TestRules routes by each kind of rule that text can be under: a suffix, a
// range over the bytes that a value stands for, and sealed marks.
func TestRules(t *testing.T) {
	t.Parallel()
	compile := func(rules ...idspace.Rule) *idspace.Table {
		table, err := idspace.Compile(rules)
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	plan, err := idspace.NextPlan(nil, idspace.Change{
		Scheme:  &idspace.Scheme{Kind: idspace.SchemeSealed},
		Members: []idspace.Member{{Owner: "a", Share: 1}, {Owner: "b", Share: 1}},
		Open:    &idspace.OpenGeneration{Key: sealed.NewKey()},
	})
	if err != nil {
		t.Fatal(err)
	}
	sealedTable, err := plan.Table()
	if err != nil {
		t.Fatal(err)
	}
	mint := func(owner idspace.Owner) string {
		a, err := plan.Mint(owner)
		if err != nil {
			t.Fatal(err)
		}
		return a.NewText() + "and the application's own randomness"
	}
	header := func(c httpid.Config) []l7.ID {
		c.Kind, c.Name = httpid.Header, "Session"
		return []l7.ID{source(t, c)}
	}
	for name, c := range map[string]struct {
		ids   []l7.ID
		table *idspace.Table
		a, b  string
	}{
		"suffix": {
			header(httpid.Config{}),
			compile(idspace.Rule{Owner: "a", Bits: idspace.Suffix(".jvm1")}, idspace.Rule{Owner: "b", Bits: idspace.Suffix(".jvm2")}),
			"0A1B.jvm1", "0A1B2C.jvm2",
		},
		"range over hexadecimal": {
			header(httpid.Config{Encoding: httpid.Hex}),
			compile(idspace.Rule{Owner: "a", Range: &idspace.Range{From: []byte{0x10}, To: []byte{0x1f}}},
				idspace.Rule{Owner: "b", Range: &idspace.Range{From: []byte{0x20}, To: []byte{0x2f}}}),
			"1Fff00", "2000",
		},
		"range over a UUID": {
			header(httpid.Config{Encoding: httpid.UUID}),
			compile(idspace.Rule{Owner: "a", Range: &idspace.Range{From: []byte{0x10, 0}, To: []byte{0x1f, 0xff}}},
				idspace.Rule{Owner: "b", Range: &idspace.Range{From: []byte{0x20, 0}, To: []byte{0x2f, 0xff}}}),
			"1f112233-4455-6677-8899-aabbccddeeff", "20112233-4455-4677-8899-aabbccddeeff",
		},
		"sealed":      {header(httpid.Config{}), sealedTable, mint("a"), mint("b")},
		"sealed, cut": {header(httpid.Config{After: "~"}), sealedTable, "v1~" + mint("a"), "~" + mint("b")},
	} {
		r := newRig(t, rigConfig{ids: c.ids, pool: func(p *route.PoolConfig) { p.Table = c.table }}, echo("a"), echo("b"))
		for range 2 {
			if got := r.get("/", "Session: "+c.a); got.server != "a" {
				t.Errorf("%s: %s went to %q", name, c.a, got.server)
			}
			if got := r.get("/", "Session: "+c.b); got.server != "b" {
				t.Errorf("%s: %s went to %q", name, c.b, got.server)
			}
		}
	}
}
