package l4

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/reactor"
	"github.com/mintmark/mintmark/internal/route"
)

// Settings of a listener. A Proxy can be given new ones at any time; they
// apply to connections accepted afterwards. They must not be changed once
// they are in use.
type Settings struct {
	// Listener maps server names to pools. Required.
	Listener *route.Listener
	// TLS is protocol tls: read a hello and route by it. Otherwise the
	// protocol is tcp: connect at once, because the server may speak first.
	TLS bool
	// AcceptFrom are the peers whose PROXY protocol header is believed, and
	// required. From everybody else a header is bytes like any other.
	AcceptFrom []netip.Prefix
	// HelloTimeout is how long a client may take for its PROXY header and
	// its whole hello. 0 means DefaultHelloTimeout.
	HelloTimeout time.Duration
	// ConnectTimeout is for one attempt to connect to a server; there are at
	// most MaxAttempts. 0 means DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// IdleTimeout ends a connection on which no byte has moved in either
	// direction for so long, or up to a quarter longer. 0 means never.
	IdleTimeout time.Duration
	// MaxConnections is the limit of connections in progress; 0: no limit.
	// Connections from before a change of settings count too.
	MaxConnections int
	// AccessLog receives one line a connection; nil: none. Write is called
	// from the goroutines of connections and must not block them: use an
	// AccessLog. The line is JSON if the writer has a method JSON() bool that
	// returns true, else text.
	AccessLog io.Writer
	// Witness is told what servers do with IDs; nil: nobody is.
	Witness Witness
}

// Defaults and limits.
const (
	// DefaultHelloTimeout is what a HelloTimeout of 0 means: there is always
	// a deadline, because a connection that says nothing costs its sender
	// nothing.
	DefaultHelloTimeout = 5 * time.Second
	// DefaultConnectTimeout is what a ConnectTimeout of 0 means.
	DefaultConnectTimeout = 5 * time.Second
	// MaxAttempts is how many servers are tried for one connection. It keeps
	// one client from knocking at every server of a large pool, and the
	// client from waiting longer than three connect timeouts.
	MaxAttempts = 3
	// DefaultHelloBudget is how many bytes of memory the unfinished hellos of
	// one listener may hold: it bounds what clients that never finish theirs
	// can make a balancer keep.
	DefaultHelloBudget = 64 << 20
)

// Dialer connects to servers; *backend.Monitor is one. For the kernel to
// forward, the connection must be a bare *net.TCPConn or *net.UnixConn.
type Dialer interface {
	Dial(ctx context.Context, s *route.Server, timeout time.Duration) (net.Conn, error)
}

// A Connector is a Dialer that can often be spared: it knows the address that
// there is to connect to. *backend.Monitor is one.
type Connector interface {
	// Target returns the one TCP address to which a connection to s has to be
	// opened. It does not wait. ok is false where only Dial can do it.
	Target(s *route.Server) (to netip.AddrPort, ok bool)
	// Connected is told how the connect went that Target led to. loop is the
	// number of the event loop that connected.
	Connected(s *route.Server, loop int, took time.Duration, err error)
}

// Config is what a Proxy is made of. It does not change when settings do.
type Config struct {
	// Logger receives what operators should see; what peers do is at debug.
	// nil discards it.
	Logger *slog.Logger
	// Dialer connects to servers. Required.
	Dialer Dialer
	// Loops are the event loops to forward on. nil is the portable engine, on
	// goroutines. They must run, and until Drain has returned.
	Loops *reactor.Group
	// Metrics counts. nil counts where nobody looks.
	Metrics *metrics.Set
	// HelloBudget is how many bytes of memory unfinished hellos may hold;
	// 0 means DefaultHelloBudget.
	HelloBudget int64
	// PropagatePanics lets a panic end the process instead of the connection,
	// so that tests see it.
	PropagatePanics bool
}
