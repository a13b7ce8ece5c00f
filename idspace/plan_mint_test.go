package idspace

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/mintmark/mintmark/idspace/sealed"
)

// TestMarksFillTheSpace: all values of an owner are minted, and no other.
func TestMarksFillTheSpace(t *testing.T) {
	for _, kind := range []SchemeKind{SchemeRanges, SchemeBits} {
		p := firstPlan(t, Scheme{Kind: kind, MarkBits: 9}, Member{"a", 1}, Member{"b", 3})
		// b in two pieces: those of c are in between.
		p = mustNext(t, p, Change{Members: []Member{{"a", 1}, {"b", 3}, {"c", 1}}})
		p = mustNext(t, p, Change{Members: []Member{{"a", 1}, {"b", 4}, {"c", 1}}})
		a := mustMint(t, p, "b")
		if len(a.Spaces) != 2 {
			t.Fatalf("%s: got spaces %+v; want two", kind, a.Spaces)
		}
		seen := make(map[uint64]bool)
		halves := make(map[byte]bool)
		for range 5000 {
			mark := a.AppendMark(nil)
			if len(mark) != 2 || a.MarkBytes() != 2 {
				t.Fatalf("%s: mark %x; want 2 bytes", kind, mark)
			}
			seen[uint64(mark[0])<<1|uint64(mark[1]>>7)] = true
			halves[mark[1]&0x7f] = true
		}
		want := uint64(0)
		for _, s := range a.Spaces {
			want += s.Values
			for v := s.First; v < s.First+s.Values; v++ {
				if !seen[v] {
					t.Errorf("%s: value %d is not minted", kind, v)
				}
			}
		}
		if uint64(len(seen)) != want {
			t.Errorf("%s: %d values are minted; want %d", kind, len(seen), want)
		}
		if len(halves) != 128 {
			t.Errorf("%s: the 7 bits after the mark take %d values; want 128", kind, len(halves))
		}
	}
}

func TestKeyNamesDiffer(t *testing.T) {
	for _, kind := range schemeKinds() {
		a := mustMint(t, firstPlan(t, Scheme{Kind: kind}, equal(2)...), "b")
		seen := make(map[[KeyNameSize]byte]bool)
		for range 1000 {
			seen[a.NewKeyName()] = true
		}
		if len(seen) != 1000 {
			t.Errorf("%s: of 1000 names %d are different", kind, len(seen))
		}
	}
}

// TestSealedMarksUseAllNumbers of an owner, so that its share is what it says.
func TestSealedMarksUseAllNumbers(t *testing.T) {
	p := firstPlan(t, Scheme{Kind: SchemeSealed}, Member{"a", 2}, Member{"b", 3})
	a := mustMint(t, p, "b")
	if !a.Key.Equal(testKey(t, 0)) || a.MarkBits != 128 {
		t.Errorf("got %+v", a)
	}
	set, err := sealed.NewSet(sealed.Generation{Key: a.Key})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[uint32]int)
	for range 1000 {
		server, _, ok := set.Lookup(a.AppendMark(nil))
		if !ok {
			t.Fatal("a mark is none")
		}
		seen[server]++
	}
	if len(seen) != 3 || seen[2] == 0 || seen[3] == 0 || seen[4] == 0 {
		t.Errorf("got marks of servers %v; want 2, 3 and 4", seen)
	}
}

func TestNewText(t *testing.T) {
	for _, kind := range schemeKinds() {
		p := firstPlan(t, Scheme{Kind: kind}, equal(2)...)
		table := mustTable(t, p)
		text := mustMint(t, p, "b").NewText()
		id := []byte(text + "0123456789")
		if kind != SchemeSealed {
			var err error
			if id, err = hex.DecodeString(string(id)); err != nil {
				t.Fatal(err)
			}
		}
		if m, ok := table.Lookup(FieldCookie, id); !ok || table.Owners()[m.Owner] != "b" {
			t.Errorf("%s: text %q: got %+v, %t", kind, text, m, ok)
		}
	}
}

