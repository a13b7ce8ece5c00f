package idspace

import (
	"bytes"
	"math/big"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/idspace/quiclb"
)

func quiclbID(tb testing.TB, text string) quiclb.ServerID {
	tb.Helper()
	id, err := quiclb.ParseServerID(text)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// quiclbSet has configuration 0 in the clear and 1 with a key, server IDs of 3
// bytes, and 2 with a key and server IDs of 1 byte.
func quiclbSet(tb testing.TB) *quiclb.Set {
	tb.Helper()
	key, err := quiclb.ParseKey("fdf726a9893ec05c0632d3956680baf0")
	if err != nil {
		tb.Fatal(err)
	}
	set, err := quiclb.NewSet(
		quiclb.Config{ID: 0, ServerIDLength: 3, NonceLength: 4},
		quiclb.Config{ID: 1, ServerIDLength: 3, NonceLength: 5, Key: key},
		quiclb.Config{ID: 2, ServerIDLength: 1, NonceLength: 15, Key: key},
	)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func quiclbTable(tb testing.TB, set *quiclb.Set) *Table {
	tb.Helper()
	f, err := QUICLB(set, []QUICLBServer{
		{0, quiclbID(tb, "c4605e"), 1},
		{1, quiclbID(tb, "31441a"), 1},
		{2, quiclbID(tb, "01"), 1},
		{0, quiclbID(tb, "c46060"), 2},
		{1, quiclbID(tb, "31441b"), 2},
		{1, quiclbID(tb, "31441c"), 2},
	})
	if err != nil {
		tb.Fatal(err)
	}
	table, err := CompileFunction(f, map[uint32]Owner{1: "a", 2: "b"})
	if err != nil {
		tb.Fatal(err)
	}
	return table
}

func mintQUICLB(tb testing.TB, set *quiclb.Set, config quiclb.ConfigID, server string) []byte {
	tb.Helper()
	codec := set.Codec(config)
	cid, err := codec.Append(nil, 0, quiclbID(tb, server), bytes.Repeat([]byte{7}, codec.Config().NonceLength), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return cid
}

func TestQUICLBLookup(t *testing.T) {
	set := quiclbSet(t)
	table := quiclbTable(t, set)
	tests := []struct {
		config quiclb.ConfigID
		server string
		want   Owner // "" for nobody
	}{
		{0, "c4605e", "a"},
		{1, "31441a", "a"},
		{2, "01", "a"},
		{0, "c46060", "b"},
		{1, "31441b", "b"},
		{1, "31441c", "b"},
		{0, "31441a", ""},
		{1, "c4605e", ""},
		{2, "02", ""},
	}
	for _, tt := range tests {
		cid := mintQUICLB(t, set, tt.config, tt.server)
		for _, field := range []Field{FieldCIDShort, FieldCIDLong, FieldDTLSCID, FieldBytes} {
			for _, extra := range []int{0, 3, 1200} {
				m, ok := table.Lookup(field, append(bytes.Clone(cid), make([]byte, extra)...))
				if ok != (tt.want != "") {
					t.Errorf("%v %s of configuration %d: found %v; want owner %q", field, tt.server, tt.config, ok, tt.want)
				} else if ok && (table.Owners()[m.Owner] != tt.want || m.Generation != uint8(tt.config) || m.Rule != -1) {
					t.Errorf("%v %s of configuration %d: got %+v; want owner %q", field, tt.server, tt.config, m, tt.want)
				}
			}
		}
		for _, field := range []Field{FieldNone, FieldPSK, FieldTicket, FieldSessionID, FieldCookie, FieldHeader} {
			if _, ok := table.Lookup(field, cid); ok {
				t.Errorf("%x is found in the field %v", cid, field)
			}
		}
		if _, ok := table.Lookup(FieldCIDShort, cid[:len(cid)-1]); ok {
			t.Errorf("%x is found without its last byte", cid)
		}
	}
	for _, cid := range [][]byte{nil, {0xe0, 1, 2, 3, 4, 5, 6, 7}, {0x60, 0xc4, 0x60, 0x5e, 0, 0, 0, 0}} {
		if _, ok := table.Lookup(FieldCIDLong, cid); ok {
			t.Errorf("%x is found", cid)
		}
	}
}

func TestQUICLBShare(t *testing.T) {
	table := quiclbTable(t, quiclbSet(t))
	three, one := big.NewRat(1, 8<<24), big.NewRat(1, 8<<8)
	a := new(big.Rat).Add(new(big.Rat).Add(three, three), one)
	b := new(big.Rat).Mul(three, big.NewRat(3, 1))
	share := table.Share(FieldCIDLong)
	if share.Owners[0].Cmp(a) != 0 || share.Owners[1].Cmp(b) != 0 || share.Total.Cmp(new(big.Rat).Add(a, b)) != 0 {
		t.Errorf("shares are %v and %v of %v; want %v and %v", share.Owners[0], share.Owners[1], share.Total, a, b)
	}
	if share := table.Share(FieldTicket); share.Total.Sign() != 0 {
		t.Errorf("share of tickets is %v; want 0", share.Total)
	}
}

func TestQUICLBRefuses(t *testing.T) {
	c46, other := quiclbID(t, "c4605e"), quiclbID(t, "010203")
	tests := []struct {
		name    string
		servers []QUICLBServer
		want    []string
	}{
		{"unknown configuration", []QUICLBServer{{3, c46, 1}}, []string{"configuration 3, which is not there"}},
		{"codepoint 7", []QUICLBServer{{7, c46, 1}}, []string{"configuration 7, which is not there"}},
		{"wrong length", []QUICLBServer{{2, c46, 1}}, []string{"has 3 bytes; server IDs of configuration 2 have 1"}},
		{"twice", []QUICLBServer{{0, c46, 1}, {0, c46, 2}}, []string{"c4605e is given twice"}},
		{"in the clear and encrypted", []QUICLBServer{{0, c46, 1}, {1, c46, 1}}, []string{"with a key and by one without"}},
		{"encrypted and in the clear", []QUICLBServer{{1, c46, 1}, {0, c46, 2}}, []string{"with a key and by one without"}},
		{"all of it", []QUICLBServer{{3, c46, 1}, {2, c46, 1}, {0, other, 1}, {0, other, 1}}, []string{"not there", "has 3 bytes", "twice"}},
	}
	for _, tt := range tests {
		_, err := QUICLB(quiclbSet(t), tt.servers)
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error is %q; want it to say %q", tt.name, err, want)
			}
		}
	}
}

func TestQUICLBLookupDoesNotAllocate(t *testing.T) {
	set := quiclbSet(t)
	table := quiclbTable(t, set)
	for config, server := range []string{"c4605e", "31441a", "01"} {
		cid := mintQUICLB(t, set, quiclb.ConfigID(config), server)
		if n := testing.AllocsPerRun(1000, func() { table.Lookup(FieldCIDShort, cid) }); n != 0 {
			t.Errorf("configuration %d: Lookup allocates %v times; want 0", config, n)
		}
	}
}

func BenchmarkQUICLBLookup(b *testing.B) {
	set := quiclbSet(b)
	table := quiclbTable(b, set)
	for config, server := range []string{"c4605e", "31441a", "01"} {
		b.Run(set.Codec(quiclb.ConfigID(config)).Config().Algorithm().String(), func(b *testing.B) {
			cid := append(mintQUICLB(b, set, quiclb.ConfigID(config), server), make([]byte, 1200)...)
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := table.Lookup(FieldCIDShort, cid); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}
