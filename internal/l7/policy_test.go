package l7_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/l7"
	"github.com/mintmark/mintmark/internal/route"
)

// TestForwarded holds what servers are told of the client, by each policy.
func TestForwarded(t *testing.T) {
	t.Parallel()
	var s l7.Settings
	r := newRig(t, rigConfig{}, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "Forwarded", "X-Hop", "X-End"} {
			fmt.Fprint(w, r.Header.Get(name), "|")
		}
		fmt.Fprint(w, r.Host, "|", r.RequestURI)
	})
	for name, c := range map[string]struct {
		forwarded l7.Forwarded
		want      string
	}{
		"replace":        {l7.Forwarded{XForwarded: true}, "127.0.0.1|shop:80|http|||"},
		"replace, both":  {l7.Forwarded{XForwarded: true, Standard: true}, `127.0.0.1|shop:80|http||for=127.0.0.1;host="shop:80";proto=http|`},
		"append":         {l7.Forwarded{Policy: l7.ForwardedAppend, XForwarded: true}, "1.2.3.4, 127.0.0.1|other|ftp|99|for=x|"},
		"append, others": {l7.Forwarded{Policy: l7.ForwardedAppend, Standard: true}, `1.2.3.4|other|ftp|99|for=x, for=127.0.0.1;host="shop:80";proto=http|`},
		"keep":           {l7.Forwarded{Policy: l7.ForwardedKeep, XForwarded: true}, "1.2.3.4|other|ftp|99|for=x|"},
		"remove":         {l7.Forwarded{Policy: l7.ForwardedRemove, XForwarded: true}, "|||||"},
	} {
		s = r.base
		s.Forwarded = c.forwarded
		r.proxy.Update(&s)
		req := r.request("GET", "/a%2Fb/%7e?q=%zz;&x", "", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: other", "X-Forwarded-Proto: ftp",
			"X-Forwarded-Port: 99", "Forwarded: for=x", "X-Hop: 1", "X-End: 1", "Connection: x-hop")
		req.Host = "shop:80"
		// The hop-by-hop header is gone; target and Host are as they came.
		want := c.want + "|1|shop:80|/a%2Fb/%7e?q=%zz;&x"
		if got := r.do(req); got.body != want {
			t.Errorf("%s: the server sees\n%s; want\n%s", name, got.body, want)
		}
	}
}

// TestRefusals holds status, Retry-After and body of responses that are ours.
func TestRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{
		ids:      everyID(t),
		pool:     func(p *route.PoolConfig) { p.WhenOwnerDown = route.OwnerDownRefuse; p.Servers[0].MaxConnections = 1 },
		settings: func(s *l7.Settings) { s.MaxBody = 100_000 },
	}, echo("a"), echo("b"))
	r.server("b").State.Up.Store(false)
	down := r.get("/", "Mcp-Session-Id: b-1")
	if down.status != 503 || down.header.Get("Retry-After") != "2" || down.body != "503 Service Unavailable\n" {
		t.Errorf("the owner is down: %+v", down)
	}
	r.server("a").State.Conns.Add(1)
	if got := r.get("/", "Mcp-Session-Id: a-1"); got.status != 503 {
		t.Errorf("the owner is at its limit: status %d; want 503", got.status)
	}
	r.server("a").State.Conns.Add(-1)
	if got := r.do(r.request("POST", "/", strings.Repeat("x", 100_001))); got.status != 413 {
		t.Errorf("a body that is too large: status %d; want 413", got.status)
	}
	chunked := r.request("POST", "/", "", "Content-Type: text/plain")
	chunked.Body, chunked.ContentLength = io.NopCloser(io.LimitReader(zeros{}, 1<<20)), -1
	if got := r.do(chunked); got.status != 413 {
		t.Errorf("a body that becomes too large: status %d; want 413", got.status)
	}
	s := r.base
	s.ErrorType, s.ErrorText = "application/json", `{"error":"{cause}","status":{status}}`
	r.proxy.Update(&s)
	got := r.get("/", "Mcp-Session-Id: b-1")
	if got.header.Get("Content-Type") != "application/json" || got.body != `{"error":"owner_down","status":503}` {
		t.Errorf("an error body of one's own: %+v", got)
	}
	if n := r.server("a").State.Conns.Load() + r.server("b").State.Conns.Load(); n != 0 {
		eventually(t, "no slot is taken", func() bool { return r.server("a").State.Conns.Load() == 0 })
	}
}

// TestUnknownIDsRefused refuses IDs of nobody, and no ID.
func TestUnknownIDsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{ids: everyID(t), pool: func(p *route.PoolConfig) { p.UnknownIDs = route.UnknownRefuse }}, echo("a"))
	for _, h := range []string{"Mcp-Session-Id: nobody", "X: y"} {
		if got := r.get("/", h); got.status != http.StatusForbidden {
			t.Errorf("%s: status %d; want 403", h, got.status)
		}
	}
	if got := r.get("/", "Mcp-Session-Id: a-1"); got.server != "a" {
		t.Errorf("an ID of a: %+v", got)
	}
}

