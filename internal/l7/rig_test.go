package l7_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/httpid"
	"github.com/mintmark/mintmark/internal/l7"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A rig is a proxy before some servers, all in this process.
type rig struct {
	tb       testing.TB
	proxy    *l7.Proxy
	snapshot *route.Snapshot
	metrics  *metrics.Set
	addr     string // of the proxy
	log      *syncBuffer
	base     l7.Settings
	client   *http.Client
}

// A rigConfig says what is different in a test.
type rigConfig struct {
	pool     func(*route.PoolConfig)
	settings func(*l7.Settings)
	proxy    func(*l7.Config)
	ids      []l7.ID
	// h2 makes client speak HTTP/2, and h2c the servers.
	h2, h2c bool
}

// newRig starts a server for each handler, named a, b, c and so on: server a
// owns IDs that begin with "a-", and so on.
func newRig(tb testing.TB, cfg rigConfig, handlers ...http.HandlerFunc) *rig {
	tb.Helper()
	r := &rig{tb: tb, log: new(syncBuffer), metrics: metrics.New("")}
	pc := route.PoolConfig{Name: "app", Health: route.HealthConfig{Interval: 2 * time.Second}}
	pc.Upstream.HTTP2 = cfg.h2c
	var rules []idspace.Rule
	for i, h := range handlers {
		name := string(rune('a' + i))
		s := httptest.NewUnstartedServer(h)
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(!cfg.h2c)
		s.Config.Protocols.SetUnencryptedHTTP2(cfg.h2c)
		s.Start()
		tb.Cleanup(s.Close)
		pc.Servers = append(pc.Servers, route.ServerConfig{Name: route.ServerName(name), Weight: 1, Address: addressOf(s.Listener.Addr())})
		rules = append(rules, idspace.Rule{Owner: idspace.Owner(name), Bits: idspace.Prefix(name + "-"), Source: "test"})
	}
	table, err := idspace.Compile(rules)
	if err != nil {
		tb.Fatal(err)
	}
	pc.Table = table
	if cfg.pool != nil {
		cfg.pool(&pc)
	}
	pool, err := route.NewPool(pc, nil)
	if err != nil {
		tb.Fatal(err)
	}
	listener := &route.Listener{Name: "api", Pool: pool}
	r.snapshot = &route.Snapshot{
		Pools:     map[route.PoolName]*route.Pool{"app": pool},
		Listeners: map[route.ListenerName]*route.Listener{"api": listener},
	}
	r.metrics.Update(r.snapshot)
	r.base = l7.Settings{
		Listener: listener, IDs: cfg.ids, AccessLog: r.log,
		Forwarded: l7.Forwarded{XForwarded: true},
	}
	if cfg.settings != nil {
		cfg.settings(&r.base)
	}
	config := l7.Config{Dialer: dialer{}, Metrics: r.metrics}
	if cfg.proxy != nil {
		cfg.proxy(&config)
	}
	r.proxy = l7.New(config, &r.base)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r.addr = ln.Addr().String()
	served := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { served <- r.proxy.Serve(ctx, ln) }()
	r.client = newClient(tb, cfg.h2)
	tb.Cleanup(func() {
		r.client.CloseIdleConnections()
		stop()
		if err := <-served; err != nil {
			tb.Errorf("Serve: %v", err)
		}
		_ = ln.Close()
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		r.proxy.Drain(gone)
	})
	return r
}

func newClient(tb testing.TB, h2 bool) *http.Client {
	tb.Helper()
	t := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(!h2)
	t.Protocols.SetUnencryptedHTTP2(h2)
	tb.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

func addressOf(a net.Addr) route.Address {
	t := a.(*net.TCPAddr)
	return route.Address{Network: "tcp", Host: t.IP.String(), Port: uint16(t.Port)}
}

// A dialer connects to servers at their configured address.
type dialer struct{}

func (dialer) Dial(ctx context.Context, s *route.Server, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return new(net.Dialer).DialContext(ctx, s.Config.Address.Network, s.Config.Address.String())
}

// source returns a place for IDs.
func source(tb testing.TB, c httpid.Config) l7.ID {
	tb.Helper()
	s, err := httpid.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return l7.ID{Source: s, Limit: 64 << 10}
}

// everyID is one source of each kind.
func everyID(tb testing.TB) []l7.ID {
	tb.Helper()
	return []l7.ID{
		source(tb, httpid.Config{Kind: httpid.Cookie, Name: "JSESSIONID", After: "."}),
		source(tb, httpid.Config{Kind: httpid.Header, Name: "Mcp-Session-Id"}),
		source(tb, httpid.Config{Kind: httpid.Query, Name: "sid"}),
		source(tb, httpid.Config{Kind: httpid.Path, Name: "/whip/{id}"}),
		source(tb, httpid.Config{Kind: httpid.JSON, Name: "previous_response_id"}),
	}
}

// echo answers with the server's name and what it was asked.
func echo(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Server-Name", name)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
	}
}

// request makes a request to the proxy; headers are "name: value".
func (r *rig) request(method, target, body string, headers ...string) *http.Request {
	r.tb.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(r.tb.Context(), method, "http://"+r.addr+target, in)
	if err != nil {
		r.tb.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// An answer is a response that was read.
type answer struct {
	status int
	server string // by its header Server-Name
	body   string
	header http.Header
}

// do sends a request and reads the response.
func (r *rig) do(req *http.Request) answer {
	r.tb.Helper()
	res, err := r.client.Do(req)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.tb.Fatalf("reading the response: %v", err)
	}
	return answer{res.StatusCode, res.Header.Get("Server-Name"), string(body), res.Header}
}

// get asks for a target.
func (r *rig) get(target string, headers ...string) answer {
	r.tb.Helper()
	return r.do(r.request(http.MethodGet, target, "", headers...))
}

func (r *rig) server(name route.ServerName) *route.Server {
	return r.snapshot.Pools["app"].Server(name)
}

// A syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// logged waits until the access log has a text: a line is written when the
// client has its answer already.
func (r *rig) logged(text string) {
	r.tb.Helper()
	eventually(r.tb, "the log has "+text, func() bool { return strings.Contains(r.log.String(), text) })
}

// eventually waits until ok says so.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		if ok() {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
