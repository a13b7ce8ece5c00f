// Package quicgo lets a quic-go server mint connection IDs by which Mintmark's
// balancers find it again: in QUIC-LB, plaintext or encrypted, or in any other
// scheme that its mint.Client knows. A client that changes its address stays
// with its server, and so does one whose balancer is replaced.
//
//	client, err := mint.Open(mint.Config{State: "mint.json", Source: source})
//	go client.Run(ctx)
//	err = client.Wait(ctx)
//	ids, err := quicgo.New(client, quicgo.Config{})
//	transport := &quic.Transport{Conn: conn, ConnectionIDGenerator: ids}
//	listener, err := transport.Listen(tlsConfig, quicConfig)
//
// A rotation of configurations needs nothing from the server: IDs are minted
// under the new one from then on. quic-go has no way to take IDs back, so
// connections keep theirs until they end or their client has used them up, and
// the old configuration must stay with the balancers until then.
//
// Set Transport.StatelessResetKey too, to a key that survives a restart: then
// clients of a server that restarted learn of it at once.
//
// The package is a module of its own, so that quic-go is no dependency of
// package mint.
package quicgo

import (
	"fmt"

	"github.com/quic-go/quic-go"

	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/mint"
)

// Config says what connection IDs look like. Length is 8 at least.
type Config = mint.ConnectionIDConfig

// A Generator is a quic.ConnectionIDGenerator. It is safe for concurrent use.
type Generator struct{ ids *mint.ConnectionIDs }

var _ quic.ConnectionIDGenerator = (*Generator)(nil)

// New returns a Generator of the connection IDs of c. Without an assignment,
// and when nonces are used up, it mints IDs that begin with the codepoint
// 0b111, which balancers route by the client's address.
func New(c *mint.Client, cfg Config) (*Generator, error) {
	if cfg.Length != 0 && cfg.Length < quiclb.MinUnroutableLength {
		return nil, fmt.Errorf("quicgo: connection IDs of %d octets; they have %d to %d, or Length is left 0",
			cfg.Length, quiclb.MinUnroutableLength, quiclb.MaxLength)
	}
	ids, err := c.ConnectionIDs(cfg)
	if err != nil {
		return nil, err
	}
	return &Generator{ids}, nil
}

// GenerateConnectionID implements quic.ConnectionIDGenerator. It never fails:
// a connection that cannot be routed after a change of address is better than
// none.
func (g *Generator) GenerateConnectionID() (quic.ConnectionID, error) {
	var buf [quiclb.MaxLength]byte
	return quic.ConnectionIDFromBytes(g.ids.Append(buf[:0])), nil
}

// ConnectionIDLen implements quic.ConnectionIDGenerator.
func (g *Generator) ConnectionIDLen() int { return g.ids.Length() }

// Unroutable returns how many IDs were minted that balancers cannot route.
func (g *Generator) Unroutable() uint64 { return g.ids.Unroutable() }
