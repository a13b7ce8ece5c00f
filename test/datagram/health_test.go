package datagram

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/quic-go/quic-go"

	"github.com/mintmark/mintmark/internal/backend"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/test/lab"
)

// check asks a server once, as the balancer does, and says what came of it.
func check(t *testing.T, address string, kind route.HealthType, limit time.Duration) backend.Status {
	t.Helper()
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := route.NewPool(route.PoolConfig{
		Name: "p", Policy: route.Hash, Health: route.HealthConfig{Type: kind, Interval: limit, Timeout: limit},
		Servers: []route.ServerConfig{{
			Name: "a", Weight: 1, Address: route.Address{Network: "tcp", Host: at.Addr().String(), Port: at.Port()},
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := backend.NewMonitor(backend.Config{})
	m.Update(&route.Snapshot{Pools: map[route.PoolName]*route.Pool{"p": pool}})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = m.Run(ctx) })
	defer wg.Wait()
	defer stop()
	if err := m.WaitFirstRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, _ := m.Status(pool.Servers[0])
	return status
}

// Checks by datagrams find real servers up, and take each for what it is.
func TestHealthOfRealServers(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(_ *quicServer, ln *quic.Listener) {
		for {
			if _, err := ln.Accept(context.Background()); err != nil {
				return
			}
		}
	}, fourPass)
	quicGo := f.servers[0].addr

	cert, err := tls.LoadX509KeyPair(f.cert.CertFile, f.cert.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := dtls.ListenWithOptions("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, dtls.WithCertificates(cert))
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			accepting.Go(func() {
				_ = conn.(*dtls.Conn).HandshakeContext(t.Context())
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		accepting.Wait()
	})
	pionServer := ln.Addr().String()

	openssl := map[string]string{
		"openssl, DTLS 1.2": lab.StartOpenSSLDTLS(t, f.cert, "-dtls1_2").Addr,
		"openssl, cookies":  lab.StartOpenSSLDTLS(t, f.cert, "-dtls", "-listen").Addr,
	}
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })

	for name, tc := range map[string]struct {
		address string
		kind    route.HealthType
		up      bool
	}{
		"quic-go":                 {quicGo, route.HealthQUIC, true},
		"pion":                    {pionServer, route.HealthDTLS, true},
		"openssl, DTLS 1.2":       {openssl["openssl, DTLS 1.2"], route.HealthDTLS, true},
		"openssl, cookies":        {openssl["openssl, cookies"], route.HealthDTLS, true},
		"quic-go, asked for DTLS": {quicGo, route.HealthDTLS, false},
		"pion, asked for QUIC":    {pionServer, route.HealthQUIC, false},
		"silence":                 {silent.LocalAddr().String(), route.HealthQUIC, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := time.Second // in which there is no answer
			if tc.up {
				limit = settleLimit // in which a busy machine comes to it
			}
			if got := check(t, tc.address, tc.kind, limit); got.Up != tc.up {
				t.Errorf("up: %v, %s; want %v", got.Up, got.LastError, tc.up)
			}
		})
	}
}