// TestLateID has the ID come after 10 MiB of body: refused by default,
// balanced when told so, and routed when the limit allows it, never silently
// sent elsewhere.
func TestLateID(t *testing.T) {
	t.Parallel()
	body := `{"input":"` + strings.Repeat("x", 10<<20) + `","previous_response_id":"b-1"}`
	var seen atomic.Int64
	count := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			seen.Store(n)
			w.Header().Set("Server-Name", name)
		}
	}
	ids := everyID(t)
	r := newRig(t, rigConfig{ids: ids}, count("a"), count("b"), count("c"))
	for _, length := range []int64{int64(len(body)), -1} {
		for _, c := range []struct {
			limit   int64
			balance bool
			status  int
			log     string
		}{
			{64 << 10, false, 413, "routed_by=refused pool=app server=- cause=body_over_limit"},
			{64 << 10, true, 200, "field=none routed_by=balance"},
			{11 << 20, false, 200, "field=json routed_by=mint pool=app server=b"},
		} {
			s := r.base
			s.IDs = append([]l7.ID(nil), ids...)
			s.IDs[4].Limit, s.IDs[4].BalanceOverflow = c.limit, c.balance
			r.proxy.Update(&s)
			before := len(r.log.String())
			req := r.request("POST", "/v1/responses", body, "Content-Type: application/json")
			req.ContentLength = length
			got := r.do(req)
			if got.status != c.status || c.status == 200 && seen.Load() != int64(len(body)) {
				t.Errorf("limit %d: status %d, the server read %d bytes", c.limit, got.status, seen.Load())
			}
			eventually(t, "the log says "+c.log, func() bool { return strings.Contains(r.log.String()[before:], c.log) })
		}
	}
	coded := r.request("POST", "/v1/responses", `{"previous_response_id":"b-1"}`, "Content-Type: application/json", "Content-Encoding: gzip")
	if got := r.do(coded); got.status != 413 {
		t.Errorf("an encoded body: status %d; want 413", got.status)
	}
}

// TestBodyBudget bounds the memory of bodies that are read for an ID.
func TestBodyBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{ids: everyID(t), proxy: func(c *l7.Config) { c.BodyBudget = 10 << 10 }}, echo("a"))
	large := `{"x":"` + strings.Repeat("y", 20<<10) + `"}`
	if got := r.do(r.request("POST", "/", large, "Content-Type: application/json")); got.status != 503 {
		t.Errorf("a body beyond the budget: status %d; want 503", got.status)
	}
	for range 10 { // what is taken is given back
		small := `{"previous_response_id":"a-1"}`
		if got := r.do(r.request("POST", "/", small, "Content-Type: application/json")); got.server != "a" {
			t.Fatalf("a small body: %+v", got)
		}
	}
}

// TestRetries holds which requests are sent again: those that nobody has seen.
func TestRetries(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deadAddress := addressOf(dead.Addr())
	dead.Close()
	var hits atomic.Int32
	r := newRig(t, rigConfig{ids: everyID(t), pool: func(p *route.PoolConfig) { p.Servers[0].Address = deadAddress }}, echo("a"), echo("b"),
		func(_ http.ResponseWriter, r *http.Request) {
			hits.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler) // the connection closes without a response
		})
	for range 5 {
		// a cannot be connected to: nobody has seen the request, its body included.
		got := r.do(r.request("POST", "/", `{"previous_response_id":"a-1"}`, "Content-Type: application/json"))
		if got.server == "b" && !strings.Contains(got.body, "a-1") || got.server != "b" && got.status != 502 {
			t.Errorf("an owner that cannot be connected to: %+v", got)
		}
	}
	hits.Store(0)
	if got := r.do(r.request("POST", "/", "x", "Mcp-Session-Id: c-1")); got.status != 502 || hits.Load() != 1 {
		t.Errorf("a server that closed: status %d after %d attempts; want 502 after 1", got.status, hits.Load())
	}
	s := r.base
	s.ResponseTimeout = 50 * time.Millisecond
	r.proxy.Update(&s)
	silent := newRig(t, rigConfig{settings: func(s *l7.Settings) { s.ResponseTimeout = 50 * time.Millisecond }}, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	})
	if got := silent.get("/"); got.status != http.StatusGatewayTimeout {
		t.Errorf("a server that says nothing: status %d; want 504", got.status)
	}
}

