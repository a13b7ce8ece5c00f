package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
)

// maxCheckHeader bounds the header of the answer to a check, against a server
// that has gone wrong.
const maxCheckHeader = 64 << 10

var errSecondConn = errors.New("a check has one connection")

// ask sends a GET request over conn, speaking as the pool's upstream says, and
// expects a status from 200 to 399. The body is not read.
func ask(ctx context.Context, conn net.Conn, t target) error {
	var used atomic.Bool
	give := func(ctx context.Context) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errSecondConn
		}
		if t.upstream.TLS == nil {
			return conn, nil
		}
		cfg := t.upstream.TLS.Clone()
		if cfg.ServerName == "" {
			cfg.ServerName = t.address.Host
		}
		cfg.NextProtos = []string{"http/1.1"}
		if t.upstream.HTTP2 {
			cfg.NextProtos = []string{"h2", "http/1.1"}
		}
		c := tls.Client(conn, cfg)
		if err := c.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		return c, nil
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!t.upstream.HTTP2 || t.upstream.TLS != nil)
	protocols.SetHTTP2(t.upstream.HTTP2 && t.upstream.TLS != nil)
	protocols.SetUnencryptedHTTP2(t.upstream.HTTP2 && t.upstream.TLS == nil)
	transport := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return give(ctx) },
		DialTLSContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return give(ctx) },
		Protocols:              protocols,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxCheckHeader,
	}
	defer transport.CloseIdleConnections()
	scheme := "http"
	if t.upstream.TLS != nil {
		scheme = "https"
	}
	path, err := url.ParseRequestURI(t.health.Path)
	if err != nil {
		return fmt.Errorf("reading the path of the check: %w", err)
	}
	host := t.health.Host
	if host == "" {
		host = t.address.String()
		if t.address.Network == "unix" {
			host = "localhost"
		}
	}
	path.Scheme, path.Host = scheme, host
	r := (&http.Request{
		Method: http.MethodGet, URL: path, Host: host, Header: http.Header{"User-Agent": {"mintmark-health-check"}},
	}).WithContext(ctx)
	res, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	_ = res.Body.Close() // the status is the answer
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return fmt.Errorf("it answers %s", res.Status)
	}
	return nil
}
