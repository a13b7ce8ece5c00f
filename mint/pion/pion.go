// Package pion lets a DTLS server of pion/dtls mint connection IDs (RFC 9146)
// by which Mintmark's balancers find it again, whatever becomes of the client's
// address or of the balancer.
//
//	client, err := mint.Open(mint.Config{State: "mint.json", Source: source})
//	go client.Run(ctx)
//	err = client.Wait(ctx)
//	ids, err := pion.WithConnectionIDs(client, pion.Config{Length: 8})
//	listener, err := dtls.ListenWithOptions("udp", addr, ids, ...)
//
// A DTLS 1.2 association keeps its ID for life, so a generation must live with
// the balancers as long as associations made under it do. The length of IDs is
// not on the wire: it is the pool's cid_length in the balancer's configuration.
//
// The package is a module of its own, so that pion is no dependency of package
// mint.
package pion

import (
	"github.com/pion/dtls/v3"

	"github.com/mintmark/mintmark/mint"
)

// Config says what connection IDs look like. All servers of a pool have one
// Length.
type Config = mint.ConnectionIDConfig

// WithConnectionIDs is an option of a server of pion/dtls: its connection IDs
// are those of c.
func WithConnectionIDs(c *mint.Client, cfg Config) (dtls.Option, error) {
	generate, err := Generator(c, cfg)
	if err != nil {
		return nil, err
	}
	return dtls.WithConnectionIDGenerator(generate), nil
}

// Generator returns a function for dtls.WithConnectionIDGenerator. It is safe
// for concurrent use. pion calls it once for each association, and once to
// learn the length.
//
// Without an assignment, and when nonces of QUIC-LB are used up, it mints IDs
// that are nobody's, which balancers route by the client's address.
func Generator(c *mint.Client, cfg Config) (func() []byte, error) {
	ids, err := c.ConnectionIDs(cfg)
	if err != nil {
		return nil, err
	}
	return func() []byte { return ids.Append(make([]byte, 0, ids.Length())) }, nil
}
