package quiclb

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// eachShape calls f with every configuration that the draft allows, once
// plaintext and once with a random key.
func eachShape(f func(Config)) {
	for s := MinServerIDLength; s <= MaxServerIDLength; s++ {
		for n := MinNonceLength; n <= MaxNonceLength && s+n <= MaxBlockLength; n++ {
			c := Config{ID: ConfigID((s + n) % MaxConfigs), ServerIDLength: s, NonceLength: n}
			f(c)
			c.Key, _ = NewKey(randomBytes(KeyLength))
			f(c)
		}
	}
}

func TestEveryShapeAgreesWithSlowTwin(t *testing.T) {
	shapes := map[Algorithm]int{}
	eachShape(func(config Config) {
		shapes[config.Algorithm()]++
		codec, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			id, nonce := randomBytes(config.ServerIDLength), randomBytes(config.NonceLength)
			low := randomBytes(1)[0] & 0x1f
			sid, err := NewServerID(id)
			if err != nil {
				t.Fatal(err)
			}
			cid, err := codec.Append([]byte("kept"), low, sid, nonce, []byte{0xee}[:min(1, MaxLength-codec.Length())])
			if err != nil {
				t.Fatal(err)
			}
			cid, ok := bytes.CutPrefix(cid, []byte("kept"))
			if want := slowEncode(t, config, low, id, nonce); !ok || !bytes.Equal(cid[:codec.Length()], want) {
				t.Fatalf("%d+%d %v: encoding gives %x; want %x", config.ServerIDLength, config.NonceLength, config.Algorithm(), cid, want)
			}
			if got, cause := codec.Decode(cid); cause != Decodable || got != sid {
				t.Fatalf("%d+%d %v: decoding gives %v, %v; want %v", config.ServerIDLength, config.NonceLength, config.Algorithm(), got, cause, sid)
			}
			if e := codec.Explain(cid); !bytes.Equal(e.Nonce, nonce) || e.ServerID != sid || e.Low != int(low) {
				t.Fatalf("%d+%d %v: Explain gives %+v; want nonce %x", config.ServerIDLength, config.NonceLength, config.Algorithm(), e, nonce)
			}
		}
	})
	// There are 120 pairs of lengths that add up to 19 at most, and 12 of them, from
	// 1+15 to 12+4, add up to 16.
	if want := map[Algorithm]int{Plaintext: 120, SinglePass: 12, FourPass: 108}; fmt.Sprint(shapes) != fmt.Sprint(want) {
		t.Errorf("shapes tested: %v; want %v", shapes, want)
	}
}

func TestSetDecodesEachConfigurationUnderItsOwnCodepoint(t *testing.T) {
	var configs []Config
	for id := range Unroutable {
		c := Config{ID: id, ServerIDLength: 2 + int(id), NonceLength: 5}
		if id%2 == 1 {
			c.Key, _ = NewKey(randomBytes(KeyLength))
		}
		configs = append(configs, c)
	}
	set, err := NewSet(configs...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs {
		sid, _ := NewServerID(randomBytes(c.ServerIDLength))
		cid, err := set.Codec(c.ID).Append(nil, 0, sid, randomBytes(c.NonceLength), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, cause := set.Decode(cid); cause != Decodable || got != (Decoded{sid, c.ID}) {
			t.Errorf("configuration %d: got %v, %v; want %v", c.ID, got, cause, sid)
		}
		for _, other := range configs {
			if other.ID != c.ID {
				if _, cause := set.Codec(other.ID).Decode(cid); cause != NoConfig {
					t.Errorf("codec %d on an ID of configuration %d: cause %v; want %v", other.ID, c.ID, cause, NoConfig)
				}
			}
		}
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		want   []string
	}{
		{"smallest", Config{0, 1, 4, Key{}}, nil},
		{"largest server ID", Config{6, 15, 4, Key{}}, nil},
		{"largest nonce", Config{6, 1, 18, Key{}}, nil},
		{"codepoint 7", Config{7, 3, 4, Key{}}, []string{"configuration ID is 7"}},
		{"codepoint 8", Config{8, 3, 4, Key{}}, []string{"configuration ID is 8"}},
		{"no server ID", Config{0, 0, 4, Key{}}, []string{"server ID length is 0"}},
		{"server ID of 16", Config{0, 16, 4, Key{}}, []string{"server ID length is 16"}},
		{"nonce of 3", Config{0, 3, 3, Key{}}, []string{"nonce length is 3"}},
		{"nonce of 19", Config{0, 1, 19, Key{}}, []string{"nonce length is 19"}},
		{"together 20", Config{0, 10, 10, Key{}}, []string{"10+10"}},
		{"everything", Config{9, -1, 99, Key{}}, []string{"configuration ID is 9", "server ID length is -1", "nonce length is 99"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.config)
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("error is %v; want %q", err, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error is %q; want it to say %q", err, want)
				}
			}
		})
	}
}

