package quiclb

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// hexBytes are octets that a vector file writes as hex digits.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// A vector is a row of testdata/vectors.json or testdata/interop.json.
type vector struct {
	Name     string
	ConfigID ConfigID `json:"config_id"`
	SIDLen   int      `json:"server_id_len"`
	NonceLen int      `json:"nonce_len"`
	Key      hexBytes
	ServerID hexBytes `json:"server_id"`
	Nonce    hexBytes
	CID      hexBytes
	Mode     string
}

func (v *vector) config(t *testing.T) Config {
	t.Helper()
	c := Config{ID: v.ConfigID, ServerIDLength: v.SIDLen, NonceLength: v.NonceLen}
	if len(v.Key) > 0 {
		var err error
		if c.Key, err = NewKey(v.Key); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("reading %s: %v", path, err)
	}
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	var ours struct{ Vectors, Generated []vector }
	readJSON(t, "testdata/vectors.json", &ours)
	var others struct{ Decode []vector }
	readJSON(t, "testdata/interop.json", &others)
	all := append(append(ours.Vectors, ours.Generated...), others.Decode...)
	if len(all) != 7+15+3 {
		t.Fatalf("there are %d vectors; want 25", len(all))
	}
	return all
}

// TestVectors runs each row in both directions, through a codec and a set, and
// through the slow twin.
func TestVectors(t *testing.T) {
	modes := map[string]Algorithm{
		"plaintext": Plaintext, "single_pass": SinglePass,
		"four_pass_3_decrypt_ops": FourPass, "four_pass_4_decrypt_ops": FourPass,
	}
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			config := v.config(t)
			if want, ok := modes[v.Mode]; ok && config.Algorithm() != want {
				t.Fatalf("algorithm is %v; want %v", config.Algorithm(), want)
			}
			id, err := NewServerID(v.ServerID)
			if err != nil {
				t.Fatal(err)
			}
			codec, err := New(config)
			if err != nil {
				t.Fatal(err)
			}
			low := byte(len(v.CID) - 1) // all rows encode their length
			got, err := codec.Append(nil, low, id, v.Nonce, nil)
			if err != nil || !bytes.Equal(got, v.CID) {
				t.Errorf("encoding gives %x, %v; want %x", got, err, v.CID)
			}
			if slow := slowEncode(t, config, low, v.ServerID, v.Nonce); !bytes.Equal(slow, v.CID) {
				t.Errorf("slow encoding gives %x; want %x", slow, v.CID)
			}
			if slow, _ := slowDecode(t, config, v.CID); !bytes.Equal(slow, v.ServerID) {
				t.Errorf("slow decoding gives %x; want %x", slow, v.ServerID)
			}
			set, err := NewSet(config)
			if err != nil {
				t.Fatal(err)
			}
			// As it is, followed by octets that the server appended, and followed by
			// the rest of a datagram.
			for _, extra := range []int{0, 1, 4, 13, 1200} {
				cid := append(bytes.Clone(v.CID), make([]byte, extra)...)
				decoded, cause := set.Decode(cid)
				if cause != Decodable || decoded.ServerID != id || decoded.Config != v.ConfigID {
					t.Errorf("with %d octets more, decoding gives %v, %v; want %v of configuration %d",
						extra, decoded, cause, id, v.ConfigID)
				}
				e := set.Explain(cid)
				if !bytes.Equal(e.Nonce, v.Nonce) || e.ServerID != id || len(e.Extra) != extra ||
					e.LowIsLength != (extra == 0) || e.Algorithm != config.Algorithm() {
					t.Errorf("with %d octets more, Explain gives %+v; want server ID %v and nonce %x", extra, e, id, v.Nonce)
				}
			}
			for n := range len(v.CID) {
				if _, cause := set.Decode(v.CID[:n]); cause == Decodable {
					t.Errorf("the first %d of %d octets decode; want a cause", n, len(v.CID))
				}
			}
		})
	}
}

// TestDraftAppendix checks that every row that the draft prints is either used as
// it is, or known to be misprinted in just the way that its note says.
func TestDraftAppendix(t *testing.T) {
	type row struct{ Key, SID, Nonce, CID, Status, Why string }
	var file struct {
		Rows []row `json:"draft_appendix_verbatim"`
	}
	readJSON(t, "testdata/vectors.json", &file)
	used := map[string]vector{}
	for _, v := range readVectors(t) {
		used[hex.EncodeToString(v.CID)] = v
	}
	for _, r := range file.Rows {
		switch v, ok := used[r.CID]; r.Status {
		case "consistent":
			if !ok || hex.EncodeToString(v.ServerID) != r.SID || hex.EncodeToString(v.Nonce) != r.Nonce {
				t.Errorf("row %s is consistent but not among the vectors", r.CID)
			}
		case "FIRST OCTET MISMATCH":
			// Printed for configuration 3 with a first octet of configuration 0: used as 0,
			// and with the first octet put right as 3.
			corrected, ok3 := used["72"+r.CID[2:]]
			if !ok || v.ConfigID != 0 || !ok3 || corrected.ConfigID != 3 {
				t.Errorf("row %s is not used under both of its configurations", r.CID)
			}
		case "CORRUPT":
			if ok || len(r.Nonce)%2 == 0 || len(r.CID) != 2+len(r.SID)+len(r.Nonce)+1 {
				t.Errorf("row %s is not corrupt in the way that its note says: %s", r.CID, r.Why)
			}
		default:
			t.Errorf("row %s has the status %q", r.CID, r.Status)
		}
	}
	if len(file.Rows) != 6 {
		t.Errorf("the draft prints %d rows; want 6", len(file.Rows))
	}
}

