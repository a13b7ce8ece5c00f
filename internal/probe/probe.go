// Package probe asks a TLS server, as a client, what the tickets that it
// mints look like: whether they begin with bytes that stay the same, which
// then name the server.
//
// Most TLS libraries put the name of the ticket key in front of each ticket:
// 16 bytes in the OpenSSL family and GnuTLS, 4 in Java's JSSE, none in Go's
// crypto/tls. The length is never assumed: what is stable is measured, over
// tickets of at least three connections. A server without tickets hands out
// 32 random bytes instead, which name nobody.
//
// A probe costs the server a few full handshakes and takes milliseconds: the
// tickets of TLS 1.3 arrive with the server's first flight, and as soon as
// one is there the probe waits for no more than its companions. Nothing is
// verified about the server's certificate, because nothing secret is sent to
// it; who minted a ticket is proven by who accepts it (see Resume).
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// DefaultConnections is how many connections a probe makes for each TLS
	// version. Three, and their tickets, leave less than one chance in 2^24
	// that a random fourth byte is taken for part of a name (measured servers
	// send one or two tickets a connection).
	DefaultConnections = 3
	// MinName is the shortest common prefix that is taken for a name. Less
	// would let random tickets be mistaken for those of a server.
	MinName = 4
	// MaxName is how many bytes of a common prefix are used: the name of an
	// OpenSSL ticket key. More would take in bytes that only seem stable.
	MaxName = 16
	// MaxTicketsPerConnection bounds what one connection may make us keep,
	// against a server that sends tickets without end.
	MaxTicketsPerConnection = 8
	// maxAnswer bounds what is read of the answer to the request, for the
	// same reason.
	maxAnswer = 64 << 10
	// DefaultTimeout bounds one connection.
	DefaultTimeout = 3 * time.Second

	// firstTicketWait is how long a TLS 1.3 server that has sent no ticket
	// with its first flight is waited for before it is sent a request:
	// BoringSSL sends tickets with the first application data only.
	firstTicketWait = 150 * time.Millisecond
	// answerWait is how long the answer to that request is waited for.
	answerWait = 500 * time.Millisecond
	// nextTicketWait is how long more tickets are waited for after one came.
	// Servers write them together, so they arrive together.
	nextTicketWait = 5 * time.Millisecond
)

// Config says what to ask.
type Config struct {
	// Dial opens a connection to the server.
	Dial func(ctx context.Context) (net.Conn, error)
	// SNI is the server name to send; "" sends none. Servers that choose
	// their certificate by name may refuse a wrong one, and Apache keeps a
	// ticket key for each.
	SNI string
	// Certificate is shown to a server that asks for one; nil shows none.
	Certificate *tls.Certificate
	// Connections is how many connections are made for each TLS version; 0
	// means DefaultConnections. Fewer than two tell nothing.
	Connections int
	// Timeout bounds each connection; 0 means DefaultTimeout.
	Timeout time.Duration
}

// A Ticket is one that the server minted.
type Ticket struct {
	// ID is the ticket as it will stand in a message.
	ID []byte
	// Version is the TLS version of the connection that brought it.
	Version uint16
	// Session can be offered to a server; see Resume.
	Session *tls.ClientSessionState
}

// A Sample is what the server did in the connections of one TLS version.
type Sample struct {
	Version     uint16 // tls.VersionTLS13 or tls.VersionTLS12
	Connections int    // handshakes that succeeded
	Tickets     []Ticket
	// OnRequest says that tickets came only after a request was sent.
	OnRequest bool
	// Err is why no connection of this version succeeded, nil if one did.
	Err error
}

// ErrUnreachable is wrapped by what Run returns when not even a connection
// could be made: nothing is known of what would have answered.
var ErrUnreachable = errors.New("connecting")

// Run probes the server with TLS 1.3, then TLS 1.2. The error is that of the
// connections when not one of either version succeeded.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if cfg.Connections == 0 {
		cfg.Connections = DefaultConnections
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	r := &Result{}
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		s := sample(ctx, &cfg, version)
		if errors.Is(s.Err, ErrUnreachable) {
			return nil, fmt.Errorf("probing: %w", s.Err) // another version would not connect either
		}
		r.Samples = append(r.Samples, s)
	}
	if with13, with12 := r.Samples[0].Err, r.Samples[1].Err; with13 != nil && with12 != nil {
		if with13.Error() == with12.Error() {
			return nil, fmt.Errorf("probing: %w", with13)
		}
		return nil, fmt.Errorf("probing: with TLS 1.3: %w; with TLS 1.2: %w", with13, with12)
	}
	r.judge()
	return r, nil
}

