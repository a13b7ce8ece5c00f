package l7_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mintmark/mintmark/internal/route"
)

// TestUpstreamTLS speaks with servers of TLS: each protocol for requests, and
// tunnels, for which a server that only has HTTP/1.1 is asked in that.
func TestUpstreamTLS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		want, has    bool // HTTP/2: the pool asks for it, the server has it
		proto, hello string
	}{
		{"h1", false, false, "HTTP/1.1", "a upgrade /chat\n"},
		{"h1, though the server has h2", false, true, "HTTP/1.1", "a upgrade /chat\n"},
		{"h2", true, true, "HTTP/2.0", "a connect /chat\n"},
		{"h2, which the server has not", true, false, "HTTP/1.1", "a upgrade /chat\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/chat" {
					tunnelEcho("a")(w, r)
					return
				}
				w.Header().Set("Server-Name", "a")
				_, _ = io.WriteString(w, r.Proto)
			}))
			s.EnableHTTP2 = c.has
			s.StartTLS()
			t.Cleanup(s.Close)
			roots := x509.NewCertPool()
			roots.AddCert(s.Certificate())
			cfg := &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12}
			r := newRig(t, rigConfig{ids: everyID(t), pool: func(p *route.PoolConfig) {
				p.Servers[0].Address = addressOf(s.Listener.Addr())
				p.Upstream = route.UpstreamConfig{HTTP2: c.want, TLS: cfg}
			}}, echo("unused"))
			for range 3 {
				if got := r.get("/"); got.body != c.proto {
					t.Errorf("a request: %+v; want %s", got, c.proto)
				}
				end := openUpgrade(t, r, "/chat", "")
				if line, err := bufio.NewReader(end.Reader).ReadString('\n'); err != nil || line != c.hello {
					t.Errorf("a tunnel: status %d, %q, %v; want %q", end.status, line, err, c.hello)
				}
				end.close()
			}
		})
	}
	// A certificate of nobody known is an error of connecting, and said so.
	s := httptest.NewTLSServer(echo("a"))
	t.Cleanup(s.Close)
	r := newRig(t, rigConfig{pool: func(p *route.PoolConfig) {
		p.Servers[0].Address = addressOf(s.Listener.Addr())
		p.Upstream = route.UpstreamConfig{TLS: &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "example.com", MinVersion: tls.VersionTLS12}}
	}}, echo("unused"))
	if got := r.get("/"); got.status != http.StatusBadGateway {
		t.Errorf("a certificate of nobody known: %+v; want 502", got)
	}
}
