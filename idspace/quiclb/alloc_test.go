//go:build !race

// The race detector makes sync.Pool drop a part of what is put into it, here and
// in crypto/rand, so allocations can only be counted without it.

package quiclb

import "testing"

func TestDecodeAndMintDoNotAllocate(t *testing.T) {
	for _, bc := range benchConfigs {
		t.Run(bc.name, func(t *testing.T) {
			config := benchConfig(t, 2, bc.serverID, bc.rand, bc.keyed)
			set, err := NewSet(config)
			if err != nil {
				t.Fatal(err)
			}
			m := benchMinter(t, config)
			buf := make([]byte, 0, MaxLength)
			cid, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if n := testing.AllocsPerRun(1000, func() { set.Decode(cid) }); n != 0 {
				t.Errorf("Decode allocates %v times; want 0", n)
			}
			if n := testing.AllocsPerRun(1000, func() { _, _ = m.Append(buf) }); n != 0 {
				t.Errorf("Append allocates %v times; want 0", n)
			}
		})
	}
}
