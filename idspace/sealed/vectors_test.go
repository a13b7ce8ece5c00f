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

	Coincidences []struct {
		vector
		OtherKey    string `json:"other_key"`
		OtherServer uint32 `json:"other_server"`
	} `json:"coincidences"`
}

type vector struct {
	Name   string `json:"name"`
	Key    string `json:"key"`
	Server uint32 `json:"server"`
	Nonce  string `json:"nonce"`
	Raw    string `json:"raw"`
	Text   string `json:"text"`
}

func (v vector) nonce(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(v.Nonce, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
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
	if len(v.Marks) == 0 || len(v.NoMarks) == 0 || len(v.Coincidences) == 0 {
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
			key := mustKey(t, v.Key)
			e, err := newEncoder(key, v.Server, v.nonce(t))
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

// TestCoincidences: once in 2^32, the key of another generation reads a mark
// as one too. Knowing which numbers are in use, a set finds the right one.
func TestCoincidences(t *testing.T) {
	for _, v := range readVectors(t).Coincidences {
		other, key := mustKey(t, v.OtherKey), mustKey(t, v.Key)
		e, err := newEncoder(key, v.Server, v.nonce(t))
		if err != nil {
			t.Fatal(err)
		}
		if m := e.Next(); hex.EncodeToString(m[:]) != v.Raw || m.String() != v.Text {
			t.Fatalf("%s: the mark is %x, %s", v.Name, m, m)
		}
		for _, test := range []struct {
			servers    uint32
			server     uint32
			generation uint8
		}{
			{servers: 0, server: v.OtherServer, generation: 1}, // any number may be in use
			{servers: v.OtherServer + 1, server: v.OtherServer, generation: 1},
			{servers: v.OtherServer, server: v.Server, generation: 2},
			{servers: 10, server: v.Server, generation: 2},
		} {
			s := mustSet(t, Generation{ID: 1, Key: other, Servers: test.servers}, Generation{ID: 2, Key: key, Servers: 10})
			if server, generation, ok := s.Lookup(unhex(t, v.Raw)); server != test.server || generation != test.generation || !ok {
				t.Errorf("%s, %d numbers in use: got server %d, generation %d, %t; want %d, %d, true",
					v.Name, test.servers, server, generation, ok, test.server, test.generation)
			}
		}
	}
}