// TestWorkedExample checks every intermediate value that the draft prints.
func TestWorkedExample(t *testing.T) {
	var file struct {
		Example struct {
			Key      hexBytes
			ServerID hexBytes `json:"server_id"`
			Nonce    hexBytes
			Steps    map[string]hexBytes
		} `json:"draft_worked_example"`
	}
	readJSON(t, "testdata/vectors.json", &file)
	e := file.Example
	config := (&vector{SIDLen: 3, NonceLen: 4, Key: e.Key}).config(t)
	codec, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	f, s := &codec.four, new(scratch)
	copy(s.text[:], append(append([]byte{}, e.ServerID...), e.Nonce...))
	check := func(step string, got []byte) {
		t.Helper()
		if want := e.Steps[step]; want == nil || !bytes.Equal(got[:len(want)], want) {
			t.Errorf("%s is %x; want %x", step, got, want)
		}
	}
	octets := func(h half) []byte {
		b := make([]byte, 16)
		h.store(b)
		return b
	}
	left, right := f.split(s.text[:])
	check("left_0", octets(left))
	check("right_0", octets(right))
	right = right.xor(f.round(s, left, 1).and(f.rightMask))
	check("aes_in_1", s.in[:])
	check("aes_out_1", s.out[:])
	check("right_1", octets(right))
	left = left.xor(f.round(s, right, 2).and(f.leftMask))
	check("aes_in_2", s.in[:])
	check("aes_out_2", s.out[:])
	check("left_1", octets(left))
	right = right.xor(f.round(s, left, 3).and(f.rightMask))
	check("aes_in_3", s.in[:])
	check("aes_out_3", s.out[:])
	check("right_2", octets(right))
	left = left.xor(f.round(s, right, 4).and(f.leftMask))
	check("aes_in_4", s.in[:])
	check("aes_out_4", s.out[:])
	check("left_2", octets(left))
}

// TestOldDrafts checks that connection IDs of earlier drafts do not decode to the
// server that they were made for: a server of such a draft is not interoperable,
// and it must show at once rather than now and then.
func TestOldDrafts(t *testing.T) {
	var file struct {
		Rows []vector `json:"old_drafts"`
	}
	readJSON(t, "testdata/interop.json", &file)
	if len(file.Rows) != 9 {
		t.Fatalf("there are %d rows; want 9", len(file.Rows))
	}
	for _, v := range file.Rows {
		t.Run(v.Name, func(t *testing.T) {
			v.ConfigID = ConfigIDOf(v.CID[0]) // drafts before -17 had two bits for it
			set, err := NewSet(v.config(t))
			if err != nil {
				t.Fatal(err)
			}
			decoded, cause := set.Decode(v.CID)
			if cause != Decodable {
				t.Fatalf("cause is %v; want a server ID, of nobody", cause)
			}
			if decoded.ServerID.String() == hex.EncodeToString(v.ServerID) {
				t.Errorf("%x decodes to %v, as in %s", []byte(v.CID), decoded.ServerID, v.Name[:strings.LastIndex(v.Name, "-row")])
			}
		})
	}
}

// TestUnroutable runs the rows that must not decode.
func TestUnroutable(t *testing.T) {
	plain := func(id ConfigID) Config { return Config{ID: id, ServerIDLength: 3, NonceLength: 4} }
	configs := map[string][]Config{
		"any":                        {plain(0), plain(1), plain(2), plain(3), plain(4), plain(5), plain(6)},
		"0: sid 3 nonce 4 plaintext": {plain(0)},
		"only config 1":              {plain(1)},
	}
	causes := map[string]Cause{
		"config id 0b111": Codepoint111, "config id 0b111, one octet": Codepoint111,
		"7 octets, config 0 needs 1+3+4": TooShort, "config 0 not configured": NoConfig,
	}
	var file struct {
		Rows []struct {
			CID         hexBytes
			Why, Config string
		} `json:"must_be_unroutable"`
	}
	readJSON(t, "testdata/vectors.json", &file)
	if len(file.Rows) != 4 {
		t.Fatalf("there are %d rows; want 4", len(file.Rows))
	}
	for _, r := range file.Rows {
		t.Run(r.Why, func(t *testing.T) {
			want, ok := causes[r.Why]
			if !ok || configs[r.Config] == nil {
				t.Fatalf("row is not known here: %+v", r)
			}
			set, err := NewSet(configs[r.Config]...)
			if err != nil {
				t.Fatal(err)
			}
			if decoded, cause := set.Decode(r.CID); cause != want || decoded != (Decoded{}) {
				t.Errorf("got %v, %v; want %v", decoded, cause, want)
			}
			if e := set.Explain(r.CID); e.Cause != want || e.Config != ConfigIDOf(r.CID[0]) {
				t.Errorf("Explain gives %+v; want cause %v", e, want)
			}
			for id := range Unroutable {
				if c := set.Codec(id); c != nil {
					if _, cause := c.Decode(r.CID); cause == Decodable {
						t.Errorf("codec %d decodes it; want a cause", id)
					}
				}
			}
		})
	}
	set, err := NewSet()
	if err != nil {
		t.Fatal(err)
	}
	if _, cause := set.Decode(nil); cause != Empty {
		t.Errorf("an empty ID gives %v; want %v", cause, Empty)
	}
	if e := set.Explain(nil); e.Cause != Empty {
		t.Errorf("explaining an empty ID gives %v; want %v", e.Cause, Empty)
	}
	if set.Codec(Unroutable) != nil || set.Codec(200) != nil {
		t.Error("a set of none has a codec")
	}
}