func TestNewSetSaysAllThatIsWrong(t *testing.T) {
	good := Config{ID: 1, ServerIDLength: 3, NonceLength: 4}
	_, err := NewSet(good, Config{ID: 7, ServerIDLength: 3, NonceLength: 4}, good)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"configuration 2 of 3", "configuration ID is 7", "configuration ID 1 is used twice"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error is %q; want it to say %q", err, want)
		}
	}
}

func TestAppendRefusesWrongLengths(t *testing.T) {
	codec, err := New(Config{ServerIDLength: 3, NonceLength: 4})
	if err != nil {
		t.Fatal(err)
	}
	three, _ := ParseServerID("010203")
	four, _ := ParseServerID("01020304")
	tests := []struct {
		name         string
		id           ServerID
		nonce, extra int
	}{
		{"server ID", four, 4, 0},
		{"no server ID", ServerID{}, 4, 0},
		{"short nonce", three, 3, 0},
		{"long nonce", three, 5, 0},
		{"extra octets", three, 4, 13},
	}
	for _, tt := range tests {
		got, err := codec.Append([]byte("kept"), 0, tt.id, make([]byte, tt.nonce), make([]byte, tt.extra))
		if err == nil || string(got) != "kept" {
			t.Errorf("%s: got %x, %v; want an error and dst as it was", tt.name, got, err)
		}
	}
	if got, err := codec.Append(nil, 0xff, three, make([]byte, 4), make([]byte, 12)); err != nil || len(got) != MaxLength || got[0] != 0x1f {
		t.Errorf("got %x, %v; want 20 octets, the first 1f", got, err)
	}
}

func TestServerID(t *testing.T) {
	seen := map[ServerID]string{}
	for n := 1; n <= MaxServerIDLength; n++ {
		octets := randomBytes(n)
		octets[n-1] = 0 // so that dropping it would go unnoticed
		id, err := NewServerID(octets)
		if err != nil {
			t.Fatal(err)
		}
		if id.Len() != n || !bytes.Equal(id.AppendTo(nil), octets) || id.String() != fmt.Sprintf("%x", octets) {
			t.Errorf("%x became %v of %d octets", octets, id, id.Len())
		}
		if shorter, err := NewServerID(octets[:n-1]); err == nil && shorter == id {
			t.Errorf("%v equals its own first %d octets", id, n-1)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%v is also %s", id, other)
		}
		seen[id] = id.String()
		text, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		var back ServerID
		if err := json.Unmarshal(text, &back); err != nil || back != id {
			t.Errorf("%s reads back as %v, %v; want %v", text, back, err, id)
		}
	}
	for _, bad := range []string{"", "0", "xx", "00112233445566778899aabbccddeeff", "00:1", "00:11:", ":00", "001:1"} {
		if id, err := ParseServerID(bad); err == nil {
			t.Errorf("ParseServerID(%q) = %v; want an error", bad, id)
		}
	}
	if id, err := ParseServerID("c4:60:5e"); err != nil || id.String() != "c4605e" {
		t.Errorf("got %v, %v; want c4605e", id, err)
	}
	var none ServerID
	if none.Len() != 0 || none.String() != "" {
		t.Errorf("the zero server ID is %v of %d octets", none, none.Len())
	}
}

