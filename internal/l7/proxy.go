package l7

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
	_ "github.com/mintmark/mintmark/internal/xconnect" // net/http takes extended CONNECT
)

// A Proxy serves one listener of the configuration (which may have several
// sockets). Its methods are safe for concurrent use.
type Proxy struct {
	// Immutable after New.
	cfg     Config
	log     *slog.Logger
	metrics *metrics.Listener
	copies  copyBuffers

	servers  servers
	settings atomic.Pointer[settings]
	bodies   atomic.Int64 // bytes of memory that bodies hold

	// running ends when Drain cuts what is left. It is kept here because it is
	// the Proxy's own life, not a caller's.
	running context.Context
	cut     context.CancelFunc

	// mu guards upstreams, which knows the connections to each server by its
	// live state, which survives reloads.
	mu        sync.Mutex
	upstreams map[*route.State]*upstream

	requests registry
}

// New returns a Proxy that has not started anything.
func New(cfg Config, s *Settings) *Proxy {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = metrics.New("")
	}
	if cfg.BodyBudget == 0 {
		cfg.BodyBudget = DefaultBodyBudget
	}
	p := &Proxy{
		cfg:       cfg,
		log:       cfg.Logger.With("listener", string(s.Listener.Name)),
		metrics:   cfg.Metrics.Listener(s.Listener.Name),
		upstreams: make(map[*route.State]*upstream),
	}
	p.running, p.cut = context.WithCancel(context.Background())
	p.Update(s)
	return p
}

// start makes what serves connections with the timeouts of s.
func (p *Proxy) start(s *server) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(p.cfg.TLS)
	protocols.SetUnencryptedHTTP2(!p.cfg.TLS)
	s.http = &http.Server{
		Handler:           p,
		Protocols:         protocols,
		ConnState:         s.track,
		ReadHeaderTimeout: s.hello,
		IdleTimeout:       s.idle,
		MaxHeaderBytes:    MaxHeader,
		// OPTIONS * asks the server, not the balancer.
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReadFrameSize:              maxFrame,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: maxStreams * streamWindow,
		},
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			NextProtos: []string{"h2", "http/1.1"},
			// The outer configuration stays, and with it the keys of tickets.
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return p.settings.Load().tls, nil },
		},
	}
}

// settings are Settings made ready for use.
type settings struct {
	Settings
	tls      *tls.Config
	pools    map[*route.Pool]*metrics.Pool
	watched  map[*route.Pool]bool
	json     bool // the access log wants JSON
	byPath   bool // the path decides, as a route or as an ID
	byHeader bool // a header other than Cookie may have the ID
	secret   bool // the query or path may have an ID, which is not logged
}

// Update swaps the settings. Requests in progress keep those that they began
// with, and connections the timeouts.
func (p *Proxy) Update(s *Settings) {
	st := newSettings(s, p.metrics)
	p.settings.Store(st)
	p.servers.use(st.HelloTimeout, st.IdleTimeout, p.start)
	p.keepUpstreams(st)
}

func newSettings(from *Settings, m *metrics.Listener) *settings {
	s := &settings{
		Settings: *from,
		tls: &tls.Config{
			MinVersion:   tls.VersionTLS12,
			NextProtos:   []string{"h2", "http/1.1"},
			Certificates: from.Certificates,
		},
		pools:   make(map[*route.Pool]*metrics.Pool),
		watched: make(map[*route.Pool]bool),
		byPath:  from.Listener.ByPath(),
	}
	if s.HelloTimeout <= 0 {
		s.HelloTimeout = DefaultHelloTimeout
	}
	if s.ConnectTimeout <= 0 {
		s.ConnectTimeout = DefaultConnectTimeout
	}
	if w, ok := s.AccessLog.(interface{ JSON() bool }); ok {
		s.json = w.JSON()
	}
	for _, id := range s.IDs {
		s.byPath = s.byPath || fieldOf(id.Source) == fieldPath
		s.byHeader = s.byHeader || fieldOf(id.Source) == idspace.FieldHeader
		s.secret = s.secret || fieldOf(id.Source) == fieldPath || fieldOf(id.Source) == fieldQuery
	}
	add := func(pool *route.Pool) {
		if pool != nil && s.pools[pool] == nil {
			s.pools[pool] = m.Pool(pool)
			s.watched[pool] = s.Witness != nil && len(s.IDs) > 0 && s.Witness.Watches(pool)
		}
	}
	add(s.Listener.Pool)
	for i := range s.Listener.HTTPRoutes {
		add(s.Listener.HTTPRoutes[i].Pool)
	}
	return s
}

// Serve accepts from ln until ctx ends, Drain begins or ln is closed, and then
// returns nil. It does not close ln. Requests go on; see Drain. It may be
// called several times at once, with different sockets.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var held net.Conn
	defer func() {
		if held != nil {
			_ = held.Close() // it came with the end
		}
	}()
	for {
		s := p.servers.enter()
		err := p.serveWith(ctx, s, ln, &held)
		p.servers.leave(s)
		switch {
		case errors.Is(err, errReplaced) && ctx.Err() == nil:
			continue
		case errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) || ctx.Err() != nil:
			return nil
		}
		return err
	}
}

// errReplaced is why a server accepts no more, though its listener goes on.
var errReplaced = errors.New("another server accepts")

// serveWith has one server accept from ln, until it is replaced.
func (p *Proxy) serveWith(ctx context.Context, s *server, ln net.Listener, held *net.Conn) error {
	a := &acceptor{proxy: p, server: s, ctx: ctx, ln: ln, held: held}
	a.resume()
	defer context.AfterFunc(ctx, a.interrupt)()
	defer a.watch()()
	if p.cfg.TLS {
		return s.http.ServeTLS(a, "", "")
	}
	return s.http.Serve(a)
}

// Drain stops accepting, waits until every request has ended or ctx ends, then
// cuts what is left and returns how many that were. When it returns, no
// goroutine and no descriptor of the Proxy is left. The Proxy cannot serve
// again.
func (p *Proxy) Drain(ctx context.Context) (cut int) {
	err := p.servers.shutdown(ctx)
	ended := p.requests.drain()
	if err == nil {
		select {
		case <-ended: // tunnels, of which the server knows nothing any more
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	p.cut()
	if err != nil {
		cut = p.requests.cut()
		p.servers.close()
		<-ended
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for state, u := range p.upstreams {
		u.close()
		delete(p.upstreams, state)
	}
	return cut
}
