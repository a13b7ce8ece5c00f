package l7_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/mintmark/mintmark/internal/l7"
	"github.com/mintmark/mintmark/internal/route"
)

// tunnelEcho is a server that takes a tunnel in either way and sends back what
// it gets, after its name and what it was asked for.
func tunnelEcho(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server-Name", name)
		if r.URL.Path == "/no" {
			http.Error(w, "no tunnels here", http.StatusTeapot)
			return
		}
		if r.Method == http.MethodConnect {
			if r.Header.Get(":protocol") != "websocket" {
				w.WriteHeader(http.StatusNotImplemented)
				return
			}
			w.WriteHeader(http.StatusOK)
			rc := http.NewResponseController(w)
			_, _ = io.WriteString(w, name+" connect "+r.URL.Path+"\n")
			_ = rc.Flush()
			buf := make([]byte, 4096)
			for {
				n, err := r.Body.Read(buf)
				if n > 0 {
					_, _ = w.Write(buf[:n])
					_ = rc.Flush()
				}
				if err != nil {
					return
				}
			}
		}
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-Websocket-Key") == "" {
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer nc.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nServer-Name: " + name +
			"\r\nSec-WebSocket-Accept: checked elsewhere\r\n\r\n" + name + " upgrade " + r.URL.Path + "\n")
		_ = rw.Flush()
		_, _ = io.Copy(nc, rw)
	}
}

// A tunnelEnd is the client's end of a tunnel.
type tunnelEnd struct {
	status int
	header http.Header
	io.Reader
	io.WriteCloser // closing it ends the client's side only
	close          func()
}

// openUpgrade opens a tunnel over HTTP/1.1.
func openUpgrade(t *testing.T, r *rig, target, extra string) *tunnelEnd {
	t.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_, err = io.WriteString(nc, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+extra+"\r\n")
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(nc)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	end := &tunnelEnd{status: res.StatusCode, header: res.Header, Reader: br, WriteCloser: halfCloser{nc.(*net.TCPConn)}, close: func() { nc.Close() }}
	if res.StatusCode != http.StatusSwitchingProtocols {
		end.Reader = res.Body
	}
	return end
}

type halfCloser struct{ *net.TCPConn }

func (h halfCloser) Close() error { return h.CloseWrite() }

// openStream opens a tunnel over HTTP/2.
func openStream(t *testing.T, r *rig, target string, headers ...string) *tunnelEnd {
	t.Helper()
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	read, write := io.Pipe()
	req := r.request(http.MethodConnect, target, "", headers...)
	req.Body, req.ContentLength = read, -1
	req.Header[":protocol"] = []string{"websocket"}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = write.Close(); res.Body.Close() })
	return &tunnelEnd{status: res.StatusCode, header: res.Header, Reader: res.Body, WriteCloser: write, close: func() { res.Body.Close() }}
}

// TestTunnels opens WebSocket tunnels in all four combinations of Upgrade and
// extended CONNECT, with an ID, and sends through them in both directions.
func TestTunnels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		client2, h2c bool
	}{{"h1 to h1", false, false}, {"h2 to h1", true, false}, {"h1 to h2", false, true}, {"h2 to h2", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigConfig{ids: everyID(t), h2c: c.h2c}, tunnelEcho("a"), tunnelEcho("b"))
			how, status := "upgrade", http.StatusSwitchingProtocols
			if c.h2c {
				how = "connect"
			}
			if c.client2 {
				status = http.StatusOK
			}
			for range 4 {
				var end *tunnelEnd
				if c.client2 {
					end = openStream(t, r, "/chat?sid=b-7")
				} else {
					end = openUpgrade(t, r, "/chat?sid=b-7", "")
				}
				if end.status != status || end.header.Get("Server-Name") != "b" {
					t.Fatalf("status %d from server %q; want %d from b", end.status, end.header.Get("Server-Name"), status)
				}
				if accept := end.header.Get("Sec-Websocket-Accept"); (accept != "") == c.client2 || c.h2c && !c.client2 && accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
					t.Errorf("Sec-WebSocket-Accept is %q", accept) // the example of RFC 6455, 1.3
				}
				br := bufio.NewReader(end.Reader)
				if line, err := br.ReadString('\n'); err != nil || line != "b "+how+" /chat\n" {
					t.Fatalf("the server says %q, %v", line, err)
				}
				for _, size := range []int{1, 100, 200_000} {
					sent := strings.Repeat("x", size-1) + "\n"
					go func() { _, _ = io.WriteString(end, sent) }()
					if got, err := br.ReadString('\n'); err != nil || got != sent {
						t.Fatalf("sent %d bytes, got %d back, %v", size, len(got), err)
					}
				}
				// The end of the client's side reaches the server, whose end comes back.
				_ = end.Close()
				if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
					t.Errorf("after the end: %q, %v", rest, err)
				}
			}
			eventually(t, "no connection is counted", func() bool { return r.server("b").State.Conns.Load() == 0 })
			r.logged("field=query routed_by=mint pool=app server=b")
		})
	}
}

