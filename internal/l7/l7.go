package l7

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/httpid"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
)

// Settings of a listener. A Proxy can be given new ones at any time; they
// apply to requests that begin afterwards. They must not be changed once they
// are in use.
type Settings struct {
	// Listener maps hosts and paths to pools. Required.
	Listener *route.Listener
	// Certificates end TLS; of several, the client's server name chooses. A
	// Proxy made with Config.TLS needs one, others use none.
	Certificates []tls.Certificate
	// IDs is where in a request the ID stands, in order.
	IDs []ID
	// Forwarded is what servers are told of the client.
	Forwarded Forwarded
	// AcceptFrom are the peers whose PROXY protocol header is believed, and
	// required. From everybody else a header is bytes like any other.
	AcceptFrom []netip.Prefix
	// HelloTimeout is how long a client may take for its PROXY header, its
	// TLS handshake, and the header of a request. 0 means DefaultHelloTimeout.
	HelloTimeout time.Duration
	// IdleTimeout ends a connection without a request, and a request on which
	// no byte moves in either direction, after so long or up to a quarter
	// longer. 0 means never.
	IdleTimeout time.Duration
	// ConnectTimeout is for one attempt to connect to a server; there are at
	// most MaxAttempts. 0 means DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// ResponseTimeout is from sending a request until the header of the
	// response. 0: none.
	ResponseTimeout time.Duration
	// MaxBody is the largest body of a request. 0: no limit.
	MaxBody int64
	// MaxConnections is the limit of connections in progress; 0: no limit.
	MaxConnections int
	// ErrorType and ErrorText are the body of responses that are the
	// balancer's own, {status} and {cause} in it replaced. An empty type is
	// the plain status in words.
	ErrorType, ErrorText string
	// AccessLog receives one line a request; nil: none. Write must not block.
	// The line is JSON if the writer has a method JSON() bool that returns
	// true, else in the combined form.
	AccessLog io.Writer
	// Witness is told what servers do with IDs; nil: nobody is.
	Witness Witness
}

// An ID is a place where the ID of a request may stand.
type ID struct {
	Source *httpid.Source
	// Limit is the longest body that is read for an ID in JSON, and
	// BalanceOverflow says that a request with a longer one has no ID there;
	// otherwise it is refused.
	Limit           int64
	BalanceOverflow bool
}

// ForwardedPolicy is what becomes of forwarding headers of clients.
type ForwardedPolicy uint8

// The policies.
const (
	ForwardedReplace ForwardedPolicy = iota // removed, and set anew
	ForwardedAppend                         // added to
	ForwardedKeep                           // let through, and nothing is added
	ForwardedRemove                         // removed, and nothing is added
)

// Forwarded is what servers are told of the client.
type Forwarded struct {
	Policy ForwardedPolicy
	// XForwarded adds X-Forwarded-For and its kin, Standard adds Forwarded
	// (RFC 7239).
	XForwarded, Standard bool
}

// Defaults and limits.
const (
	// DefaultHelloTimeout is what a HelloTimeout of 0 means: there is always a
	// deadline, because a connection that says nothing costs its sender
	// nothing.
	DefaultHelloTimeout = 5 * time.Second
	// DefaultConnectTimeout is what a ConnectTimeout of 0 means.
	DefaultConnectTimeout = 5 * time.Second
	// MaxAttempts is how many servers are tried for one request, so that one
	// client cannot knock at every server of a large pool.
	MaxAttempts = 3
	// MaxHeader is the largest header of a request, in bytes. It bounds what
	// one request can make a balancer keep.
	MaxHeader = 64 << 10
	// maxResponseHeader is the largest header of a response, against a server
	// that has gone wrong.
	maxResponseHeader = 256 << 10
	// maxStreams is how many requests of one HTTP/2 connection are in progress
	// at a time.
	maxStreams = 100
	// maxFrame is the largest frame of HTTP/2, the least that may be announced:
	// a larger one only has to be kept.
	maxFrame = 16 << 10
	// streamWindow is how many bytes of a request's body are kept that its
	// server does not take. All streams of a connection together may fill
	// theirs, so that one that stalls does not stall the others.
	streamWindow = 128 << 10
	// DefaultBodyBudget is how many bytes of memory the bodies that are read
	// for an ID may hold in one listener: it bounds what clients that send
	// slowly can make a balancer keep.
	DefaultBodyBudget = 64 << 20
	// upstreamIdle is how long a connection to a server waits for the next
	// request. It is below the five seconds after which Node.js and Apache
	// close theirs, because a request that meets such a close is lost.
	upstreamIdle = 4 * time.Second
	// upstreamIdleConns is how many such connections wait for each server.
	upstreamIdleConns = 256
	// copySize is the buffer that a body is copied with.
	copySize = 32 << 10
)

// Dialer connects to servers; *backend.Monitor is one.
type Dialer interface {
	Dial(ctx context.Context, s *route.Server, timeout time.Duration) (net.Conn, error)
}

// A Witness is told of the IDs that servers assign. It must be quick and safe
// for concurrent use, and must not keep an ID that it is given.
type Witness interface {
	// Watches reports whether anything in p is of interest.
	Watches(p *route.Pool) bool
	// Minted says that s assigned an ID. whole is false when it was cut.
	Minted(s *route.Server, field idspace.Field, id []byte, whole bool)
}

// Config is what a Proxy is made of. It does not change when settings do.
type Config struct {
	// Logger receives what operators should see; what peers do is at debug.
	// nil discards it.
	Logger *slog.Logger
	// Dialer connects to servers. Required.
	Dialer Dialer
	// Metrics counts. nil counts where nobody looks.
	Metrics *metrics.Set
	// TLS says that clients speak TLS.
	TLS bool
	// BodyBudget is how many bytes of memory bodies that are read for an ID
	// may hold; 0 means DefaultBodyBudget.
	BodyBudget int64
}
