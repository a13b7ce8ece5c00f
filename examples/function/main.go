// Command function is a balancer with an ID function of its own.
//
// Its servers mint tickets that begin with the two bytes "sh", the number of
// a shard (16 bits, big-endian) and a check byte. Which server has which
// shard is arithmetic, so there is no table, however many shards there are.
//
// Run it like the mintmark command:
//
//	go run ./examples/function -c examples/function/function.yaml
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/idspace"
)

// markLength is how many bytes of an ID the function reads.
const markLength = 5

// shards is the function from ID to server number: server n of count has
// every shard that leaves n when divided by count. It has no state, so it is
// safe for concurrent use.
type shards struct{ count uint32 }

// Lookup is part of idspace.Function.
func (f shards) Lookup(_ idspace.Field, id []byte) (server uint32, generation uint8, ok bool) {
	if len(id) < markLength || id[0] != 's' || id[1] != 'h' || id[4] != check(id[2], id[3]) {
		return 0, 0, false
	}
	return uint32(binary.BigEndian.Uint16(id[2:])) % f.count, 0, true
}

// check keeps most of the IDs that others minted from being taken for ours.
func check(a, b byte) byte { return a*31 ^ b*17 ^ 0x5a }

func main() {
	file := flag.String("c", "function.yaml", "configuration `FILE`")
	flag.Parse()
	if err := run(context.Background(), *file, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run runs the balancer until a signal ends it.
func run(ctx context.Context, file string, onReady func(adminAddress string)) error {
	return mintmark.Run(ctx, mintmark.Options{
		ConfigFile: file,
		Functions:  map[string]idspace.Function{"shards": shards{count: 3}},
		Logger:     slog.New(slog.NewTextHandler(os.Stderr, nil)),
		OnReady:    onReady,
	})
}
