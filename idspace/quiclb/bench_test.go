package quiclb

import (
	"testing"
)

// benchConfigs are one configuration for each way that decoding can take.
var benchConfigs = []struct {
	name           string
	serverID, rand int
	keyed          bool
	short          bool // as in a short header: the rest of the datagram follows
}{
	{"plaintext/3+4", 3, 4, false, false},
	{"plaintext/3+4/short", 3, 4, false, true},
	{"single-pass/8+8", 8, 8, true, false},
	{"single-pass/8+8/short", 8, 8, true, true},
	{"three-of-four/3+4", 3, 4, true, false},
	{"three-of-four/3+4/short", 3, 4, true, true},
	{"three-of-four/9+9", 9, 9, true, false},
	{"three-of-four/9+9/short", 9, 9, true, true},
	{"four-of-four/10+5", 10, 5, true, false},
	{"four-of-four/10+5/short", 10, 5, true, true},
	{"four-of-four/15+4", 15, 4, true, false},
	{"four-of-four/15+4/short", 15, 4, true, true},
}

func benchConfig(tb testing.TB, id ConfigID, serverID, nonce int, keyed bool) Config {
	tb.Helper()
	c := Config{ID: id, ServerIDLength: serverID, NonceLength: nonce}
	if keyed {
		var err error
		if c.Key, err = NewKey([]byte("0123456789abcdef")); err != nil {
			tb.Fatal(err)
		}
	}
	return c
}

func benchMinter(tb testing.TB, c Config) *Minter {
	tb.Helper()
	id, err := NewServerID([]byte("abcdefghijklmno")[:c.ServerIDLength])
	if err != nil {
		tb.Fatal(err)
	}
	m, err := NewMinter(MinterConfig{Config: c, ServerID: id, EncodeLength: true})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func BenchmarkSetDecode(b *testing.B) {
	for _, bc := range benchConfigs {
		b.Run(bc.name, func(b *testing.B) {
			config := benchConfig(b, 2, bc.serverID, bc.rand, bc.keyed)
			set, err := NewSet(config)
			if err != nil {
				b.Fatal(err)
			}
			cid, err := benchMinter(b, config).Append(nil)
			if err != nil {
				b.Fatal(err)
			}
			if bc.short {
				cid = append(cid, make([]byte, 1200)...)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, cause := set.Decode(cid); cause != Decodable {
					b.Fatal(cause)
				}
			}
		})
	}
}

func BenchmarkMinterAppend(b *testing.B) {
	for _, bc := range benchConfigs {
		b.Run(bc.name, func(b *testing.B) {
			m := benchMinter(b, benchConfig(b, 2, bc.serverID, bc.rand, bc.keyed))
			buf := make([]byte, 0, MaxLength)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Append(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
