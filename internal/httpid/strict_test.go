package httpid

import (
	"errors"
	"testing"
)

// What some servers read in another way is read in both.
func TestReadersThatDiffer(t *testing.T) {
	t.Parallel()
	query := mustNew(t, Config{Kind: Query, Name: "sid"})
	for text, want := range map[string][]string{
		"sid=a-1":               {"a-1"},
		"sid=a-1&x=y":           {"a-1"},
		"sid=a-1;sid=c-1":       {"a-1;sid=c-1", "a-1", "c-1"},
		"x=y;sid=c-1&sid=a-1":   {"a-1", "c-1", "a-1"},
		"x=y;z&sid=a-1":         {"a-1", "a-1"},
		"x=y%3Bsid=c-1&sid=a-1": {"a-1"},
	} {
		var v Values
		v.Reset()
		if err := query.Find(&Message{Query: text}, 0, &v); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, value := range v.All() {
			got = append(got, string(value.ID))
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %q; want %q", text, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: got %q; want %q", text, got, want)
			}
		}
		if _, masked := query.Mask("/", text); text == "x=y;sid=c-1&sid=a-1" && masked != "x=y;sid=***&sid=***" {
			t.Errorf("%s is logged as %s", text, masked)
		}
	}
	json := mustNew(t, Config{Kind: JSON, Name: "sid"})
	for text, want := range map[string]error{
		`["sid"]`:               ErrNotJSON,
		`sid`:                   ErrNotJSON,
		`{"sid":"a-1"`:          ErrMalformed,
		`{"sid":"a-1"} {}`:      ErrMalformed,
		"{\"sid\":\"a-1\x00\"}": ErrMalformed,
		`{/**/"sid":"a-1"}`:     ErrMalformed,
	} {
		var v Values
		v.Reset()
		err := json.FindJSON([]byte(text), 0, &v)
		if !errors.Is(err, want) || errors.Is(err, ErrMalformed) != errors.Is(want, ErrMalformed) {
			t.Errorf("%s: got %v; want %v", text, err, want)
		}
	}
}
