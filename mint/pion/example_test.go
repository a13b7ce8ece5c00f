package pion_test

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/pion/dtls/v3"

	"github.com/mintmark/mintmark/mint"
	"github.com/mintmark/mintmark/mint/pion"
)

// A DTLS server whose associations come home. Its part of the space of
// connection IDs is in a file; with a control plane, Source is one of package
// mint/control.
func Example() {
	ctx := context.Background()
	client, err := mint.Open(mint.Config{State: "mint.json", Source: mint.File("assignment.json")})
	if err != nil {
		panic(err)
	}
	go func() { _ = client.Run(ctx) }()
	if err := client.Wait(ctx); err != nil {
		panic(err)
	}
	ids, err := pion.WithConnectionIDs(client, pion.Config{Length: 8})
	if err != nil {
		panic(err)
	}
	listener, err := dtls.ListenWithOptions("udp", &net.UDPAddr{Port: 5684}, ids, dtls.WithCertificates(tls.Certificate{}))
	if err != nil {
		panic(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}
