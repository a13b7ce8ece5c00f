package sealed

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// testGenerations returns n generations with IDs that are not their index.
func testGenerations(t testing.TB, n int) []Generation {
	t.Helper()
	var gs []Generation
	for i := range n {
		gs = append(gs, Generation{ID: uint8((i + 3) % MaxGenerations), Key: mustKey(t, fmt.Sprintf("%032x", i+1))})
	}
	return gs
}

func TestNewSetRefuses(t *testing.T) {
	eight := append(testGenerations(t, 7), Generation{ID: 9, Key: NewKey()})
	same := testGenerations(t, 2)
	same[1].ID = same[0].ID
	sameKey := testGenerations(t, 2)
	sameKey[1].Key = sameKey[0].Key
	for _, test := range []struct {
		name        string
		generations []Generation
		want        string
	}{
		{"none", nil, "0 generations"},
		{"more than seven", eight, "8 generations"},
		{"one ID twice", same, "given twice"},
		{"one key twice", sameKey, "same key"},
	} {
		if _, err := NewSet(test.generations...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v; want one with %q", test.name, err, test.want)
		}
	}
}

func TestGenerationsAreToldByKey(t *testing.T) {
	gs := testGenerations(t, MaxGenerations)
	s := mustSet(t, gs...)
	for _, g := range gs {
		e, err := NewEncoder(g.Key, 42)
		if err != nil {
			t.Fatal(err)
		}
		if server, generation, ok := s.Lookup(e.AppendRaw(nil)); server != 42 || generation != g.ID || !ok {
			t.Errorf("generation %d: got server %d, generation %d, %t", g.ID, server, generation, ok)
		}
		if server, generation, ok := s.LookupText(e.AppendText(nil)); server != 42 || generation != g.ID || !ok {
			t.Errorf("generation %d, text: got server %d, generation %d, %t", g.ID, server, generation, ok)
		}
	}
	e, err := NewEncoder(NewKey(), 42)
	if err != nil {
		t.Fatal(err)
	}
	if server, generation, ok := s.Lookup(e.AppendRaw(nil)); ok {
		t.Errorf("mark of an unknown key: got server %d, generation %d", server, generation)
	}
}

func TestServersBoundsTheNumbers(t *testing.T) {
	key := mustKey(t, testKey)
	for _, test := range []struct {
		servers, number uint32
		want            bool
	}{
		{0, 0, true},
		{0, math.MaxUint32, true},
		{1, 0, true},
		{1, 1, false},
		{8, 7, true},
		{8, 8, false},
		{8, math.MaxUint32, false},
	} {
		e, err := NewEncoder(key, test.number)
		if err != nil {
			t.Fatal(err)
		}
		s := mustSet(t, Generation{Key: key, Servers: test.servers})
		if _, _, ok := s.Lookup(e.AppendRaw(nil)); ok != test.want {
			t.Errorf("server %d of %d: got %t; want %t", test.number, test.servers, ok, test.want)
		}
	}
}

func TestGenerations(t *testing.T) {
	gs := testGenerations(t, 3)
	gs[1].Servers, gs[2].Servers = 8, 9
	s := mustSet(t, gs...)
	for server, want := range map[uint32]int{0: 3, 7: 3, 8: 2, 9: 1, math.MaxUint32: 1} {
		if got := s.Generations(server); got != want {
			t.Errorf("server %d: got %d generations; want %d", server, got, want)
		}
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	key := mustKey(t, testKey)
	e, err := NewEncoder(key, 7)
	if err != nil {
		t.Fatal(err)
	}
	s := mustSet(t, Generation{Key: key})
	raw, text := e.AppendRaw(nil), e.AppendText(nil)
	for n := range raw {
		if _, _, ok := s.Lookup(raw[:n]); ok {
			t.Errorf("the first %d bytes were read as a mark", n)
		}
	}
	for n := range text {
		if _, _, ok := s.LookupText(text[:n]); ok {
			t.Errorf("the first %d characters were read as a mark", n)
		}
	}
	if _, _, ok := s.Lookup(nil); ok {
		t.Error("no bytes were read as a mark")
	}
}

// TestTextIsCanonical: of all single-character changes of a text, none is read
// as the same mark.
func TestTextIsCanonical(t *testing.T) {
	key := mustKey(t, testKey)
	e, err := NewEncoder(key, 7)
	if err != nil {
		t.Fatal(err)
	}
	s := mustSet(t, Generation{Key: key})
	text := e.AppendText(nil)
	for at := range text {
		for c := range 256 {
			if byte(c) == text[at] {
				continue
			}
			changed := bytes.Clone(text)
			changed[at] = byte(c)
			if server, _, ok := s.LookupText(changed); ok {
				t.Fatalf("%q was read as a mark of server %d, like %q", changed, server, text)
			}
			// A character pushed in, as a line break would be.
			pushed := append(bytes.Clone(text[:at]), byte(c))
			pushed = append(pushed, text[at:]...)
			if server, _, ok := s.LookupText(pushed); ok {
				t.Fatalf("%q was read as a mark of server %d, like %q", pushed, server, text)
			}
		}
	}
}

func TestMarkText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Mark(rapid.SliceOfN(rapid.Byte(), Size, Size).Draw(t, "mark"))
		text, err := m.MarshalText()
		if err != nil || len(text) != TextSize || string(text) != m.String() {
			t.Fatalf("MarshalText: got %q, %v; String %q", text, err, m)
		}
		var back Mark
		if err := back.UnmarshalText(text); err != nil || back != m {
			t.Fatalf("UnmarshalText(%q): got %x, %v; want %x", text, back, err, m)
		}
		if err := back.UnmarshalText(append(text, 'A')); err == nil {
			t.Fatal("UnmarshalText took 23 characters")
		}
	})
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, err := KeyFrom(rapid.SliceOfN(rapid.Byte(), KeySize, KeySize).Draw(t, "key"))
		if err != nil {
			t.Fatal(err)
		}
		e, err := newEncoder(key, rapid.Uint32().Draw(t, "server"), rapid.Uint64().Draw(t, "nonce"))
		if err != nil {
			t.Fatal(err)
		}
		id := rapid.Uint8().Draw(t, "generation")
		s, err := NewSet(Generation{ID: id, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		tail := rapid.SliceOf(rapid.Byte()).Draw(t, "tail")
		if server, generation, ok := s.Lookup(append(e.AppendRaw(nil), tail...)); server != e.Server() || generation != id || !ok {
			t.Fatalf("raw: got server %d, generation %d, %t; want %d, %d, true", server, generation, ok, e.Server(), id)
		}
		if server, generation, ok := s.LookupText(append(e.AppendText(nil), tail...)); server != e.Server() || generation != id || !ok {
			t.Fatalf("text: got server %d, generation %d, %t; want %d, %d, true", server, generation, ok, e.Server(), id)
		}
	})
}

