package idspace

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var updatePlans = flag.Bool("update-plans", false, "write the plans in testdata anew")

// eventful returns a plan with everything in it that a plan can have.
func eventful(t testing.TB, kind SchemeKind) *Plan {
	t.Helper()
	day := func(n int) time.Time { return time.Date(2026, 1, n, 12, 0, 0, 0, time.UTC) }
	scheme := Scheme{Kind: kind}
	if kind == SchemeRanges {
		scheme.Reserve = Fraction{1, 3}
	}
	p := firstPlan(t, scheme, Member{"a", 1}, Member{"b", 2}, Member{"left", 1}, Member{"left-earlier", 1})
	p = mustNext(t, p, Change{At: day(1), Members: []Member{{"a", 1}, {"b", 2}, {"left", 1}}})
	p = mustNext(t, p, Change{At: day(2), Open: opening(t, kind, 1)})
	p = mustNext(t, p, Change{At: day(3), Members: []Member{{"a", 1}, {"b", 1}, {"<ñ & \"group\">", 2}}})
	open := opening(t, kind, 2)
	open.Prepared = true
	return mustNext(t, p, Change{At: day(4), Open: open})
}

// TestPlanDocument: the documents in testdata are read, and written the same.
// They are of version 1 and must stay readable for ever.
func TestPlanDocument(t *testing.T) {
	for _, kind := range schemeKinds() {
		t.Run(string(kind), func(t *testing.T) {
			path := filepath.Join("testdata", "plan-"+string(kind)+".json")
			p := eventful(t, kind)
			if *updatePlans {
				if err := os.WriteFile(path, p.Encode(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(p.Encode())); diff != "" {
				t.Errorf("the plan made now (-%s +got):\n%s", path, diff)
			}
			read, err := ParsePlan(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(read.Encode())); diff != "" {
				t.Errorf("the plan read (-%s +got):\n%s", path, diff)
			}
			if diff := cmp.Diff(p.Spaces(), read.Spaces(), cmpRat()); diff != "" {
				t.Errorf("spaces (-made +read):\n%s", diff)
			}
		})
	}
}

// TestPlanDocumentWhiteSpace may be any.
func TestPlanDocumentWhiteSpace(t *testing.T) {
	want := eventful(t, SchemeSealed).Encode()
	var flat bytes.Buffer
	if err := json.Compact(&flat, want); err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{flat.String(), "\n\t " + string(want) + "\r\n\r\n", strings.ReplaceAll(string(want), "\n", "\r\n")} {
		p, err := ParsePlan([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.Encode(), want) {
			t.Errorf("got\n%s\nwant\n%s", p.Encode(), want)
		}
	}
}

func TestParsePlanRefuses(t *testing.T) {
	ranges, sealed := string(eventful(t, SchemeRanges).Encode()), string(eventful(t, SchemeSealed).Encode())
	edit := func(doc, old, to string) string {
		if strings.Count(doc, old) == 0 {
			t.Fatalf("%q is not in\n%s", old, doc)
		}
		return strings.Replace(doc, old, to, 1)
	}
	for _, test := range []struct{ name, doc, want string }{
		{"nothing", "", "it is empty"},
		{"white space", " \n", "it is empty"},
		{"no JSON", "version: 1\npools: []\n", "line 1: invalid character"},
		{"not an object", "[]", "the document cannot be an array"},
		{"null", "null", `"mintmark_plan" is missing`},
		{"another object", "{}", `"mintmark_plan" is missing`},
		{"another version", `{"mintmark_plan": 2, "news": true}`, "of version 2, and this program knows version 1"},
		{"the version is text", `{"mintmark_plan": "1"}`, `line 1: the field "mintmark_plan" cannot be a string`},
		{"cut off", ranges[:len(ranges)/2], "unexpected end"},
		{"more behind it", ranges + "{}", "after top-level value"},
		{"an unknown field", edit(ranges, `"revision"`, `"color": "red", "revision"`), `unknown field "color"`},
		{"a field twice", edit(ranges, `"revision": 5`, `"revision": 9, "revision": 5`), "changed by hand"},
		{"a field in another case", edit(ranges, `"revision"`, `"Revision"`), "changed by hand"},
		{"a field that is null", edit(ranges, `"number": 0,`, `"number": null,`), "changed by hand"},
		{"a number as text", edit(ranges, `"number": 0`, `"number": "0"`), "line 26: the field \"generations.number\" cannot be a string"},
		{"a negative number", edit(ranges, `"first": 0`, `"first": -1`), `the field "generations.spaces.first" cannot be a number -1`},
		{"no revision", edit(ranges, `"revision": 5`, `"revision": 0`), "revision 0"},
		{"a revision too high", edit(ranges, `"revision": 5`, `"revision": 9007199254740992`), "revision 9007199254740992"},
		{"an unknown scheme", edit(ranges, `"ranges"`, `"quic-lb"`), `"quic-lb" cannot be planned`},
		{"another scheme", edit(ranges, `"ranges"`, `"bits"`), "has 8 to 16"},
		{"no mark bits", edit(ranges, `"mark_bits": 32,`, ``), "lacks its mark bits"},
		{"a reserve that is none", edit(ranges, `"1/3"`, `"3/3"`), `the fraction "3/3"`},
		{"a reserve not as it is written", edit(ranges, `"1/3"`, `"01/3"`), "changed by hand"},
		{"members in another order", edit(edit(ranges, `"owner": "a"`, `"owner": "z"`), `"owner": "z"`, `"owner": "z"`), "not sorted"},
		{"a member without a share", edit(ranges, `"share": 1`, `"share": 0`), "not sorted by name, each with a share"},
		{"a member too many", edit(ranges, `"members": [`, `"members": [{"owner": "!", "share": 1},`), `member "!" has 0 values and a share of 1`},
		{"a share that is not so", edit(ranges, `"share": 2`, `"share": 3`), "and a share of 3"},
		{"no generation is minted", edit(ranges, `"minting"`, `"retiring"`), "0 generations are minted"},
		{"two generations are minted", edit(ranges, `"prepared"`, `"minting"`), "2 generations are minted"},
		{"a state that is none", edit(ranges, `"prepared"`, `"ready"`), `no state "ready"`},
		{"generations in another order", edit(ranges, `"number": 0`, `"number": 1`), "generation 1 stands before generation 1"},
		{"a generation yet to come", edit(ranges, `"next_generation": 3`, `"next_generation": 2`), "not below the next"},
		{"two in one slot", edit(edit(ranges, `"next_generation": 3`, `"next_generation": 8`), `"number": 2`, `"number": 7`), "has the slot of another"},
		{"prepared before minted", edit(edit(ranges, `"minting"`, `"x"`), `"prepared"`, `"minting"`), `generation 1 is x, and generation 2 after it minting`},
		{"retired while minted", edit(ranges, `"state": "minting",`, `"state": "minting", "retired_at": "2026-01-02T12:00:00Z",`), "time of its retirement"},
		{"an impossible time", edit(ranges, `"2026-01-02T12:00:00Z"`, `"yesterday"`), `the time "yesterday"`},
		{"a time not as it is written", edit(ranges, `"2026-01-02T12:00:00Z"`, `"2026-01-02T13:00:00+01:00"`), "changed by hand"},
		{"no values a share", edit(ranges, `"values_per_share": 71582788`, `"values_per_share": 0`), "a share of 0 values"},
		{"a space of nothing", edit(ranges, `"count": 71582788`, `"count": 0`), "is not within"},
		{"a space beyond the slot", edit(ranges, `"count": 71582788`, `"count": 536870913`), "is not within"},
		{"a space that wraps", edit(ranges, `"count": 71582788`, `"count": 18446744073709551615`), "is not within"},
		{"spaces that overlap", edit(ranges, `"first": 71582788`, `"first": 71582787`), `the spaces of "a" and "b" overlap`},
		{"two spaces that are one", edit(ranges, `"count": 71582788`, `"count": 1}, {"owner": "a", "first": 1, "count": 71582787`), `two spaces of "a" are really one`},
		{"a stranger mints", edit(ranges, `"owner": "<ñ & \"group\">",`+"\n"+`          "first"`, `"owner": "x",`+"\n"+`          "first"`), `"x" may mint and is no member`},
		{"a nameless owner", edit(ranges, `"owner": "left"`, `"owner": ""`), "needs a name"},
		{"a key of ranges", edit(ranges, `"spaces"`, `"mark_key": "00000000000000000000000000000001", "spaces"`), "ranges has no mark keys"},
		{"a short key", edit(sealed, `"00000000000000000000000000000001"`, `"0000000000000000000000000000001"`), "a mark key is 16 bytes"},
		{"no key", edit(sealed, `"mark_key": "00000000000000000000000000000001",`, ``), "has a mark key"},
		{"a key in capitals", edit(sealed, `"00000000000000000000000000000001"`, `"0000000000000000000000000000000A"`), "changed by hand"},
		{"a key twice", edit(sealed, `"00000000000000000000000000000001"`, `"00000000000000000000000000000002"`), "the same mark key"},
		{"a number of two owners", edit(sealed, `"owner": "left-earlier"`, `"owner": "left-later"`), ""},
		{"mark bits of sealed", edit(sealed, `"values_per_share"`, `"mark_bits": 128, "values_per_share"`), "no mark bits"},
		{"more than one number a share", edit(sealed, `"values_per_share": 1`, `"values_per_share": 2`), "gives a share one value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := ParsePlan([]byte(test.doc))
			if test.want == "" {
				if err != nil {
					t.Errorf("got error %v", err)
				}
				return
			}
			if err == nil || p != nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "reading a plan: ") {
				t.Errorf("got error %v; want one with %q", err, test.want)
			}
		})
	}
}

// TestNumberOfTwoOwners: each of the generations is sound, and together they
// are not.
func TestNumberOfTwoOwners(t *testing.T) {
	p := firstPlan(t, Scheme{Kind: SchemeSealed}, equal(3)...)
	p = mustNext(t, p, Change{Open: opening(t, SchemeSealed, 1)})
	p.generations[0].spans[1].owner = "x"
	if _, err := ParsePlan(p.Encode()); err == nil || !strings.Contains(err.Error(), `server number 1 means both "`) {
		t.Errorf("got error %v", err)
	}
	// A long span hides the short one behind it from its neighbour only.
	p.generations[0].spans = []span{{owner: "x", first: 10, count: 10}, {owner: "y", first: 30, count: 1}}
	p.generations[1].spans = append(p.generations[1].spans, span{owner: "x", first: 11, count: 1, retired: true}, span{owner: "z", first: 15, count: 1, retired: true})
	if _, err := ParsePlan(p.Encode()); err == nil || !strings.Contains(err.Error(), `server number 15 means both "`) {
		t.Errorf("got error %v", err)
	}
}

func TestEveryTruncationOfAPlanIsRefused(t *testing.T) {
	doc := bytes.TrimSpace(eventful(t, SchemeSealed).Encode())
	for n := range doc {
		if _, err := ParsePlan(doc[:n]); err == nil {
			t.Errorf("the first %d bytes were read as a plan", n)
		}
	}
}

func TestPlanTooLong(t *testing.T) {
	doc := make([]byte, MaxPlanBytes+1) // pages that nobody touches
	if _, err := ParsePlan(doc); err == nil || !strings.Contains(err.Error(), "and a plan at most") {
		t.Errorf("got error %v", err)
	}
}

// TestPlanHidesItsKeys: only Encode writes them.
func TestPlanHidesItsKeys(t *testing.T) {
	p := eventful(t, SchemeSealed)
	key := strings.Repeat("0", 31) + "1"
	if !strings.Contains(string(p.Encode()), key) {
		t.Fatal("the document lacks the key")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if s := fmt.Sprintf(verb, p); strings.Contains(s, key) || strings.Contains(s, "0, 0, 0, 0, 0, 1") || strings.Contains(s, "0 0 0 0 0 1]") || strings.Contains(s, "0x0, 0x0, 0x1") {
			t.Errorf("%s shows a key: %s", verb, s)
		}
	}
	if b, err := json.Marshal(map[string]any{"plan": p}); err == nil {
		t.Errorf("a plan was written as JSON: %s", b)
	}
	if a := mustMint(t, p, "a"); strings.Contains(fmt.Sprintf("%+v", a), key) {
		t.Errorf("an assignment shows its key: %+v", a)
	}
}

func TestParseFraction(t *testing.T) {
	for _, s := range []string{"", "1", "/", "1/", "/2", "-1/2", "2/1", "1/1", "0/0", "1/2/3", "1 / 2", "0.5", "4294967296/4294967297"} {
		if f, err := ParseFraction(s); err == nil {
			t.Errorf("ParseFraction(%q): got %v", s, f)
		}
	}
	for s, want := range map[string]Fraction{"1/2": {1, 2}, "0/1": {0, 1}, "4294967294/4294967295": {4294967294, 4294967295}} {
		if f, err := ParseFraction(s); err != nil || f != want || f.String() != s {
			t.Errorf("ParseFraction(%q): got %v, %v; want %v", s, f, err, want)
		}
	}
}

func FuzzParsePlan(f *testing.F) {
	for _, kind := range schemeKinds() {
		f.Add(eventful(f, kind).Encode())
		f.Add(firstPlan(f, Scheme{Kind: kind}, equal(1)...).Encode())
	}
	f.Add([]byte(`{"mintmark_plan":1}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := ParsePlan(doc)
		if err != nil {
			return
		}
		// What is read is written with the same words.
		var given, written bytes.Buffer
		if err := json.Compact(&given, doc); err != nil {
			t.Fatal(err)
		}
		if err := json.Compact(&written, p.Encode()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(given.Bytes(), written.Bytes()) {
			t.Fatalf("read\n%s\nand wrote\n%s", &given, &written)
		}
		// And it is a plan like any other: disjoint, and with something to
		// mint that comes home.
		if len(p.Spaces()) > 100 || len(p.members) > 20 {
			return // slow, and nothing new
		}
		table, err := p.Table()
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		for _, m := range p.Members() {
			a, err := p.Mint(m.Owner)
			if err != nil {
				continue
			}
			name := a.NewKeyName()
			if match, ok := table.Lookup(FieldTicket, name[:]); !ok || table.Owners()[match.Owner] != m.Owner {
				t.Fatalf("%x of %q: got %+v, %t\n%s", name, m.Owner, match, ok, doc)
			}
		}
	})
}