// TestKeyShowsItselfToNobody prints everything that holds a key in every way.
func TestKeyShowsItselfToNobody(t *testing.T) {
	const text = "00112233445566778899aabbccddeeff"
	key, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	config := Config{ID: 1, ServerIDLength: 3, NonceLength: 4, Key: key}
	codec, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := ParseServerID("aabbcc")
	minterConfig := MinterConfig{Config: config, ServerID: id}
	minter, err := NewMinter(minterConfig)
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewSet(config)
	if err != nil {
		t.Fatal(err)
	}
	nonces, err := NewNonces(NonceRange{First: make([]byte, 4), Count: 1, Scatter: key})
	if err != nil {
		t.Fatal(err)
	}
	hidden := struct{ k Key }{key}
	octets := key.Octets()
	forbidden := []string{text, strings.ToUpper(text), fmt.Sprint(octets), "17 34 51", "0x11, 0x22", "3DUf"}
	for _, v := range []any{
		key, &key, config, &config, codec, *codec, minterConfig, minter, set, nonces, hidden, &hidden,
		[]Key{key},
		map[string]Key{"k": key},
	} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d", "% x", "%o", "%b"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		for _, f := range forbidden {
			if strings.Contains(out.String(), f) {
				t.Errorf("%T prints its key:\n%s", v, out.String())
			}
		}
	}
	if text, err := json.Marshal(config); !errors.Is(err, ErrHidden) {
		t.Errorf("a configuration marshals to %s, %v; want %v", text, err, ErrHidden)
	}
	if text, err := json.Marshal(Key{}); err != nil || string(text) != `""` {
		t.Errorf("no key marshals to %s, %v; want no text", text, err)
	}
	if key.Octets() != [16]byte{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff} {
		t.Error("Octets does not return the key")
	}
	if _, err := ParseKey(text[:31] + "g"); err == nil || strings.Contains(err.Error(), text[:8]) {
		t.Errorf("error is %v; want one that does not show the text", err)
	}
	if _, err := ParseKey(text[:30]); err == nil {
		t.Error("a key of 15 octets was accepted")
	}
}

func TestKeyEqual(t *testing.T) {
	a, _ := NewKey(make([]byte, KeyLength))
	b, _ := NewKey(make([]byte, KeyLength))
	c, _ := NewKey(bytes.Repeat([]byte{1}, KeyLength))
	tests := []struct {
		x, y Key
		want bool
	}{{a, b, true}, {a, c, false}, {a, Key{}, false}, {Key{}, a, false}, {Key{}, Key{}, true}}
	for i, tt := range tests {
		if got := tt.x.Equal(tt.y); got != tt.want {
			t.Errorf("case %d: got %v; want %v", i, got, tt.want)
		}
	}
	if a.IsZero() || !(Key{}).IsZero() {
		t.Error("sixteen zero octets are a key; the zero Key is none")
	}
	if (Key{}).Octets() != [KeyLength]byte{} || (Key{}).String() != "none" {
		t.Error("the zero Key is not none")
	}
}

func TestNames(t *testing.T) {
	for c := range Cause(NumCauses) {
		if strings.Contains(c.String(), "(") {
			t.Errorf("cause %d has no name", c)
		}
	}
	for got, want := range map[string]string{
		Cause(99).String(): "cause(99)", Algorithm(9).String(): "algorithm(9)", Plaintext.String(): "plaintext",
		SinglePass.String(): "single-pass", FourPass.String(): "four-pass",
	} {
		if got != want {
			t.Errorf("got %q; want %q", got, want)
		}
	}
}

