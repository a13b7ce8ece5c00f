package quiclb_test

import (
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/idspace/quiclb"
)

// A server mints, a balancer decodes.
func Example() {
	key, err := quiclb.ParseKey("fdf726a9893ec05c0632d3956680baf0")
	if err != nil {
		panic(err)
	}
	config := quiclb.Config{ID: 1, ServerIDLength: 3, NonceLength: 5, Key: key}

	// At the server.
	self, err := quiclb.ParseServerID("31441a")
	if err != nil {
		panic(err)
	}
	minter, err := quiclb.NewMinter(quiclb.MinterConfig{Config: config, ServerID: self})
	if err != nil {
		panic(err)
	}
	cid, err := minter.Append(nil)
	if err != nil {
		panic(err)
	}

	// At the balancer.
	set, err := quiclb.NewSet(config)
	if err != nil {
		panic(err)
	}
	decoded, cause := set.Decode(cid)
	fmt.Println(len(cid), decoded.Config, decoded.ServerID, cause)
	// Output: 9 1 31441a decodable
}

// A balancer routes by the server ID, and tells why it cannot.
func ExampleSet_Decode() {
	set, err := quiclb.NewSet(quiclb.Config{ID: 0, ServerIDLength: 3, NonceLength: 4})
	if err != nil {
		panic(err)
	}
	a, err := quiclb.ParseServerID("c4605e")
	if err != nil {
		panic(err)
	}
	servers := map[quiclb.ServerID]string{a: "server a"}

	for _, cid := range [][]byte{
		{0x07, 0xc4, 0x60, 0x5e, 0x45, 0x04, 0xcc, 0x4f},
		{0x07, 0xc4, 0x60, 0x5e, 0x45, 0x04, 0xcc, 0x4f, 0x99}, // one octet more
		{0x07, 0xff, 0xff, 0xff, 0x45, 0x04, 0xcc, 0x4f},
		{0x27, 0xc4, 0x60, 0x5e, 0x45, 0x04, 0xcc, 0x4f},
		{0xe7, 0xc4, 0x60, 0x5e, 0x45, 0x04, 0xcc, 0x4f},
		{0x07, 0xc4, 0x60},
	} {
		decoded, cause := set.Decode(cid)
		server, ok := servers[decoded.ServerID]
		switch {
		case cause != quiclb.Decodable:
			fmt.Println("unroutable:", cause)
		case !ok:
			fmt.Println("unroutable: nobody's server ID")
		default:
			fmt.Println(server)
		}
	}
	// Output:
	// server a
	// server a
	// unroutable: nobody's server ID
	// unroutable: no_config
	// unroutable: codepoint_111
	// unroutable: too_short
}

// The draft's own example, taken apart.
func ExampleSet_Explain() {
	key, err := quiclb.ParseKey("fdf726a9893ec05c0632d3956680baf0")
	if err != nil {
		panic(err)
	}
	set, err := quiclb.NewSet(quiclb.Config{ID: 0, ServerIDLength: 3, NonceLength: 4, Key: key})
	if err != nil {
		panic(err)
	}
	e := set.Explain([]byte{0x07, 0x67, 0x94, 0x7d, 0x29, 0xbe, 0x05, 0x4a})
	fmt.Printf("%v: configuration %d, %v, server ID %v, nonce %x\n", e.Cause, e.Config, e.Algorithm, e.ServerID, e.Nonce)
	// Output: decodable: configuration 0, four-pass, server ID 31441a, nonce 9c69c275
}

// A codec writes a connection ID of given parts, as a test of another
// implementation needs it.
func ExampleCodec_Append() {
	codec, err := quiclb.New(quiclb.Config{ID: 2, ServerIDLength: 3, NonceLength: 4})
	if err != nil {
		panic(err)
	}
	self, err := quiclb.ParseServerID("c4605e")
	if err != nil {
		panic(err)
	}
	cid, err := codec.Append(nil, byte(codec.Length()-1), self, []byte{0x45, 0x04, 0xcc, 0x4f}, nil)
	fmt.Printf("%x %v\n", cid, err)
	// Output: 47c4605e4504cc4f <nil>
}

// Two processes of one server mint from parts of one range, so that they never
// mint the same ID. When a part is used up, the process mints unroutable IDs until
// it gets another configuration.
func ExampleNonceRange_Split() {
	config := quiclb.Config{ID: 0, ServerIDLength: 1, NonceLength: 4}
	self, err := quiclb.ParseServerID("2a")
	if err != nil {
		panic(err)
	}
	first, rest, err := quiclb.RandomRange(config.NonceLength, true).Split(2)
	if err != nil {
		panic(err)
	}
	fmt.Println(first.Count, rest.Count)

	nonces, err := quiclb.NewNonces(first)
	if err != nil {
		panic(err)
	}
	minter, err := quiclb.NewMinter(quiclb.MinterConfig{Config: config, ServerID: self, Nonces: nonces})
	if err != nil {
		panic(err)
	}
	for range 3 {
		cid, err := minter.Append(nil)
		if errors.Is(err, quiclb.ErrExhausted) {
			cid, err = quiclb.AppendUnroutable(nil, quiclb.MinUnroutableLength)
		}
		fmt.Println(quiclb.ConfigIDOf(cid[0]), len(cid), err)
	}
	// Output:
	// 2 4294967294
	// 0 6 <nil>
	// 0 6 <nil>
	// 7 8 <nil>
}

// A server without a configuration mints IDs that balancers route by address.
func ExampleAppendUnroutable() {
	cid, err := quiclb.AppendUnroutable(nil, 8)
	fmt.Println(quiclb.ConfigIDOf(cid[0]) == quiclb.Unroutable, len(cid), err)
	// Output: true 8 <nil>
}
