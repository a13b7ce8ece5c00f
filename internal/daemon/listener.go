package daemon

import (
	"context"
	"net"

	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/route"
)

// A listener is one listener of the configuration: a proxy and the sockets
// that it accepts from. Daemon.mu guards it.
type listener struct {
	name      route.ListenerName
	config    *config.Listener
	proxy     proxy
	accessLog *l4.AccessLog // nil: none
	sockets   map[socketKey]*socket
}

// A proxy serves the connections of a listener: an *l4.Proxy or *l7.Proxy.
type proxy interface {
	Serve(ctx context.Context, ln net.Listener) error
	Drain(ctx context.Context) (cut int)
}

// A socket is open, and from serve on its connections go to one proxy.
type socket struct {
	ln   net.Listener
	stop context.CancelFunc // ends the accept loop; nil before serve
}

// stopAccepting ends the accept loops and closes the sockets. Connections go on.
func (l *listener) stopAccepting() {
	for k, s := range l.sockets {
		s.close()
		delete(l.sockets, k)
	}
}

// close ends the listener for good; drain has waited for its connections.
func (l *listener) close() {
	l.stopAccepting()
	if l.accessLog != nil {
		_ = l.accessLog.Close() // what is left to write was tried
	}
}

func (s *socket) close() {
	if s.stop != nil {
		s.stop()
	}
	_ = s.ln.Close() // closing a listening socket has no result to act on
}