// TestOwnerRefusesConnections keeps a request with an ID from other servers
// when the pool says so, also when its owner is only found to be away now.
func TestOwnerRefusesConnections(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := addressOf(dead.Addr())
	dead.Close()
	r := newRig(t, rigConfig{ids: everyID(t), pool: func(p *route.PoolConfig) {
		p.Servers[0].Address, p.WhenOwnerDown = address, route.OwnerDownRefuse
	}}, echo("a"), echo("b"))
	if got := r.get("/", "Mcp-Session-Id: a-1"); got.status != 502 || got.server != "" {
		t.Errorf("got %+v; want 502", got)
	}
}

// TestDraining holds that a draining server gets the requests with its IDs,
// and no others.
func TestDraining(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{ids: everyID(t)}, echo("a"), echo("b"))
	r.server("a").State.DrainSince.Store(time.Now().UnixNano())
	for range 20 {
		if got := r.get("/", "Mcp-Session-Id: a-1"); got.server != "a" {
			t.Fatalf("an ID of the draining server went to %q", got.server)
		}
		if got := r.get("/"); got.server != "b" {
			t.Fatalf("a request without an ID went to %q, which is draining", got.server)
		}
	}
}

// TestAccessLog pins both forms of a line, without what changes.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	log := new(jsonBuffer)
	r := newRig(t, rigConfig{ids: everyID(t), settings: func(s *l7.Settings) { s.AccessLog = log }}, echo("a"))
	req := r.request("GET", "/whip/a-1/x?sid=a-1&b=c", "", "User-Agent: \"evil\"\tagent", "Referer: http://x/y?sid=a-1")
	req.Host = "shop"
	r.do(req)
	eventually(t, "a line is written", func() bool { return strings.HasSuffix(log.String(), "\n") })
	var got map[string]any
	if err := json.Unmarshal([]byte(log.String()), &got); err != nil {
		t.Fatalf("%v: %s", err, log)
	}
	for key, want := range map[string]any{
		"listener": "api", "client": "127.0.0.1", "method": "GET", "host": "shop", "target": "/whip/***/x?sid=***&b=c", "protocol": "HTTP/1.1",
		"referer": "http://x/y", "user_agent": "\"evil\"\tagent", "field": "query", "routed_by": "mint", "pool": "app", "server": "a",
		"cause": "owner", "status": 200.0, "bytes_out": float64(len("GET /whip/a-1/x?sid=a-1&b=c ")),
	} {
		if got[key] != want {
			t.Errorf("%s is %v; want %v", key, got[key], want)
		}
	}
	if strings.Contains(log.String(), "a-1") {
		t.Errorf("an ID is in the log: %s", log)
	}
}

type jsonBuffer struct{ syncBuffer }

func (*jsonBuffer) JSON() bool { return true }

// TestProxyProtocolIn believes the PROXY header of a trusted peer, and lets
// nobody there do without.
func TestProxyProtocolIn(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{settings: func(s *l7.Settings) { s.AcceptFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	})
	send := func(header string) (*http.Response, error) {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		_, _ = io.WriteString(nc, header+"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		return http.ReadResponse(bufio.NewReader(nc), nil)
	}
	res, err := send("PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "192.0.2.7" {
		t.Errorf("the server sees the client %q; want 192.0.2.7", body)
	}
	if res, err := send(""); err == nil && res.StatusCode == 200 {
		t.Error("a trusted peer without a PROXY header was served")
	}
}

// TestConnectionLimit closes what is beyond the limit of the listener.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{settings: func(s *l7.Settings) { s.MaxConnections = 1 }}, echo("a"))
	if got := r.get("/"); got.status != 200 {
		t.Fatalf("the first connection: %+v", got)
	}
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := nc.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("the second connection: %d bytes, %v; want its end", n, err)
	}
}

// TestSlowHeader ends a connection whose request header does not come.
func TestSlowHeader(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{settings: func(s *l7.Settings) { s.HelloTimeout = time.Second }}, echo("a"))
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nX: y")
	_ = nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, nc); err != nil {
		t.Errorf("a header that does not end: %v; want the end of the connection", err)
	}
}

// TestReuse sends many requests over few connections to the server.
func TestReuse(t *testing.T) {
	t.Parallel()
	var conns atomic.Int32
	r := newRig(t, rigConfig{}, echo("a"))
	counting := countingDialer{&conns}
	other := l7.New(l7.Config{Dialer: counting}, &r.base)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- other.Serve(ctx, ln) }()
	r.addr = ln.Addr().String()
	for i := range 50 {
		if got := r.do(r.request("POST", "/"+strconv.Itoa(i), "body")); got.status != 200 {
			t.Fatalf("request %d: %+v", i, got)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("50 requests took %d connections; want 1", n)
	}
	r.client.CloseIdleConnections()
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	_ = ln.Close()
	other.Drain(t.Context())
}

type countingDialer struct{ n *atomic.Int32 }

func (d countingDialer) Dial(ctx context.Context, s *route.Server, timeout time.Duration) (net.Conn, error) {
	d.n.Add(1)
	return dialer{}.Dial(ctx, s, timeout)
}
