package proxy

import "strconv"

// A Protocol is what the clients of a site speak.
type Protocol string

// The protocols.
const (
	TLS Protocol = "tls" // passed through, after the hello was read
	UDP Protocol = "udp"
	// HTTP is HTTP/1.1 with keep-alive on both sides, and a session cookie.
	HTTP Protocol = "http"
)

// Threads is how many threads or worker processes each product gets.
const Threads = 2

// A Site is what a proxy is configured for.
type Site struct {
	Protocol Protocol
	// Listen is the address for clients.
	Listen  string
	Servers []Server
	// Table is the size of the table of sessions, for a product that needs one
	// to find the server of a session (HAProxy's stick table); 0 is none.
	Table int
}

// A Server is one server of a site's pool.
type Server struct {
	Name string
	Addr string
	// Mark is the first bytes (hex) of the IDs that it minted; text for HTTP.
	Mark string
}

// A Peer is a product with a way of configuring it.
type Peer string

// The peers.
const (
	// Mintmark is this tree's, unless it was given another binary.
	Mintmark Peer = "mintmark"
	// MintmarkPortable has the engine that runs on every system.
	MintmarkPortable Peer = "mintmark-portable"
	// MintmarkPaced listens on all addresses, so that its connections to
	// clients have the system's congestion control, as those of the others.
	MintmarkPaced Peer = "mintmark-paced"
	// Baseline is another Mintmark, to compare with.
	Baseline Peer = "baseline"
	// HAProxy is as one configures it by the manual.
	HAProxy Peer = "haproxy"
	// HAProxySplice has `option splice-request` and `option splice-response`.
	HAProxySplice Peer = "haproxy-splice"
	// HAProxyTuned has a listening socket for each thread, and accepts a
	// connection only when the hello is there.
	HAProxyTuned Peer = "haproxy-tuned"
	// NGINX is as one configures it by the manual.
	NGINX Peer = "nginx"
	// NGINXHalfClose passes on that one side has ended its stream, and goes on
	// with the other, as Mintmark and HAProxy do; nginx by default ends both.
	NGINXHalfClose Peer = "nginx-half-close"
	// NGINXTuned has a listening socket for each worker.
	NGINXTuned Peer = "nginx-tuned"
)

// Peers lists them all.
func Peers() []Peer {
	return []Peer{
		Mintmark, MintmarkPortable, MintmarkPaced, Baseline,
		HAProxy, HAProxySplice, HAProxyTuned, NGINX, NGINXHalfClose, NGINXTuned,
	}
}

// Title is the peer's name for people.
func (p Peer) Title() string {
	switch p {
	case Mintmark:
		return "Mintmark"
	case MintmarkPortable:
		return "Mintmark, portable engine"
	case MintmarkPaced:
		return "Mintmark, paced"
	case Baseline:
		return "baseline"
	case HAProxy:
		return "HAProxy"
	case HAProxySplice:
		return "HAProxy with splicing"
	case HAProxyTuned:
		return "HAProxy, tuned"
	case NGINX:
		return "nginx"
	case NGINXHalfClose:
		return "nginx with half-close"
	case NGINXTuned:
		return "nginx, tuned"
	default:
		return string(p)
	}
}

// Spread returns n servers at one address, each with a mark of its own: the
// numbers from first on, in four bytes.
func Spread(n int, addr string, first uint32) []Server {
	servers := make([]Server, n)
	for i := range servers {
		servers[i] = Server{
			Name: "s" + strconv.Itoa(i+1),
			Addr: addr,
			Mark: mark(first + uint32(i)),
		}
	}
	return servers
}

func mark(n uint32) string {
	const digits = 8
	s := strconv.FormatUint(uint64(n), 16)
	for len(s) < digits {
		s = "0" + s
	}
	return s
}
