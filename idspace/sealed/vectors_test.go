package sealed

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"testing"
)

// vectors is testdata/vectors.json: plain data, for other implementations too.
type vectors struct {
	Comment string   `json:"comment"`
	Marks   []vector `json:"marks"`
	NoMarks []vector `json:"no_marks"`
}

type vector struct {
	Name   string `json:"name"`
	Key    string `json:"key"`
	Server uint32 `json:"server"`
	Nonce  string `json:"nonce"`
	Raw    string `json:"raw"`
	Text   string `json:"text"`
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if len(v.Marks) == 0 || len(v.NoMarks) == 0 {
		t.Fatal("no vectors")
	}
	return v
}

func mustKey(t testing.TB, s string) Key {
	t.Helper()
	k, err := ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustSet(t testing.TB, generations ...Generation) *Set {
	t.Helper()
	s, err := NewSet(generations...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t).Marks {
		t.Run(v.Name, func(t *testing.T) {
			nonce, err := strconv.ParseUint(v.Nonce, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			key := mustKey(t, v.Key)
			e, err := newEncoder(key, v.Server, nonce)
			if err != nil {
				t.Fatal(err)
			}
			m := e.Next()
			if got := hex.EncodeToString(m[:]); got != v.Raw {
				t.Errorf("raw mark of server %d, nonce %s: got %s; want %s", v.Server, v.Nonce, got, v.Raw)
			}
			if got := m.String(); got != v.Text {
				t.Errorf("text mark of server %d, nonce %s: got %s; want %s", v.Server, v.Nonce, got, v.Text)
			}
			s := mustSet(t, Generation{ID: 5, Key: key})
			for form, look := range map[string]func() (uint32, uint8, bool){
				"raw":            func() (uint32, uint8, bool) { return s.Lookup(unhex(t, v.Raw)) },
				"raw and a tail": func() (uint32, uint8, bool) { return s.Lookup(append(unhex(t, v.Raw), "tail"...)) },
				"text":           func() (uint32, uint8, bool) { return s.LookupText([]byte(v.Text)) },
				"text and tail":  func() (uint32, uint8, bool) { return s.LookupText([]byte(v.Text + "tail")) },
			} {
				if server, generation, ok := look(); server != v.Server || generation != 5 || !ok {
					t.Errorf("looking up %s: got server %d, generation %d, %t; want %d, 5, true", form, server, generation, ok, v.Server)
				}
			}
		})
	}
}

func TestVectorsThatAreNoMarks(t *testing.T) {
	for _, v := range readVectors(t).NoMarks {
		s := mustSet(t, Generation{Key: mustKey(t, v.Key)})
		if server, _, ok := s.Lookup(unhex(t, v.Raw)); ok {
			t.Errorf("%s: raw %s was read as a mark of server %d", v.Name, v.Raw, server)
		}
		if server, _, ok := s.LookupText([]byte(v.Text)); ok {
			t.Errorf("%s: text %s was read as a mark of server %d", v.Name, v.Text, server)
		}
	}
}
