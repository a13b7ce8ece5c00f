package l7

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"
)

// An acceptor is what a server accepts from: it counts, holds the limit of
// connections and reads PROXY headers. net/http closes it at its end, which
// leaves the socket to whoever opened it.
type acceptor struct {
	proxy  *Proxy
	server *server
	ctx    context.Context // of Serve, which made it
	ln     net.Listener
	held   *net.Conn // what the server before accepted after it was replaced; nil: nothing
}

// Addr implements net.Listener.
func (a *acceptor) Addr() net.Addr { return a.ln.Addr() }

// Close implements net.Listener.
func (a *acceptor) Close() error {
	a.interrupt()
	return nil
}

// A deadliner is a listener that can be interrupted and go on.
type deadliner interface{ SetDeadline(time.Time) error }

// interrupt makes Accept return. A socket stays open where that is possible:
// it is its opener's to close, or to hand on.
func (a *acceptor) interrupt() {
	if d, ok := a.ln.(deadliner); ok && d.SetDeadline(time.Unix(1, 0)) == nil {
		return
	}
	_ = a.ln.Close() // it may be closed already
}

// resume takes an interrupt of the server before back.
func (a *acceptor) resume() {
	if d, ok := a.ln.(deadliner); ok {
		_ = d.SetDeadline(time.Time{}) // on a closed one, Accept says so
	}
}

// canResume says whether the listener can go on after an interrupt.
func (a *acceptor) canResume() bool {
	_, ok := a.ln.(deadliner)
	return ok
}

// watch interrupts Accept when the server is replaced, until stop is called. A
// listener that cannot go on after it stays with its server.
func (a *acceptor) watch() (stop func()) {
	if !a.canResume() {
		return func() {}
	}
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-a.server.replaced:
			a.interrupt()
		case <-over:
		}
	})
	return func() { close(over); wg.Wait() }
}

// Accept implements net.Listener. What net/http takes for temporary (a lack of
// descriptors above all) it waits out by itself.
func (a *acceptor) Accept() (net.Conn, error) {
	for {
		nc, err := a.next()
		if a.ctx.Err() != nil {
			if err == nil {
				_ = nc.Close() // it came with the end
			}
			return nil, net.ErrClosed
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && a.server.isReplaced() {
			return nil, errReplaced
		}
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				a.proxy.metrics.AcceptErrors.Inc()
			}
			return nil, err
		}
		if a.server.isReplaced() && a.canResume() {
			*a.held = nc // it came before the interrupt, and after the timeouts of this server
			return nil, errReplaced
		}
		if c := a.proxy.admit(nc); c != nil {
			return c, nil
		}
	}
}

// next returns the next connection.
func (a *acceptor) next() (net.Conn, error) {
	if nc := *a.held; nc != nil {
		*a.held = nil
		return nc, nil
	}
	return a.ln.Accept()
}

// admit makes a connection ready to be served, or closes it when the listener
// is full.
func (p *Proxy) admit(nc net.Conn) net.Conn {
	st := p.settings.Load()
	m := p.metrics
	m.Accepted.Inc(0)
	m.Active.Add(0, 1)
	if st.MaxConnections > 0 && m.Active.Load() > int64(st.MaxConnections) {
		m.Active.Add(0, -1)
		m.Refused(string(CauseMaxConnections))
		_ = nc.Close() // nothing was read
		return nil
	}
	var c net.Conn = &conn{Conn: nc, proxy: p}
	if peer, ok := addrOf(nc.RemoteAddr()); ok && contains(st.AcceptFrom, peer) {
		c = proxyproto.NewConn(c,
			proxyproto.WithPolicy(proxyproto.REQUIRE),
			proxyproto.SetReadHeaderTimeout(st.HelloTimeout))
	}
	return c
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

func addrOf(a net.Addr) (netip.Addr, bool) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return t.AddrPort().Addr().Unmap(), true
}

// A conn counts what goes through a connection.
type conn struct {
	net.Conn
	proxy  *Proxy
	closed atomic.Bool
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.proxy.metrics.BytesIn.Add(0, uint64(n))
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if n > 0 {
		c.proxy.metrics.BytesOut.Add(0, uint64(n))
	}
	return n, err
}

// CloseWrite ends the stream to the client.
func (c *conn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close implements net.Conn.
func (c *conn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.proxy.metrics.Active.Add(0, -1)
	}
	return c.Conn.Close()
}

// copyBuffers keeps buffers for the next body. Its zero value is ready.
type copyBuffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *copyBuffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[copySize]byte); ok {
		return buf[:]
	}
	return make([]byte, copySize) // alloc: kept for the next
}

// Put implements httputil.BufferPool.
func (b *copyBuffers) Put(buf []byte) { b.pool.Put((*[copySize]byte)(buf)) }
