package httpid

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestFindJSON(t *testing.T) {
	t.Parallel()
	s := mustNew(t, Config{Kind: JSON, Name: "id", Response: "made"})
	for body, c := range map[string]struct {
		want string
		err  error
	}{
		`{"id":"one"}`: {"one", nil},
		" \r\n\t{ \"a\" : 1 , \"id\" : \"one\" } \n":     {"one", nil},
		"\xEF\xBB\xBF" + `{"id":"one"}`:                  {"one", nil},
		`{"x":{"id":"no"},"y":[{"id":"no"}],"id":"one"}`: {"one", nil},
		`{"x":"\"id\":\"no\"","id":"one"}`:               {"one", nil},
		`{"\u0069d":"\u006fn\u0065"}`:                    {"one", nil},
		`{"id":"\ud83d\ude00\ud83d\n"}`:                  {"😀\uFFFD\n", nil},
		`{"id":null}`:                                    {"", nil},
		`{"id":17}`:                                      {"", nil},
		`{"id":{"id":"no"}}`:                             {"", nil},
		`{}`:                                             {"", nil},
		`{"id":"one","id":"one"}`:                        {"one", nil},
		`{"id":"one","id":"\u006fne"}`:                   {"one", nil},
		`{"id":"one","i\u0064":"two"}`:                   {"", ErrConflict},
		`{"id":"one","id":null}`:                         {"", ErrConflict},
		`{"id":1,"id":2}`:                                {"", ErrConflict},
		``:                                               {"", ErrNotJSON},
		`["id","one"]`:                                   {"", ErrNotJSON},
		`{"id":"one"`:                                    {"", ErrNotJSON},
		`{"id":"one","id":"two"`:                         {"", ErrNotJSON},
		`{"id":"one","id":"two","id":"one"}`:             {"", ErrConflict},
		`{"id":"one"}{}`:                                 {"", ErrNotJSON},
		`{"id":"one",}`:                                  {"", ErrNotJSON},
		`{"id":"one" "x":1}`:                             {"", ErrNotJSON},
		`{"id":"o` + "\n" + `ne"}`:                       {"", ErrNotJSON},
		`{"id":"\x"}`:                                    {"", ErrNotJSON},
		`{"x":[1,],"id":"one"}`:                          {"", ErrNotJSON},
		`{"x":{"a":[}],"id":"one"}`:                      {"", ErrNotJSON},
		`{"x":01,"id":"one"}`:                            {"", ErrNotJSON},
		`{'id':'one'}`:                                   {"", ErrNotJSON},
	} {
		var v Values
		v.Reset()
		err := s.FindJSON([]byte(body), 3, &v)
		var got strings.Builder
		for _, x := range v.All() {
			got.WriteString(string(x.ID))
		}
		if got.String() != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: got %q, %v; want %q, %v", body, got.String(), err, c.want, c.err)
		}
	}
	var v Values
	v.Reset()
	if err := s.FindAssigned([]byte(`{"id":"no","made":"yes"}`), 0, &v); err != nil || len(v.All()) != 1 || string(v.All()[0].ID) != "yes" {
		t.Errorf("an assigned ID: got %v, %v", v.All(), err)
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	s := mustNew(t, Config{Kind: JSON, Name: "id"})
	nested := func(n int) []byte {
		return []byte(`{"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `,"id":"one"}`)
	}
	var v Values
	v.Reset()
	if err := s.FindJSON(nested(maxDepth), 0, &v); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	if err := s.FindJSON(nested(maxDepth+1), 0, &v); !errors.Is(err, ErrNotJSON) {
		t.Errorf("%d levels: got %v; want ErrNotJSON", maxDepth+1, err)
	}
}

// slowFind is what FindJSON should find, by the standard library's tokens.
func slowFind(body []byte, key string) (id string, err error) {
	if !json.Valid(body) {
		return "", ErrNotJSON
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return "", ErrNotJSON
	}
	var first *json.RawMessage
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return "", err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return "", err
		}
		if name != key {
			continue
		}
		if first != nil {
			var a, b string
			texts := json.Unmarshal(*first, &a) == nil && json.Unmarshal(value, &b) == nil && value[0] == '"' && (*first)[0] == '"'
			if !bytes.Equal(*first, value) && !(texts && a == b) {
				return "", ErrConflict
			}
			continue
		}
		first = &value
	}
	if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if first != nil && (*first)[0] == '"' {
		err = json.Unmarshal(*first, &id)
	}
	return id, err
}

// FuzzJSON compares FindJSON with the standard library.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"id":"one"}`, `{"a":[1,2.5e-3,{"b":null}],"id":"\u00e4\n"}`, `{"id":"a","id":"b"}`, `{"id":true}`, `[]`, `{"x":{"id":"y"}}`,
	} {
		f.Add([]byte(s))
	}
	s := mustNew(f, Config{Kind: JSON, Name: "id"})
	f.Fuzz(func(t *testing.T, body []byte) {
		var v Values
		v.Reset()
		err := s.FindJSON(body, 0, &v)
		got := ""
		if len(v.All()) > 0 {
			got = string(v.All()[0].ID)
		}
		if bytes.HasPrefix(body, []byte("\xEF\xBB\xBF")) || len(body) > MaxValue || !isUTF8(body) || bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) > maxDepth {
			return // where the two differ on purpose
		}
		want, wantErr := slowFind(body, "id")
		if got != want || !errors.Is(err, wantErr) {
			t.Errorf("%q: got %q, %v; want %q, %v", body, got, err, want, wantErr)
		}
	})
}

func isUTF8(b []byte) bool { return bytes.Equal(bytes.ToValidUTF8(b, nil), b) }
