package quiclb

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
)

func mustNonces(t *testing.T, r NonceRange) *Nonces {
	t.Helper()
	s, err := NewNonces(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// takeAll empties s and returns its nonces, in order.
func takeAll(t *testing.T, s *Nonces, atMost int) []string {
	t.Helper()
	var all []string
	for len(all) <= atMost {
		nonce, err := s.Append(nil)
		if errors.Is(err, ErrExhausted) {
			return all
		}
		if err != nil || len(nonce) != s.Len() {
			t.Fatalf("got %x, %v; want %d octets", nonce, err, s.Len())
		}
		all = append(all, string(nonce))
	}
	t.Fatalf("more than %d nonces", atMost)
	return nil
}

func TestNoncesCountFromFirstAndWrap(t *testing.T) {
	s := mustNonces(t, NonceRange{First: []byte{0xff, 0xff, 0xff, 0xfe}, Count: 4})
	want := []string{"\xff\xff\xff\xfe", "\xff\xff\xff\xff", "\x00\x00\x00\x00", "\x00\x00\x00\x01"}
	if s.Left() != 4 {
		t.Errorf("%d left; want 4", s.Left())
	}
	got := takeAll(t, s, 4)
	if strings.Join(got, "") != strings.Join(want, "") {
		t.Errorf("got %x; want %x", got, want)
	}
	for range 3 {
		if b, err := s.Append([]byte("kept")); !errors.Is(err, ErrExhausted) || string(b) != "kept" {
			t.Errorf("after the end: got %x, %v; want ErrExhausted", b, err)
		}
	}
	if s.Left() != 0 || s.Rest().Count != 0 {
		t.Errorf("%d left, rest of %d; want 0", s.Left(), s.Rest().Count)
	}
	if _, err := NewNonces(s.Rest()); err == nil {
		t.Error("a used up range could be opened again")
	}
}

// TestScatteredNoncesNeverRepeat checks the property that matters: the counter's
// values stay distinct, for every length, and the whole space is hit once.
func TestScatteredNoncesNeverRepeat(t *testing.T) {
	for n := MinNonceLength; n <= MaxNonceLength; n++ {
		r := RandomRange(n, true)
		r.Count = 5000
		all := takeAll(t, mustNonces(t, r), 5000)
		seen := map[string]bool{}
		inOrder := 0
		for i, nonce := range all {
			if seen[nonce] {
				t.Fatalf("%d octets: nonce %x comes twice", n, nonce)
			}
			seen[nonce] = true
			if i > 0 && nonce > all[i-1] {
				inOrder++
			}
		}
		// A counter would have them all in order; of random ones it is half.
		if inOrder < 2200 || inOrder > 2800 {
			t.Errorf("%d octets: %d of 5000 nonces are greater than the one before; want about 2500", n, inOrder)
		}
	}
}

func TestNoncesAreDistinctUnderConcurrency(t *testing.T) {
	const workers, count = 8, 4000
	s := mustNonces(t, NonceRange{First: []byte{1, 2, 3, 4, 5}, Count: count})
	var group sync.WaitGroup
	got := make([][]string, workers)
	for w := range workers {
		group.Go(func() {
			for {
				nonce, err := s.Append(nil)
				if err != nil {
					return
				}
				got[w] = append(got[w], string(nonce))
			}
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for _, list := range got {
		for _, nonce := range list {
			if seen[nonce] {
				t.Fatalf("nonce %x comes twice", nonce)
			}
			seen[nonce] = true
		}
	}
	if len(seen) != count {
		t.Errorf("%d nonces; want %d", len(seen), count)
	}
}

// TestSplitRangesAreDisjoint is how several processes mint under one server ID.
func TestSplitRangesAreDisjoint(t *testing.T) {
	for _, scatter := range []bool{false, true} {
		r := RandomRange(5, scatter)
		r.Count = 1000
		head, rest, err := r.Split(400)
		if err != nil {
			t.Fatal(err)
		}
		whole := takeAll(t, mustNonces(t, r), 1000)
		parts := append(takeAll(t, mustNonces(t, head), 400), takeAll(t, mustNonces(t, rest), 600)...)
		if strings.Join(whole, "") != strings.Join(parts, "") {
			t.Errorf("scatter %v: the parts are not the whole", scatter)
		}
		if _, _, err := r.Split(1001); err == nil {
			t.Errorf("scatter %v: more could be split off than there is", scatter)
		}
	}
	if _, _, err := (NonceRange{First: make([]byte, 19), Count: 1}).Split(1); err == nil {
		t.Error("a nonce of 19 octets could be split")
	}
}

func TestRestGoesOnWhereItStopped(t *testing.T) {
	r := RandomRange(9, true)
	r.Count = 100
	whole := takeAll(t, mustNonces(t, r), 100)
	s := mustNonces(t, r)
	for range 37 {
		if _, err := s.Append(nil); err != nil {
			t.Fatal(err)
		}
	}
	if rest := takeAll(t, mustNonces(t, s.Rest()), 63); strings.Join(rest, "") != strings.Join(whole[37:], "") {
		t.Error("the rest is not what was left")
	}
}

func TestAddNonce(t *testing.T) {
	for n := MinNonceLength; n <= MaxNonceLength; n++ {
		first, got := bytes.Repeat([]byte{0xff}, n), make([]byte, n)
		addNonce(got, first, math.MaxUint64)
		// all ones plus 2^64-1 is 2^64-2 modulo 2^(8n), and less of it when n is short.
		want := make([]byte, n)
		for i := range n {
			if i >= n-8 {
				want[i] = 0xff
			}
		}
		want[n-1] = 0xfe
		if !bytes.Equal(got, want) {
			t.Errorf("%d octets: got %x; want %x", n, got, want)
		}
	}
}

func TestNewNoncesRefuses(t *testing.T) {
	for _, r := range []NonceRange{
		{},
		{First: make([]byte, 3), Count: 1},
		{First: make([]byte, 19), Count: 1},
		{First: make([]byte, 4)},
		{First: make([]byte, 4), Count: 1<<32 + 1},
	} {
		if _, err := NewNonces(r); err == nil {
			t.Errorf("%d nonces of %d octets were accepted", r.Count, len(r.First))
		}
	}
	if NonceSpace(4) != 1<<32 || NonceSpace(7) != 1<<56 || NonceSpace(8) != math.MaxUint64 || NonceSpace(18) != math.MaxUint64 {
		t.Error("NonceSpace is wrong")
	}
}

// TestMinterMintsWhatSetDecodes covers every shape, with and without length and
// extra octets.
func TestMinterMintsWhatSetDecodes(t *testing.T) {
	eachShape(func(config Config) {
		id, _ := NewServerID(randomBytes(config.ServerIDLength))
		set, err := NewSet(config)
		if err != nil {
			t.Fatal(err)
		}
		need := 1 + config.ServerIDLength + config.NonceLength
		for extra := 0; extra <= MaxLength-need; extra += 5 {
			for _, encode := range []bool{true, false} {
				m, err := NewMinter(MinterConfig{Config: config, ServerID: id, EncodeLength: encode, ExtraOctets: extra})
				if err != nil {
					t.Fatal(err)
				}
				seen := map[string]bool{}
				lows := map[int]bool{}
				for range 64 {
					cid, err := m.Append(nil)
					if err != nil || len(cid) != m.Length() || len(cid) != need+extra {
						t.Fatalf("minted %x, %v; want %d octets", cid, err, need+extra)
					}
					if got, cause := set.Decode(cid); cause != Decodable || got != (Decoded{id, config.ID}) {
						t.Fatalf("%x decodes to %v, %v; want %v", cid, got, cause, id)
					}
					e := set.Explain(cid)
					if seen[string(e.Nonce)] {
						t.Fatalf("nonce %x comes twice", e.Nonce)
					}
					seen[string(e.Nonce)] = true
					lows[e.Low] = true
					if encode && !e.LowIsLength {
						t.Fatalf("%x does not encode its length", cid)
					}
				}
				// Of 64 draws from 32 values, fewer than 10 distinct ones do not happen.
				if !encode && len(lows) < 10 {
					t.Fatalf("the first octets' low bits take %d values in 64 IDs", len(lows))
				}
			}
		}
	})
}

func TestMinterSaysWhenNoncesAreUsedUp(t *testing.T) {
	key, _ := NewKey(randomBytes(KeyLength))
	config := Config{ID: 3, ServerIDLength: 3, NonceLength: 5, Key: key}
	id, _ := ParseServerID("010203")
	nonces := mustNonces(t, NonceRange{First: randomBytes(5), Count: 3})
	m, err := NewMinter(MinterConfig{Config: config, ServerID: id, Nonces: nonces})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := m.Append(nil); err != nil {
			t.Fatalf("ID %d: %v", i, err)
		}
	}
	if got, err := m.Append([]byte("kept")); !errors.Is(err, ErrExhausted) || string(got) != "kept" {
		t.Errorf("got %x, %v; want ErrExhausted", got, err)
	}
	if m.Config().Nonces.Left() != 0 {
		t.Errorf("%d left; want 0", m.Config().Nonces.Left())
	}
}

func TestNewMinterRefuses(t *testing.T) {
	id, _ := ParseServerID("010203")
	plain := Config{ServerIDLength: 3, NonceLength: 4}
	counter := mustNonces(t, RandomRange(4, false))
	five := mustNonces(t, RandomRange(5, true))
	tests := []struct {
		name   string
		config MinterConfig
		want   string
	}{
		{"configuration", MinterConfig{Config: Config{ID: 7}, ServerID: id}, "configuration ID is 7"},
		{"server ID", MinterConfig{Config: plain}, "server ID has 0 octets"},
		{"extra octets", MinterConfig{Config: plain, ServerID: id, ExtraOctets: 13}, "13 extra octets"},
		{"negative extra octets", MinterConfig{Config: plain, ServerID: id, ExtraOctets: -1}, "-1 extra octets"},
		{"length of nonces", MinterConfig{Config: plain, ServerID: id, Nonces: five}, "nonces have 5 octets"},
		{"a plain counter in the clear", MinterConfig{Config: plain, ServerID: id, Nonces: counter}, "scattered"},
	}
	for _, tt := range tests {
		if _, err := NewMinter(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error is %v; want it to say %q", tt.name, err, tt.want)
		}
	}
}

func TestAppendUnroutable(t *testing.T) {
	var configs []Config
	for id := range Unroutable {
		configs = append(configs, Config{ID: id, ServerIDLength: 1, NonceLength: 4})
	}
	set, err := NewSet(configs...)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for n := MinUnroutableLength; n <= MaxLength; n++ {
		for range 50 {
			cid, err := AppendUnroutable(nil, n)
			if err != nil || len(cid) != n {
				t.Fatalf("got %x, %v; want %d octets", cid, err, n)
			}
			if _, cause := set.Decode(cid); cause != Codepoint111 {
				t.Errorf("%x: cause %v; want %v", cid, cause, Codepoint111)
			}
			if e := set.Explain(cid); !e.LowIsLength {
				t.Errorf("%x does not encode its length", cid)
			}
			if seen[string(cid)] {
				t.Errorf("%x comes twice", cid)
			}
			seen[string(cid)] = true
		}
	}
	for _, n := range []int{-1, 0, 7, 21} {
		if got, err := AppendUnroutable([]byte("kept"), n); err == nil || string(got) != "kept" {
			t.Errorf("%d octets: got %x, %v; want an error", n, got, err)
		}
	}
}

// TestPlaintextNoncesDoNotCount: in the clear, nonces must look unrelated (draft,
// section "Plaintext Algorithm"); encrypted, they may count.
func TestPlaintextNoncesDoNotCount(t *testing.T) {
	key, _ := NewKey(randomBytes(KeyLength))
	for _, k := range []Key{{}, key} {
		config := Config{ServerIDLength: 4, NonceLength: 8, Key: k}
		codec, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := ParseServerID("01020304")
		m, err := NewMinter(MinterConfig{Config: config, ServerID: id})
		if err != nil {
			t.Fatal(err)
		}
		successors := 0
		var last []byte
		for range 20 {
			cid, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			nonce, next := codec.Explain(cid).Nonce, make([]byte, 8)
			if last != nil {
				addNonce(next, last, 1)
				if bytes.Equal(next, nonce) {
					successors++
				}
			}
			last = nonce
		}
		if want := map[bool]int{true: 0, false: 19}[k.IsZero()]; successors != want {
			t.Errorf("%v: %d of 19 nonces follow the one before; want %d", config.Algorithm(), successors, want)
		}
	}
}
