// Package l4 forwards TCP connections, TLS among them, without terminating
// anything: it reads the hello, decides, connects and copies.
package l4

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// Settings of a listener. A Proxy can be given new ones at any time; they
// apply to connections accepted afterwards.
type Settings struct {
	Listener       *route.Listener
	TLS            bool           // protocol tls: read a hello; false: protocol tcp
	AcceptFrom     []netip.Prefix // peers whose PROXY header is believed (and required)
	HelloTimeout   time.Duration
	ConnectTimeout time.Duration
	IdleTimeout    time.Duration
	MaxConnections int       // 0: no limit
	AccessLog      io.Writer // nil: none; one JSON or text line a connection
}

// Dialer connects to servers; *backend.Monitor is one.
type Dialer interface {
	Dial(ctx context.Context, s *route.Server, timeout time.Duration) (net.Conn, error)
}

type Config struct {
	Logger *slog.Logger
	Dialer Dialer
	// Metrics ...
}

// A Proxy serves one listener of the configuration (which may have several sockets).
type Proxy struct{}

func New(cfg Config, s *Settings) *Proxy { return &Proxy{} }

// Update swaps the settings.
func (p *Proxy) Update(s *Settings) {}

// Serve accepts from ln until ctx ends or ln is closed. Connections go on;
// see Drain.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener) error { return nil }

// Drain waits until every connection has ended or ctx ends, then closes
// what is left and returns how many it cut.
func (p *Proxy) Drain(ctx context.Context) (cut int) { return 0 }
