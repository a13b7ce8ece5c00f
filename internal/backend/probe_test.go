package backend

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"

	"github.com/mintmark/mintmark/internal/route"
)

// certificate returns one that nobody has reason to trust: it expired, and is
// for no name.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(-time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serve accepts at a loopback address, and gives each connection to handle,
// until the test ends.
func serve(t *testing.T, network, address string, handle func(net.Conn)) string {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	if network == "unix" {
		return "unix:" + ln.Addr().String()
	}
	return ln.Addr().String()
}

// probeOnce checks the server at address once.
func probeOnce(t *testing.T, address string, h route.HealthConfig, proxy route.ProxyVersion, timeout time.Duration) error {
	t.Helper()
	s := snapshotOf(t, nil, h, "a="+address)
	target := targetOf(serverOf(s, "a"))
	target.proxy = proxy
	w := newWatch(NewMonitor(Config{}), serverOf(s, "a"))
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return w.probe(ctx, target)
}

func TestProbeTLS(t *testing.T) {
	t.Parallel()
	cert := certificate(t)
	shake := func(cfg *tls.Config) func(net.Conn) {
		cfg.Certificates = []tls.Certificate{cert}
		return func(c net.Conn) {
			tc := tls.Server(c, cfg)
			if tc.HandshakeContext(context.Background()) == nil {
				_, _ = io.Copy(io.Discard, tc)
			}
		}
	}
	tlsCheck := route.HealthConfig{Type: route.HealthTLS, SNI: "www.example.com"}
	socket := filepath.Join(t.TempDir(), "s")
	for _, c := range []struct {
		name, network, address string
		handle                 func(net.Conn)
		want                   string // part of the error; "" for success
	}{
		{name: "a certificate that expired", handle: shake(&tls.Config{})},
		{name: "IPv6", network: "tcp6", address: "[::1]:0", handle: shake(&tls.Config{})},
		{name: "unix socket", network: "unix", address: socket, handle: shake(&tls.Config{})},
		{name: "TLS 1.2 only", handle: shake(&tls.Config{MaxVersion: tls.VersionTLS12})},
		{name: "TLS 1.0 only", handle: shake(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10})},
		{name: "client certificate, TLS 1.2", handle: shake(&tls.Config{MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert})},
		{name: "client certificate, TLS 1.3", handle: shake(&tls.Config{ClientAuth: tls.RequireAnyClientCert})},
		{
			name: "the name that was configured", handle: shake(&tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				if h.ServerName != "www.example.com" {
					return nil, errors.New("who?")
				}
				return nil, nil
			}}),
		},
		{
			name: "a server that refuses", want: "TLS handshake with",
			handle: shake(&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }}),
		},
		{
			name: "not TLS", want: "first record does not look like a TLS handshake",
			handle: func(c net.Conn) {
				_, _ = io.WriteString(c, "220 smtp.example ready\r\n")
				_, _ = io.Copy(io.Discard, c)
			},
		},
		{name: "closes", handle: func(net.Conn) {}, want: "TLS handshake with"},
		{name: "hangs", handle: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, want: "TLS handshake with"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.network == "" {
				c.network, c.address = "tcp4", "127.0.0.1:0"
			}
			timeout := 10 * time.Second
			if c.name == "hangs" {
				timeout = 100 * time.Millisecond
			}
			err := probeOnce(t, serve(t, c.network, c.address, c.handle), tlsCheck, route.ProxyNone, timeout)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got error %v; want %q", err, c.want)
			}
		})
	}
}

// Servers that expect a PROXY header get one that says the connection is the
// balancer's own, as another implementation reads it.
func TestProbeSendsProxyHeader(t *testing.T) {
	t.Parallel()
	cert := certificate(t)
	for version, want := range map[route.ProxyVersion]proxyproto.ProtocolVersionAndCommand{
		route.ProxyV1: proxyproto.LOCAL, // "PROXY UNKNOWN" reads as LOCAL
		route.ProxyV2: proxyproto.LOCAL,
	} {
		for _, kind := range []route.HealthType{route.HealthTCP, route.HealthTLS} {
			headers := make(chan *proxyproto.Header, 1)
			address := serve(t, "tcp4", "127.0.0.1:0", func(c net.Conn) {
				r := bufio.NewReader(c)
				h, err := proxyproto.Read(r)
				if err != nil {
					t.Errorf("version %v: reading the header: %v", version, err)
				}
				headers <- h
				if kind == route.HealthTLS {
					tc := tls.Server(bufferedConn{c, r}, &tls.Config{Certificates: []tls.Certificate{cert}})
					_ = tc.HandshakeContext(context.Background())
				}
			})
			if err := probeOnce(t, address, route.HealthConfig{Type: kind}, version, 10*time.Second); err != nil {
				t.Errorf("version %v, check %v: %v", version, kind, err)
			}
			if h := <-headers; h == nil || h.Command != want || int(h.Version) != int(version) {
				t.Errorf("version %v, check %v: got header %+v; want command %v", version, kind, h, want)
			}
		}
	}
}

type bufferedConn struct {
	net.Conn
	r io.Reader
}

func (c bufferedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

func TestProbeTCP(t *testing.T) {
	t.Parallel()
	address := serve(t, "tcp4", "127.0.0.1:0", func(net.Conn) {})
	if err := probeOnce(t, address, route.HealthConfig{Type: route.HealthTCP}, route.ProxyNone, 10*time.Second); err != nil {
		t.Errorf("a server that accepts: %v", err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := probeOnce(t, ln.Addr().String(), route.HealthConfig{Type: route.HealthTCP}, route.ProxyNone, 10*time.Second); err == nil {
		t.Error("a server that has gone: got no error")
	}
}

// The end of Run must not wait for the timeout of a handshake.
func TestProbeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	address := serve(t, "tcp4", "127.0.0.1:0", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	h := route.HealthConfig{Type: route.HealthTLS, Interval: time.Hour, Timeout: time.Hour}
	s := snapshotOf(t, nil, h, "a="+address)
	m := NewMonitor(Config{})
	m.Update(s)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Run goes on although its context has ended")
	}
	if !isUp(serverOf(s, "a")) {
		t.Error("a check that was cut off brought the server down")
	}
}