func TestRandomValuesAreNoMarks(t *testing.T) {
	s := mustSet(t, testGenerations(t, MaxGenerations)...)
	const values = 20_000
	random := make([]byte, values*Size)
	_, _ = rand.Read(random)
	for v := range slices.Chunk(random, Size) {
		if server, generation, ok := s.Lookup(v); ok {
			t.Errorf("%x was read as a mark of server %d, generation %d", v, server, generation)
		}
	}
}

// TestEncoderNeverRepeats also over the counter's wrap, and from several goroutines.
func TestEncoderNeverRepeats(t *testing.T) {
	e, err := newEncoder(mustKey(t, testKey), 1, math.MaxUint64-500)
	if err != nil {
		t.Fatal(err)
	}
	const workers, each = 8, 2000
	var made [workers][]Mark
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range each {
				made[w] = append(made[w], e.Next())
			}
		})
	}
	wg.Wait()
	seen := make(map[Mark]bool)
	for _, marks := range made {
		for _, m := range marks {
			seen[m] = true
		}
	}
	if len(seen) != workers*each {
		t.Errorf("%d marks, of which %d different", workers*each, len(seen))
	}
}

func TestEncodersStartApart(t *testing.T) {
	seen := make(map[Mark]bool)
	for range 100 {
		e, err := NewEncoder(mustKey(t, testKey), 1)
		if err != nil {
			t.Fatal(err)
		}
		seen[e.Next()] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 encoders began with %d different marks", len(seen))
	}
}

func TestSetIsSafeForConcurrentUse(t *testing.T) {
	key := mustKey(t, testKey)
	s := mustSet(t, Generation{ID: 1, Key: NewKey()}, Generation{ID: 2, Key: key})
	var wg sync.WaitGroup
	for n := range uint32(8) {
		wg.Go(func() {
			e, err := NewEncoder(key, n)
			if err != nil {
				t.Error(err)
				return
			}
			for range 2000 {
				if server, generation, ok := s.Lookup(e.AppendRaw(nil)); server != n || generation != 2 || !ok {
					t.Errorf("server %d: got %d, generation %d, %t", n, server, generation, ok)
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzLookup(f *testing.F) {
	key := mustKey(f, testKey)
	other := mustKey(f, "000102030405060708090a0b0c0d0e0f")
	e, err := newEncoder(key, 7, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add(e.AppendRaw(nil))
	f.Add(e.AppendText(nil))
	f.Add(append(e.AppendText(nil), ".tail"...))
	f.Add([]byte("AAAAAAAAAAAA\r\nAAAAAAAAAAAA"))
	s := mustSet(f, Generation{ID: 1, Key: other}, Generation{ID: 2, Key: key})
	keys := map[uint8]Key{1: other, 2: key}
	f.Fuzz(func(t *testing.T, id []byte) {
		before := bytes.Clone(id)
		// What is read as a mark is made again from what was read of it.
		if server, generation, ok := s.Lookup(id); ok {
			if m := Mark(id); !remakes(t, keys[generation], server, m) {
				t.Fatalf("%x was read as a mark of server %d, which would be another", id, server)
			}
		}
		if server, generation, ok := s.LookupText(id); ok {
			var m Mark
			if err := m.UnmarshalText(id[:TextSize]); err != nil {
				t.Fatalf("%q has a mark and is not the text of one: %v", id, err)
			}
			if !bytes.HasPrefix(id, []byte(m.String())) || !remakes(t, keys[generation], server, m) {
				t.Fatalf("%q was read as a mark of server %d, whose text is %s", id, server, m)
			}
		}
		if !bytes.Equal(id, before) {
			t.Fatalf("the ID was changed: got %x; want %x", id, before)
		}
	})
}

// remakes reports whether an encoder of server makes m.
func remakes(t *testing.T, key Key, server uint32, m Mark) bool {
	t.Helper()
	block, err := key.block()
	if err != nil {
		t.Fatal(err)
	}
	var plain [Size]byte
	block.Decrypt(plain[:], m[:])
	var nonce uint64
	for _, b := range plain[nonceAt:] {
		nonce = nonce<<8 | uint64(b)
	}
	e, err := newEncoder(key, server, nonce)
	if err != nil {
		t.Fatal(err)
	}
	return e.Next() == m
}
