package idspace

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestWordTable compares a wordTable with a map. A weak hash makes collisions
// of tags and of groups, which no seed of the real one makes often.
func TestWordTable(t *testing.T) {
	t.Parallel()
	hashes := map[string]wordHash{"real": newWordHash(), "weak": {0, 1 << 40, 1 << 40}, "constant": {}}
	for name, hash := range hashes {
		for words := 1; words <= 4; words++ {
			t.Run(fmt.Sprintf("%s hash, %d words", name, words), rapid.MakeCheck(func(t *rapid.T) {
				n := rapid.IntRange(0, 100).Draw(t, "n")
				table := newWordTable(words, n, hash)
				model := make(map[word256]uint64)
				key := rapid.Custom(func(t *rapid.T) (key word256) {
					for i := range words {
						key[i] = rapid.SampledFrom([]uint64{0, 1, 2, 1 << 63, 1<<63 | 1, ^uint64(0)}).Draw(t, "word")
					}
					key[0] ^= rapid.Uint64Range(0, 50).Draw(t, "change")
					return key
				})
				for i := range n {
					k := key.Draw(t, "key")
					if _, ok := model[k]; !ok {
						model[k] = uint64(i)
					}
					table.insert(&k, uint64(i))
				}
				check := func(k word256) {
					want, wantOK := model[k]
					if got, ok := table.find(&k); ok != wantOK || got != want {
						t.Fatalf("find(%x) = %d, %v; want %d, %v", k, got, ok, want, wantOK)
					}
					if words > 1 {
						return
					}
					if got, ok := table.find1(k[0]); ok != wantOK || got != want {
						t.Fatalf("find1(%x) = %d, %v; want %d, %v", k, got, ok, want, wantOK)
					}
				}
				for k := range model {
					check(k)
				}
				for range 50 {
					check(key.Draw(t, "other key"))
				}
			}))
		}
	}
}

func TestWordTableTakesAllPositions(t *testing.T) {
	t.Parallel()
	for _, position := range []int{0, 1, 0xffff, 0x10000, 0x123456, maxWordTableEntries - 1} {
		var g slotGroup
		for i := range 8 {
			g.set(g.empty(), uint64(i), position^i)
		}
		if g.empty() != 0 {
			t.Fatalf("a group with 8 entries has empty slots: %x", g)
		}
		for i := range 8 {
			slots := g.matching(uint64(i))
			if slots == 0 {
				t.Fatalf("no slot has the tag %d", i)
			}
			if got := g.position(slots); got != position^i {
				t.Errorf("tag %d: got position %x; want %x", i, got, position^i)
			}
		}
	}
}

// TestWordHashSpreads fills tables with the values that people write and looks
// at how far lookups have to go. With a hash that spreads well, a group of 8
// with at most 4 on average overflows rarely, and long runs of full groups do
// not occur.
func TestWordHashSpreads(t *testing.T) {
	t.Parallel()
	const n = 1 << 14
	for name, value := range map[string]func(i uint64) word256{
		"count":               func(i uint64) word256 { return word256{i} },
		"count in the head":   func(i uint64) word256 { return word256{i << 50} },
		"count in the middle": func(i uint64) word256 { return word256{0x4d4d<<48 | i<<24} },
		"multiples":           func(i uint64) word256 { return word256{i * 0x0101010101010101} },
		"text":                func(i uint64) word256 { return load256(fmt.Appendf(nil, "%08d", i)) },
		"long text":           func(i uint64) word256 { return load256(fmt.Appendf(nil, "server-%025d", i)) },
		"equal words":         func(i uint64) word256 { return word256{i, i, i, i} },
		"two counts":          func(i uint64) word256 { return word256{1: i % 128, 3: i / 128} },
		"one bit":             func(i uint64) word256 { return word256{1<<(i%64) ^ i/64<<20} },
	} {
		// A table can have bad luck: with a hash that spreads, about one in ten
		// thousand has. Two in ten have a bad hash.
		crowded, worst := 0, 0
		for range 10 {
			words := len(word256{})
			if value(n - 1)[3] == 0 {
				words = 1
			}
			table := newWordTable(words, n, newWordHash())
			for i := range uint64(n) {
				key := value(i)
				table.insert(&key, 0)
			}
			longest, run := 0, 0
			for i := range 2 * len(table.groups) {
				if run++; table.group(uint64(i)).empty() != 0 {
					run = 0
				}
				longest = max(longest, run)
			}
			if longest > 8 {
				crowded, worst = crowded+1, max(worst, longest)
			}
		}
		if crowded > 1 {
			t.Errorf("%s: in %d of 10 tables there are up to %d full groups in a row", name, crowded, worst)
		}
	}
}

func TestByteFilter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		bits   Bits
		at     int
		passes []byte
		fails  []byte
	}{
		{"the byte with fewest values", Bits{Mask: []byte{0xff, 0xff}, Values: [][]byte{{1, 7}, {2, 7}}}, 1, []byte{7}, []byte{0, 1, 2, 6, 8, 0x87}},
		{"beyond the first word", Bits{Mask: []byte{0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0xff}, Values: [][]byte{{9: 0xee}}}, 9, []byte{0xee}, []byte{0, 0xef}},
		{"few bits of a byte", Bits{Mask: []byte{0x1c, 0xff}, Values: [][]byte{{0x10, 0x01}, {0x10, 0x02}}}, 1, []byte{1, 2}, []byte{0, 3, 0x81}},
		{"of bits that are selected", Bits{Mask: []byte{0xf0, 0x01}, Values: [][]byte{{0x10, 0}, {0x20, 1}}}, 0, []byte{0x1f, 0x10, 0x2a}, []byte{0x00, 0x3f, 0x91}},
	} {
		test.bits.Offset = 3
		table := mustCompile(t, []Rule{{Owner: "a", Bits: &test.bits}})
		f := table.classes[0].bits[0].filter
		if f.at != test.at {
			t.Errorf("%s: filters byte %d; want %d", test.name, f.at, test.at)
		}
		for _, c := range test.passes {
			if !f.passes(c) {
				t.Errorf("%s: %02x does not pass", test.name, c)
			}
		}
		for _, c := range test.fails {
			if f.passes(c) {
				t.Errorf("%s: %02x passes", test.name, c)
			}
		}
	}
}