// TestTunnelRefused has servers that open no tunnel answer in HTTP.
func TestTunnelRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{}, tunnelEcho("a"))
	end := openUpgrade(t, r, "/no", "")
	if body, _ := io.ReadAll(end); end.status != http.StatusTeapot || !strings.Contains(string(body), "no tunnels") {
		t.Errorf("over HTTP/1.1: status %d, %q", end.status, body)
	}
	end = openStream(t, r, "/no")
	if body, _ := io.ReadAll(end); end.status != http.StatusTeapot || !strings.Contains(string(body), "no tunnels") {
		t.Errorf("over HTTP/2: status %d, %q", end.status, body)
	}
}

// TestNoTunnelOfHTTP sends upgrades to HTTP/2, through which requests could
// pass that nobody decides about: they go on as plain requests.
func TestNoTunnelOfHTTP(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	r := newRig(t, rigConfig{}, func(w http.ResponseWriter, r *http.Request) { got <- r.Header.Clone() })
	for _, protocol := range []string{"h2c", "H2C", "TLS/1.2, HTTP/1.1", "HTTP/2.0", "websocket, h2c"} {
		res := r.get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: "+protocol, "HTTP2-Settings: AAMAAABkAAQAAP__")
		h := <-got
		if res.status != 200 || h.Get("Upgrade") != "" || h.Get("Connection") != "" || h.Get("Http2-Settings") != "" {
			t.Errorf("upgrade to %s: status %d, the server sees %v", protocol, res.status, h)
		}
	}
	if res := r.do(&http.Request{Method: http.MethodConnect, URL: r.request("GET", "/", "").URL, Host: "elsewhere:443"}); res.status != http.StatusMethodNotAllowed {
		t.Errorf("CONNECT: status %d", res.status)
	}
}

// TestTunnelsEnd holds the ends of tunnels: the idle timeout, the end of a
// drain, and a client that goes away.
func TestTunnelsEnd(t *testing.T) {
	t.Parallel()
	open := map[string]func(*testing.T, *rig) *tunnelEnd{
		"h1": func(t *testing.T, r *rig) *tunnelEnd { return openUpgrade(t, r, "/", "") },
		"h2": func(t *testing.T, r *rig) *tunnelEnd { return openStream(t, r, "/") },
	}
	for name, open := range open {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idle := newRig(t, rigConfig{settings: func(s *l7.Settings) { s.IdleTimeout = time.Second }}, tunnelEcho("a"))
			end := open(t, idle)
			began := time.Now()
			_, _ = io.Copy(io.Discard, end) // ends by the timeout
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("an idle tunnel lived for %v", took)
			}
			idle.logged("cause=idle_timeout")

			r := newRig(t, rigConfig{}, tunnelEcho("a"))
			end = open(t, r)
			end.close()
			eventually(t, "the server's slot is free when the client has gone", func() bool { return r.server("a").State.Conns.Load() == 0 })
			end = open(t, r)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if cut := r.proxy.Drain(ctx); cut != 1 {
				t.Errorf("Drain cut %d; want 1", cut)
			}
			_, _ = io.Copy(io.Discard, end)
			r.logged("cause=" + string(l7.CauseShutdown))
		})
	}
}

// TestTunnelOwnerDown refuses a tunnel as any request.
func TestTunnelOwnerDown(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{ids: everyID(t), pool: func(p *route.PoolConfig) { p.WhenOwnerDown = route.OwnerDownRefuse }}, tunnelEcho("a"), tunnelEcho("b"))
	r.server("b").State.Up.Store(false)
	if end := openUpgrade(t, r, "/?sid=b-1", ""); end.status != http.StatusServiceUnavailable || end.header.Get("Retry-After") != "2" {
		t.Errorf("over HTTP/1.1: status %d, Retry-After %q", end.status, end.header.Get("Retry-After"))
	}
	if end := openStream(t, r, "/?sid=b-1"); end.status != http.StatusServiceUnavailable {
		t.Errorf("over HTTP/2: status %d", end.status)
	}
}
