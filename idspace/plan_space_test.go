package idspace

import (
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cmpRat compares exact numbers.
func cmpRat() cmp.Option {
	return cmp.Comparer(func(a, b *big.Rat) bool { return a == nil && b == nil || a != nil && b != nil && a.Cmp(b) == 0 })
}

func TestSpaces(t *testing.T) {
	type shown struct {
		Owner        Owner
		State        SpaceState
		Rule         string
		From, To     string
		First, Count uint64
		Share        string
	}
	for _, test := range []struct {
		scheme Scheme
		want   []shown
	}{
		{Scheme{Kind: SchemeRanges, MarkBits: 12, Reserve: Fraction{1, 4}}, []shown{
			{"a", SpaceMinting, "range 0000-07ff", "\x00\x00", "\x07\xff", 0, 128, "1/32"},
			{"b", SpaceMinting, "range 0800-17ff", "\x08\x00", "\x17\xff", 128, 256, "1/16"},
			{"", SpaceReserve, "range 1800-1fff", "\x18\x00", "\x1f\xff", 384, 128, "1/32"},
		}},
		{Scheme{Kind: SchemeBits, MarkBits: 9, Reserve: Fraction{1, 2}}, []shown{
			{"a", SpaceMinting, "bits mask ff80 values 0000-0480", "\x00\x00", "\x04\x80", 0, 10, "5/256"},
			{"b", SpaceMinting, "bits mask ff80 values 0500-0e80", "\x05\x00", "\x0e\x80", 10, 20, "5/128"},
			{"", SpaceReserve, "bits mask ff80 values 0f00-1f80", "\x0f\x00", "\x1f\x80", 30, 34, "17/256"},
		}},
		{Scheme{Kind: SchemeBits, MarkBits: 8, Reserve: Fraction{9, 10}}, []shown{
			{"a", SpaceMinting, "bits mask ff value 00", "\x00", "\x00", 0, 1, "1/256"},
			{"b", SpaceMinting, "bits mask ff values 01-02", "\x01", "\x02", 1, 2, "1/128"},
			{"", SpaceReserve, "bits mask ff values 03-1f", "\x03", "\x1f", 3, 29, "29/256"},
		}},
		{Scheme{Kind: SchemeSealed}, []shown{
			{"a", SpaceMinting, "sealed server 0", "\x00\x00\x00\x00", "\x00\x00\x00\x00", 0, 1, "1/18446744073709551616"},
			{"b", SpaceMinting, "sealed servers 1-2", "\x00\x00\x00\x01", "\x00\x00\x00\x02", 1, 2, "1/9223372036854775808"},
			{"", SpaceReserve, "sealed servers 3-65535", "\x00\x00\x00\x03", "\x00\x00\xff\xff", 3, 65533, "65533/18446744073709551616"},
		}},
	} {
		p := firstPlan(t, test.scheme, Member{"a", 1}, Member{"b", 2})
		var got []shown
		for _, s := range p.Spaces() {
			got = append(got, shown{s.Owner, s.State, s.Rule, string(s.From), string(s.To), s.First, s.Values, s.Share.String()})
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.scheme, diff)
		}
	}
}

// TestSharesOfPlanAndTable: what a plan shows is what its table assigns.
func TestSharesOfPlanAndTable(t *testing.T) {
	for _, kind := range schemeKinds() {
		p := firstPlan(t, Scheme{Kind: kind}, Member{"a", 1}, Member{"b", 2}, Member{"c", 4})
		p = mustNext(t, p, Change{Open: opening(t, kind, 1), Members: []Member{{"a", 3}, {"c", 4}}})
		table := mustTable(t, p)
		share := table.Share(FieldPSK)
		want := make(map[Owner]*big.Rat)
		for _, s := range p.Spaces() {
			if s.State != SpaceReserve {
				sum, ok := want[s.Owner]
				if !ok {
					sum = new(big.Rat)
					want[s.Owner] = sum
				}
				sum.Add(sum, s.Share)
			}
		}
		for i, owner := range table.Owners() {
			got := share.Owners[i]
			if kind == SchemeSealed {
				// A sealed table counts every number in every generation that
				// has numbers as high: at least what is assigned.
				if got.Cmp(want[owner]) < 0 {
					t.Errorf("%s: the table gives %q a share of %s; want at least %s", kind, owner, got, want[owner])
				}
				continue
			}
			if got.Cmp(want[owner]) != 0 {
				t.Errorf("%s: the table gives %q a share of %s; want %s", kind, owner, got, want[owner])
			}
		}
		if len(want) != len(table.Owners()) {
			t.Errorf("%s: %d owners have space, and the table has %v", kind, len(want), table.Owners())
		}
	}
}
