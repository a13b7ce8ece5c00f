package idspace_test

import (
	"bytes"
	"crypto/aes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/quiclb"
)

const layoutGuide = "../docs/guides/connection-ids.md"

func octets(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestConnectionIDLayouts checks the rules and the connection IDs of the guide:
// each rule takes its own server's ID and leaves the other ones to nobody.
func TestConnectionIDLayouts(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile(layoutGuide)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name        string
		offset      int
		mask, value string
		cid, other  string
	}{
		{"AWS NLB", 1, "ffffffffffffffff", "0123456789abcdef", "00 0123456789abcdef 01020304050607", "00 0123456789abcdee 01020304050607"},
		{"Katran version 1", 0, "ffffc0", "448d00", "44 8d 3f 0102030405", "44 8d 40 0102030405"},
		{"Katran version 2", 0, "c0ffffff", "80001234", "bf 001234 01020304", "bf 001235 01020304"},
		{"Katran version 3", 0, "c0ffffffff", "c000001234", "ff 00001234 010203", "bf 00001234 010203"},
		{"msquic", 1, "ffffffff", "c000020a", "5e c000020a 0003 01020304050607", "5e c000020b 0003 01020304050607"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table, err := idspace.Compile([]idspace.Rule{{Owner: "a", Bits: &idspace.Bits{
				Offset: tt.offset, Mask: octets(t, tt.mask), Values: [][]byte{octets(t, tt.value)},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			// In a short header, the rest of the datagram follows.
			for _, rest := range []int{0, 1200} {
				cid := append(octets(t, tt.cid), make([]byte, rest)...)
				if m, ok := table.Lookup(idspace.FieldCIDShort, cid); !ok || table.Owners()[m.Owner] != "a" {
					t.Errorf("%s is nobody's", tt.cid)
				}
			}
			if _, ok := table.Lookup(idspace.FieldCIDShort, octets(t, tt.other)); ok {
				t.Errorf("%s has an owner", tt.other)
			}
			for _, s := range []string{`mask: "` + tt.mask + `"`, `values: ["` + tt.value + `"]`, "`" + tt.cid + "`"} {
				if !strings.Contains(string(guide), s) {
					t.Errorf("the guide lacks %s", s)
				}
			}
		})
	}
}

// TestNghttpxLayout mints as nghttpx does and decodes as QUIC-LB.
func TestNghttpxLayout(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile(layoutGuide)
	if err != nil {
		t.Fatal(err)
	}
	secret, salt := bytes.Repeat([]byte{0x11}, 32), bytes.Repeat([]byte{0x22}, 32)
	key, err := hkdf.Key(sha256.New, secret, salt, "connection id encryption key", quiclb.KeyLength)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	// Server ID, socket, random; the first octet says configuration 1.
	text := octets(t, "c0a80001 00000007 0102030405060708")
	cid := append([]byte{0x33}, make([]byte, aes.BlockSize)...)
	block.Encrypt(cid[1:], text)

	k, err := quiclb.NewKey(key)
	if err != nil {
		t.Fatal(err)
	}
	set, err := quiclb.NewSet(quiclb.Config{ID: 1, ServerIDLength: 4, NonceLength: 12, Key: k})
	if err != nil {
		t.Fatal(err)
	}
	decoded, cause := set.Decode(cid)
	if cause != quiclb.Decodable || decoded.ServerID.String() != "c0a80001" {
		t.Errorf("%x decodes to %v, %v; want c0a80001", cid, decoded.ServerID, cause)
	}
	for _, s := range []string{hex.EncodeToString(key), hex.EncodeToString(cid), decoded.ServerID.String()} {
		if !strings.Contains(string(guide), s) {
			t.Errorf("the guide lacks %s", s)
		}
	}
}
