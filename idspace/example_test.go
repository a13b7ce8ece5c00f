package idspace_test

import (
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/idspace"
)

// Two servers put a mark of their own at the head of the IDs that they mint.
func ExampleCompile() {
	table, err := idspace.Compile([]idspace.Rule{
		{Owner: "a", Range: &idspace.Range{From: []byte{0x4d, 0, 0, 0}, To: []byte{0x4d, 0, 0, 0xff}}},
		{Owner: "b", Bits: idspace.Prefix("b-"), Fields: idspace.Fields(idspace.FieldCookie)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, message := range []struct {
		field idspace.Field
		id    string
	}{
		{idspace.FieldTicket, "\x4d\x00\x00\x2arest of the ticket"},
		{idspace.FieldCookie, "b-8f14e45f"},
		{idspace.FieldHeader, "b-8f14e45f"},
	} {
		match, ok := table.Lookup(message.field, []byte(message.id))
		if !ok {
			fmt.Printf("%v %q is nobody's\n", message.field, message.id)
			continue
		}
		fmt.Printf("%v %q is of %s, by %v\n", message.field, message.id,
			table.Owners()[match.Owner], table.Rules()[match.Rule])
	}
	// Output:
	// ticket "M\x00\x00*rest of the ticket" is of a, by range 4d000000-4d0000ff
	// cookie "b-8f14e45f" is of b, by prefix "b-" (field cookie)
	// header "b-8f14e45f" is nobody's
}

// Rules that overlap are refused, and the error says for which ID.
func ExampleOverlapError() {
	_, err := idspace.Compile([]idspace.Rule{
		{Owner: "a", Source: "servers[0].ids[0]", Bits: idspace.Prefix("a-")},
		{Owner: "b", Source: "servers[1].ids[0]", Bits: idspace.Suffix("-b")},
	})
	if overlap, ok := errors.AsType[*idspace.OverlapError](err); ok {
		fmt.Printf("%s and %s both claim %q\n", overlap.FirstRule.Owner, overlap.SecondRule.Owner, overlap.Witness)
		fmt.Println(overlap)
	}
	// Output:
	// a and b both claim "a--b"
	// servers[0].ids[0] (owner "a", prefix "a-") and servers[1].ids[0] (owner "b", suffix "-b") both claim the ID 612d2d62 ("a--b"); change or remove one of them
}

// A mask of any shape: the high half of the second and the low half of the
// third byte, in IDs of 8 bytes.
func ExampleBits() {
	rule := idspace.Rule{Owner: "a", Bits: &idspace.Bits{
		Offset:   1,
		IDLength: 8,
		Mask:     []byte{0xf0, 0x0f},
		Values:   [][]byte{{0xa0, 0x05}, {0xa0, 0x06}},
	}}
	fmt.Println(rule)
	fmt.Println(rule.Matches(idspace.FieldCIDShort, []byte{0x00, 0xa7, 0xd5, 0, 0, 0, 0, 0}))
	fmt.Println(rule.Matches(idspace.FieldCIDShort, []byte{0x00, 0xa7, 0xd5, 0, 0, 0, 0}))
	// Output:
	// bits offset 1 mask f00f id length 8 values a005, a006
	// true
	// false
}

// modulo is a Function: the first byte of an ID, modulo 16, is the number of
// the server.
type modulo struct{}

func (modulo) Lookup(_ idspace.Field, id []byte) (server uint32, generation uint8, ok bool) {
	if len(id) == 0 {
		return 0, 0, false
	}
	return uint32(id[0] % 16), 0, true
}

func ExampleCompileFunction() {
	table, err := idspace.CompileFunction(modulo{}, map[uint32]idspace.Owner{3: "a", 4: "b"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, id := range []string{"\x13", "\x24", "\x35"} {
		if match, ok := table.Lookup(idspace.FieldBytes, []byte(id)); ok {
			fmt.Printf("%x is of %s\n", id, table.Owners()[match.Owner])
		} else {
			fmt.Printf("%x is nobody's\n", id)
		}
	}
	// Output:
	// 13 is of a
	// 24 is of b
	// 35 is nobody's
}

// A random value is taken for one of these IDs with a chance of 3 in 256.
func ExampleTable_Share() {
	table, err := idspace.Compile([]idspace.Rule{
		{Owner: "a", Range: &idspace.Range{From: []byte{0x10}, To: []byte{0x11}}},
		{Owner: "b", Range: &idspace.Range{From: []byte{0x20, 0x00}, To: []byte{0x20, 0xff}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	share := table.Share(idspace.FieldTicket)
	for i, owner := range table.Owners() {
		fmt.Printf("%s has %v\n", owner, share.Owners[i])
	}
	fmt.Printf("nobody has the rest of %v\n", share.Total)
	fmt.Println(table.AssignedShare(idspace.FieldTicket) <= 1.0/65536)
	// Output:
	// a has 1/128
	// b has 1/256
	// nobody has the rest of 3/256
	// false
}