// sample makes the connections of one version, one after the other: a probe
// is to be the least of a server's traffic.
func sample(ctx context.Context, cfg *Config, version uint16) Sample {
	s := Sample{Version: version}
	for range cfg.Connections {
		tickets, onRequest, err := collect(ctx, cfg, version)
		if err != nil {
			if s.Connections == 0 {
				s.Err = err
			}
			return s // a server that refuses one connection will refuse the next
		}
		s.Connections++
		s.Tickets = append(s.Tickets, tickets...)
		s.OnRequest = s.OnRequest || onRequest && len(tickets) > 0
		if len(tickets) == 0 {
			return s // and one that gave no ticket, none
		}
	}
	return s
}

// collect makes one connection and returns the tickets of it.
func collect(ctx context.Context, cfg *Config, version uint16) (tickets []Ticket, onRequest bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	raw, err := cfg.Dial(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer raw.Close()
	p := &purse{conn: raw, version: version, readBy: time.Now().Add(cfg.Timeout)}
	t := tls.Client(raw, clientConfig(cfg, version, p))
	_ = raw.SetDeadline(p.readBy) // a connection that has no deadlines ends with ctx
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, false, err
	}
	if version == tls.VersionTLS12 {
		return p.take(), false, nil // the ticket is part of the handshake
	}
	p.wait(firstTicketWait)
	read(t)
	if tickets := p.take(); len(tickets) > 0 {
		return tickets, false, nil
	}
	p.wait(answerWait)
	if _, err := fmt.Fprintf(t, "HEAD / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host(cfg.SNI)); err != nil {
		return nil, false, nil
	}
	read(t)
	return p.take(), true, nil
}

func host(sni string) string {
	if sni == "" {
		return "localhost"
	}
	return sni
}

// read reads until the connection or the purse's patience ends. What it reads
// is of no interest: tickets are taken by the purse on the way.
func read(t *tls.Conn) {
	buf := make([]byte, 4<<10)
	for total := 0; total < maxAnswer; {
		n, err := t.Read(buf)
		total += n
		if err != nil {
			return
		}
	}
}

func clientConfig(cfg *Config, version uint16, cache tls.ClientSessionCache) *tls.Config {
	c := &tls.Config{
		ServerName:         cfg.SNI, // crypto/tls sends none for "" and for IP addresses
		InsecureSkipVerify: true,    //nolint:gosec // see the package comment
		MinVersion:         version,
		MaxVersion:         version,
		ClientSessionCache: cache,
	}
	if cfg.Certificate != nil {
		c.Certificates = []tls.Certificate{*cfg.Certificate}
	}
	return c
}

// A purse is a session cache that keeps what it is given and offers nothing.
// When a ticket comes, it cuts the waiting short.
type purse struct {
	conn    net.Conn
	version uint16
	readBy  time.Time // the connection's own deadline

	mu      sync.Mutex
	tickets []Ticket
}

// Get is part of tls.ClientSessionCache.
func (p *purse) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

// Put is part of tls.ClientSessionCache.
func (p *purse) Put(_ string, s *tls.ClientSessionState) {
	if s == nil {
		return
	}
	id, _, err := s.ResumptionState()
	if err != nil || len(id) == 0 {
		return
	}
	p.mu.Lock()
	if len(p.tickets) < MaxTicketsPerConnection {
		p.tickets = append(p.tickets, Ticket{ID: id, Version: p.version, Session: s})
	}
	p.mu.Unlock()
	p.wait(nextTicketWait)
}

// wait bounds the next read.
func (p *purse) wait(d time.Duration) {
	by := time.Now().Add(d)
	if by.After(p.readBy) {
		by = p.readBy
	}
	_ = p.conn.SetReadDeadline(by)
}

func (p *purse) take() []Ticket {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tickets
}
