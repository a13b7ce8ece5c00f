package route

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
)

// The sizes of a table, both prime. A step between two sizes moves nearly all
// clients, so there are no more than two.
const (
	maglevSize  = 65537
	maglevSmall = 4093
	// maglevShare is how many slots of the small table the lightest server
	// must have for the table to be balanced well enough: at 100 the servers
	// are within about 1 % of their weights.
	maglevShare = 100
)

// newMaglev fills the table of the policy Hash, which describes it, with
// indexes of members. It returns nil when no server has a weight. It takes
// about 4 ms for the large table.
func newMaglev(members []*Server) []uint16 {
	var order []uint16
	var heaviest, total int64
	lightest := int64(MaxWeight)
	for i, s := range members {
		if s.weight > 0 {
			order = append(order, uint16(i))
			heaviest, lightest = max(heaviest, s.weight), min(lightest, s.weight)
			total += s.weight
		}
	}
	if len(order) == 0 {
		return nil
	}
	// By name, so that the order in which servers are written means nothing.
	slices.SortFunc(order, func(a, b uint16) int {
		return strings.Compare(string(members[a].Config.Name), string(members[b].Config.Name))
	})
	size := uint64(maglevSmall)
	if lightest*maglevSmall < maglevShare*total {
		size = maglevSize
	}

	type walk struct {
		next, skip uint64
		credit     int64
	}
	walks := make([]walk, len(order))
	for i, m := range order {
		s := members[m]
		name := append([]byte(s.Config.Name), 0xff)
		walks[i] = walk{
			next:   hash(name[:len(name)-1]) % size,
			skip:   hash(name)%(size-1) + 1,
			credit: heaviest - s.weight, // so that even the lightest has a slot in the first round
		}
	}
	const free = 1<<16 - 1 // above MaxServers
	table := make([]uint16, size)
	for i := range table {
		table[i] = free
	}
	for filled := uint64(0); ; {
		for i, m := range order {
			w := &walks[i]
			if w.credit += members[m].weight; w.credit < heaviest {
				continue
			}
			w.credit -= heaviest
			for table[w.next] != free {
				w.next = (w.next + w.skip) % size
			}
			table[w.next] = m
			if filled++; filled == size {
				return table
			}
		}
	}
}

// slotOf returns the slot, of n, of a client.
func slotOf(f *Facts, n int) int {
	var b [18]byte
	address := f.Client.Addr().As16()
	length := copy(b[:], address[:])
	if f.HashPort {
		binary.BigEndian.PutUint16(b[length:], f.Client.Port())
		length += 2
	}
	slot, _ := bits.Mul64(hash(b[:length]), uint64(n))
	return int(slot)
}

// hash is FNV-1a of 64 bits, then the finalizer of MurmurHash3, without which
// the upper bits would hardly depend on the last bytes. It is written out
// because replicas, and other programs that compute the same table, must agree
// on every bit of it.
func hash(b []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