// FuzzSetDecode gives the octets of a connection ID to a set that has a
// configuration of every kind. Whatever decodes must be what the slow twin says,
// and the parts that Explain sees must encode to the same octets.
func FuzzSetDecode(f *testing.F) {
	key, _ := NewKey([]byte("0123456789abcdef"))
	configs := []Config{
		{0, 3, 4, Key{}}, {1, 8, 8, key}, {2, 3, 4, key}, {3, 9, 9, key}, {4, 10, 5, key}, {5, 15, 4, key}, {6, 1, 4, key},
	}
	set, err := NewSet(configs...)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	for id := range byte(8) {
		f.Add([]byte{id << 5})
		f.Add(append([]byte{id<<5 | 19}, bytes.Repeat([]byte{0xa5}, 19)...))
		f.Add(append([]byte{id<<5 | 7}, bytes.Repeat([]byte{0x5a}, 40)...))
	}
	f.Fuzz(func(t *testing.T, cid []byte) {
		before := bytes.Clone(cid)
		decoded, cause := set.Decode(cid)
		e := set.Explain(cid)
		if !bytes.Equal(cid, before) {
			t.Fatalf("%x was changed to %x", before, cid)
		}
		if e.Cause != cause || e.ServerID != decoded.ServerID {
			t.Fatalf("%x: Explain gives %v, %v; Decode gives %v, %v", cid, e.ServerID, e.Cause, decoded.ServerID, cause)
		}
		if cause != Decodable {
			if decoded != (Decoded{}) {
				t.Fatalf("%x: cause %v and yet %v", cid, cause, decoded)
			}
			return
		}
		config := configs[decoded.Config]
		id, nonce := slowDecode(t, config, cid)
		if fmt.Sprintf("%x", id) != decoded.ServerID.String() || !bytes.Equal(nonce, e.Nonce) {
			t.Fatalf("%x decodes to %v and %x; slowly to %x and %x", cid, decoded.ServerID, e.Nonce, id, nonce)
		}
		again, err := set.Codec(e.Config).Append(nil, byte(e.Low), e.ServerID, e.Nonce, nil)
		if err != nil || !bytes.Equal(append(again, e.Extra...), cid) {
			t.Fatalf("%x encodes again to %x followed by %x, %v", cid, again, e.Extra, err)
		}
	})
}

// FuzzRoundTrip encodes and decodes under configurations of any shape.
func FuzzRoundTrip(f *testing.F) {
	f.Add(byte(0), 3, 4, []byte("0123456789abcdef"), []byte("abcdefghijklmnopqrstuvwxyz"))
	f.Add(byte(6), 15, 4, []byte("0123456789abcdef"), []byte("abcdefghijklmnopqrstuvwxyz"))
	f.Add(byte(1), 8, 8, []byte("0123456789abcdef"), []byte("abcdefghijklmnopqrstuvwxyz"))
	f.Add(byte(1), 8, 8, []byte{}, []byte("abcdefghijklmnopqrstuvwxyz"))
	f.Fuzz(func(t *testing.T, id byte, s, n int, keyOctets, text []byte) {
		config := Config{ID: ConfigID(id), ServerIDLength: s, NonceLength: n}
		if len(keyOctets) > 0 {
			key, err := NewKey(keyOctets)
			if err != nil {
				return
			}
			config.Key = key
		}
		codec, err := New(config)
		if err != nil || len(text) < 1+s+n {
			return
		}
		sid, err := NewServerID(text[:s])
		if err != nil {
			t.Fatal(err)
		}
		nonce, rest := text[s:s+n], text[s+n:]
		cid, err := codec.Append(nil, rest[0], sid, nonce, nil)
		if err != nil {
			t.Fatal(err)
		}
		if slow := slowEncode(t, config, rest[0]&0x1f, text[:s], nonce); !bytes.Equal(cid, slow) {
			t.Fatalf("encodes to %x, slowly to %x", cid, slow)
		}
		if got, cause := codec.Decode(append(cid, rest...)); cause != Decodable || got != sid {
			t.Fatalf("%x decodes to %v, %v; want %v", cid, got, cause, sid)
		}
		if e := codec.Explain(cid); !bytes.Equal(e.Nonce, nonce) {
			t.Fatalf("%x has the nonce %x; want %x", cid, e.Nonce, nonce)
		}
	})
}

func TestErrExhaustedIsOneError(t *testing.T) {
	if !errors.Is(fmt.Errorf("minting: %w", ErrExhausted), ErrExhausted) {
		t.Error("ErrExhausted is lost in wrapping")
	}
}
