package quicgo_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"net"
	"os"

	"github.com/quic-go/quic-go"

	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/mint"
	"github.com/mintmark/mintmark/mint/quicgo"
)

// A QUIC server whose connections come home. Its part of the configuration is
// in a file that is read again when it changes; with a control plane, Source is
// one of package mint/control.
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
	ids, err := quicgo.New(client, quicgo.Config{})
	if err != nil {
		panic(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: 4433})
	if err != nil {
		panic(err)
	}
	transport := &quic.Transport{Conn: conn, ConnectionIDGenerator: ids}
	listener, err := transport.Listen(&tls.Config{ /* certificates, NextProtos */ }, &quic.Config{})
	if err != nil {
		panic(err)
	}
	for {
		c, err := listener.Accept(ctx)
		if err != nil {
			return
		}
		_ = c.CloseWithError(0, "served")
	}
}

// The server ID that the AWS Load Balancer Controller gave to a pod, and the
// agent's adapter env to any other process. AWS wants IDs of 16 octets.
func ExampleNew_environment() {
	octets, err := base64.StdEncoding.DecodeString(os.Getenv("AWS_LBC_QUIC_SERVER_ID"))
	if err != nil {
		panic(err)
	}
	id, err := quiclb.NewServerID(octets)
	if err != nil {
		panic(err)
	}
	client, err := mint.Open(mint.Config{State: "mint.json", Source: mint.Fixed(mint.Assignment{Keys: []mint.Key{{
		Mint:   true,
		QUICLB: &mint.QUICLB{ServerID: id, Config: quiclb.Config{ServerIDLength: id.Len(), NonceLength: 7}},
	}}})})
	if err != nil {
		panic(err)
	}
	go func() { _ = client.Run(context.Background()) }()
	ids, err := quicgo.New(client, quicgo.Config{Length: 16})
	if err != nil {
		panic(err)
	}
	_ = &quic.Transport{ConnectionIDGenerator: ids}
}
