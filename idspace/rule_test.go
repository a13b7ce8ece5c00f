package idspace

import (
	"strings"
	"testing"
)

func TestRuleString(t *testing.T) {
	t.Parallel()
	x := func(s string) []byte { return unhex(t, s) }
	for _, test := range []struct {
		rule Rule
		want string
	}{
		{Rule{Range: &Range{From: x("4d000000"), To: x("4d0000ff")}}, "range 4d000000-4d0000ff"},
		{Rule{Range: &Range{From: x("00"), To: x("0f")}, Fields: Fields(FieldTicket, FieldCIDLong)}, "range 00-0f (field ticket, cid_long)"},
		{Rule{Bits: &Bits{Mask: x("ffffffff"), Values: [][]byte{x("4d4d0001")}}}, "bits offset 0 mask ffffffff value 4d4d0001"},
		{Rule{Bits: &Bits{Mask: x("ffff"), Values: [][]byte{x("622d")}}}, "bits offset 0 mask ffff value 622d"},
		{Rule{Bits: &Bits{Offset: 2, FromEnd: true, IDLength: 20, Mask: x("f0"), Values: [][]byte{x("10"), x("20")}}}, "bits offset 2 from end mask f0 id length 20 values 10, 20"},
		{Rule{Bits: &Bits{Mask: x("ff"), Values: [][]byte{x("01"), x("02"), x("03"), x("04"), x("05"), x("06")}}}, "bits offset 0 mask ff values 01, 02, 03, 04 and 2 more"},
		{Rule{Bits: &Bits{Mask: x("ff")}}, "bits offset 0 mask ff values"},
		{Rule{Bits: Prefix("b-"), Fields: Fields(FieldCookie)}, `prefix "b-" (field cookie)`},
		{Rule{Bits: Suffix(".\"n1")}, `suffix ".\"n1"`},
		{Rule{Bits: &Bits{FromEnd: true, IDLength: 9, Mask: x("ffff"), Values: [][]byte{x("6131"), x("6132")}, Text: true}}, `suffix id length 9 "a1", "a2"`},
		{Rule{Bits: &Bits{Mask: x("fffe"), Values: [][]byte{x("6130")}, Text: true}}, "bits offset 0 mask fffe value 6130"},
		{Rule{Bits: &Bits{Offset: 1, Mask: x("ffff"), Values: [][]byte{x("6130")}, Text: true}}, "bits offset 1 mask ffff value 6130"},
		{Rule{Range: &Range{From: x("00"), To: x("0f")}, Bits: Prefix("a")}, `range 00-0f and prefix "a"`},
		{Rule{}, "empty rule"},
	} {
		if got := test.rule.String(); got != test.want {
			t.Errorf("got %s; want %s", got, test.want)
		}
	}
}

func TestFieldSetString(t *testing.T) {
	t.Parallel()
	for set, want := range map[FieldSet]string{
		0:                             "any",
		Fields(FieldPSK):              "psk",
		Fields(FieldBytes, FieldPath): "path, bytes",
		Fields(FieldNone) | 1<<15:     "none, field(15)",
	} {
		if got := set.String(); got != want {
			t.Errorf("%016b: got %s; want %s", uint16(set), got, want)
		}
	}
}

func TestFieldNames(t *testing.T) {
	t.Parallel()
	for f := range fieldCount {
		got, ok := ParseField(f.String())
		if want := f != FieldNone; ok != want || got != f {
			t.Errorf("ParseField(%q) = %v, %v; want %v, %v", f.String(), got, ok, f, want)
		}
	}
	if _, ok := ParseField("Ticket"); ok {
		t.Error("names are in lower case")
	}
}

func TestOverlapErrorText(t *testing.T) {
	t.Parallel()
	long := &Bits{IDLength: 1000, Offset: 990, Mask: []byte{0xff}, Values: [][]byte{{0x77}}}
	for _, test := range []struct {
		err  OverlapError
		want string
	}{
		{
			OverlapError{
				First: 1, Second: 4, Fields: Fields(FieldCookie), Witness: []byte("a--b"),
				FirstRule:  Rule{Owner: "x", Source: "pools[0].servers[0].ids[1]", Bits: Prefix("a-")},
				SecondRule: Rule{Owner: "y", Bits: Suffix("-b"), Fields: Fields(FieldCookie)},
			},
			`pools[0].servers[0].ids[1] (owner "x", prefix "a-") and rule 4 (owner "y", suffix "-b" (field cookie)) both claim the ID 612d2d62 ("a--b") in cookie; change or remove one of them`,
		},
		{
			OverlapError{
				First: 0, Second: 1, Witness: make([]byte, 1000),
				FirstRule: Rule{Owner: "x", Bits: long}, SecondRule: Rule{Owner: "x", Bits: long},
			},
			`rule 0 (owner "x", bits offset 990 mask ff id length 1000 value 77) and rule 1 (owner "x", bits offset 990 mask ff id length 1000 value 77) both claim the ID ` +
				strings.Repeat("00", 32) + "..." + strings.Repeat("00", 32) + ` (1000 bytes); change or remove one of them`,
		},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}