func TestPrefix(t *testing.T) {
	// Slot 1, of 12 bits: values 0 to 511.
	p := firstPlan(t, Scheme{Kind: SchemeRanges, MarkBits: 12, Reserve: Fraction{0, 1}}, Member{"a", 8}, Member{"b", 24}, Member{"c", 480})
	p = mustNext(t, p, Change{Open: &OpenGeneration{}})
	for _, test := range []struct {
		owner Owner
		n     int
		want  string
	}{
		{"a", 2, "2000"},
		{"a", 3, "200000"},
		{"a", 1, ""}, // 8 values, and a byte stands for 16
		{"b", 2, "2080"},
		{"b", 1, "21"}, // values 16 to 31 of 8 to 31
		{"c", 1, "22"},
		{"c", 0, ""},
		{"c", -1, ""},
	} {
		a := mustMint(t, p, test.owner)
		got, err := a.Prefix(test.n)
		if test.want == "" {
			if !errors.Is(err, ErrNoPrefix) {
				t.Errorf("%q, %d bytes: got %x, %v; want ErrNoPrefix", test.owner, test.n, got, err)
			}
			continue
		}
		if err != nil || hex.EncodeToString(got) != test.want {
			t.Errorf("%q, %d bytes: got %x, %v; want %s", test.owner, test.n, got, err, test.want)
		}
		table := mustTable(t, p)
		for _, rest := range [][]byte{{0, 0, 0}, {0xff, 0xff, 0xff}, {0x5a, 0xa5, 0}} {
			id := append(bytes.Clone(got), rest...)
			if m, ok := table.Lookup(FieldPSK, id); !ok || table.Owners()[m.Owner] != test.owner {
				t.Errorf("%q, %d bytes: %x has match %+v, %t", test.owner, test.n, id, m, ok)
			}
		}
	}
	if _, err := mustMint(t, firstPlan(t, Scheme{Kind: SchemeSealed}, equal(1)...), "a").Prefix(16); !errors.Is(err, ErrNoPrefix) {
		t.Errorf("sealed: got error %v; want ErrNoPrefix", err)
	}
}

// TestPrefixIsTheCallers: writing behind it changes no assignment.
func TestPrefixIsTheCallers(t *testing.T) {
	a := mustMint(t, firstPlan(t, Scheme{Kind: SchemeRanges}, equal(1)...), "a")
	before := hex.EncodeToString(a.Spaces[0].From)
	for _, n := range []int{4, 6} {
		prefix, err := a.Prefix(n)
		if err != nil {
			t.Fatal(err)
		}
		prefix[0] = 0xee
	}
	if got := hex.EncodeToString(a.Spaces[0].From); got != before {
		t.Errorf("got %s; want %s", got, before)
	}
}

// TestSealedFunction: the form that is looked up depends on the field.
func TestSealedFunction(t *testing.T) {
	key := sealed.NewKey()
	set, err := sealed.NewSet(sealed.Generation{ID: 3, Key: key, Servers: 10})
	if err != nil {
		t.Fatal(err)
	}
	e, err := sealed.NewEncoder(key, 7)
	if err != nil {
		t.Fatal(err)
	}
	table, err := CompileFunction(Sealed(set), map[uint32]Owner{7: "a"})
	if err != nil {
		t.Fatal(err)
	}
	text := map[Field]bool{FieldCookie: true, FieldHeader: true, FieldQuery: true, FieldPath: true, FieldJSON: true}
	for field := range fieldCount {
		_, raw := table.Lookup(field, e.AppendRaw(nil))
		m, isText := table.Lookup(field, e.AppendText(nil))
		if wantRaw := field != FieldNone && !text[field]; raw != wantRaw || isText != text[field] {
			t.Errorf("%s: raw %t, text %t; want %t, %t", field, raw, isText, wantRaw, text[field])
		}
		if isText && m.Generation != 3 {
			t.Errorf("%s: got %+v", field, m)
		}
	}
	if got, want := table.Share(FieldPSK).Total.String(), "1/18446744073709551616"; got != want {
		t.Errorf("share of 16 bytes: got %s; want %s", got, want)
	}
	if got, want := table.Share(FieldCookie).Total.String(), "1/5192296858534827628530496329220096"; got != want {
		t.Errorf("share of 22 characters: got %s; want %s", got, want)
	}
}

func TestSealedLookupDoesNotAllocate(t *testing.T) {
	p := firstPlan(t, Scheme{Kind: SchemeSealed}, equal(2)...)
	for n := 1; n < PlanSlots; n++ {
		p = mustNext(t, p, Change{Open: opening(t, SchemeSealed, n)})
	}
	table := mustTable(t, p)
	a := mustMint(t, p, "b")
	for field, id := range map[Field][]byte{
		FieldPSK:    a.AppendMark(nil),
		FieldTicket: []byte("0123456789abcdef"),
		FieldCookie: []byte(a.NewText()),
		FieldQuery:  []byte("0123456789abcdef01234567"),
	} {
		if got := testing.AllocsPerRun(1000, func() { table.Lookup(field, id) }); got >= 1 {
			t.Errorf("%s: %v allocations a lookup; want 0", field, got)
		}
	}
}
