package l7

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/mintmark/mintmark/internal/route"
)

// An upstream is the connections to one server. They are used again for
// requests of any client.
type upstream struct {
	proxy     *Proxy
	server    atomic.Pointer[route.Server] // the newest one
	transport *http.Transport
	upgrades  *http.Transport // HTTP/1.1, for requests with Upgrade
	streams   *streams        // for extended CONNECT; nil when the server speaks HTTP/1.1

	// What the connections depend on. Others mean another upstream.
	address route.Address
	config  route.UpstreamConfig
}

// A dialError is an error of connecting: the request was not sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// upstreamOf returns the connections to s.
func (p *Proxy) upstreamOf(s *route.Server) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.upstreams[s.State]
	if u == nil {
		u = newUpstream(p, s)
		p.upstreams[s.State] = u
	}
	return u
}

// keepUpstreams gives each upstream the server of the new settings, and lets
// go of those that have none any more. Requests in progress go on.
func (p *Proxy) keepUpstreams(st *settings) {
	now := make(map[*route.State]*route.Server)
	for pool := range st.pools {
		for _, s := range pool.Servers {
			now[s.State] = s
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for state, u := range p.upstreams {
		s := now[state]
		if s != nil && u.fits(s) {
			u.server.Store(s)
			continue
		}
		delete(p.upstreams, state)
		u.close()
	}
}

func newUpstream(p *Proxy, s *route.Server) *upstream {
	u := &upstream{proxy: p, address: s.Config.Address, config: s.Pool.Config.Upstream}
	u.server.Store(s)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!u.config.HTTP2 || u.config.TLS != nil)
	protocols.SetHTTP2(u.config.HTTP2 && u.config.TLS != nil)
	protocols.SetUnencryptedHTTP2(u.config.HTTP2 && u.config.TLS == nil)
	u.transport = u.newTransport(protocols, u.config.HTTP2)
	u.upgrades = u.transport
	if u.config.HTTP2 {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		u.upgrades = u.newTransport(protocols, false)
		u.streams = u.newStreams()
	}
	return u
}

func (u *upstream) newTransport(protocols *http.Protocols, h2 bool) *http.Transport {
	return &http.Transport{
		DialContext: u.dial,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return u.dialALPN(ctx, network, address, h2)
		},
		Protocols:              protocols,
		DisableCompression:     true, // what the client did not ask for is not asked for
		MaxIdleConns:           0,    // per server is what counts
		MaxIdleConnsPerHost:    upstreamIdleConns,
		IdleConnTimeout:        upstreamIdle,
		ExpectContinueTimeout:  expectTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
}

// fits reports whether the connections can go on for s.
func (u *upstream) fits(s *route.Server) bool {
	return u.address == s.Config.Address && u.config == s.Pool.Config.Upstream
}

func (u *upstream) close() {
	u.transport.CloseIdleConnections()
	u.upgrades.CloseIdleConnections()
	if u.streams != nil {
		u.streams.close()
	}
}

// scheme is that of the URLs of requests to the server.
func (u *upstream) scheme() string {
	if u.config.TLS != nil {
		return "https"
	}
	return "http"
}

// dial connects. A connection may serve another request than the one that it
// was made for, so it does not end with that.
func (u *upstream) dial(context.Context, string, string) (net.Conn, error) {
	c, err := u.proxy.cfg.Dialer.Dial(u.proxy.running, u.server.Load(), u.proxy.settings.Load().ConnectTimeout)
	if err != nil {
		return nil, &dialError{err}
	}
	return c, nil
}

// dialALPN connects and shakes hands; h2 offers HTTP/2.
func (u *upstream) dialALPN(ctx context.Context, network, address string, h2 bool) (net.Conn, error) {
	nc, err := u.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	cfg := u.config.TLS.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = u.address.Host
	}
	cfg.NextProtos = []string{"http/1.1"}
	if h2 {
		cfg.NextProtos = []string{"h2", "http/1.1"}
	}
	c := tls.Client(nc, cfg)
	limited, cancel := context.WithTimeout(u.proxy.running, u.proxy.settings.Load().ConnectTimeout)
	defer cancel()
	if err := c.HandshakeContext(limited); err != nil {
		_ = nc.Close() // the handshake's error is the reason
		return nil, &dialError{fmt.Errorf("TLS handshake with %s: %w", u.address, err)}
	}
	return c, nil
}
