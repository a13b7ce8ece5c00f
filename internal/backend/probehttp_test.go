package backend

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// TestProbeHTTP asks servers of each kind, which answer 204 on /up, and 503
// elsewhere.
func TestProbeHTTP(t *testing.T) {
	t.Parallel()
	insecure := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the test's own certificate
	for name, upstream := range map[string]route.UpstreamConfig{
		"h1":     {},
		"h2c":    {HTTP2: true},
		"h1 TLS": {TLS: insecure},
		"h2 TLS": {TLS: insecure, HTTP2: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				proto := 1
				if upstream.HTTP2 {
					proto = 2
				}
				if r.URL.Path == "/up" && r.URL.RawQuery == "deep=1" && r.Host == "shop.example" && r.ProtoMajor == proto {
					w.WriteHeader(http.StatusNoContent)
					return
				}
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetHTTP1(!upstream.HTTP2)
			s.Config.Protocols.SetHTTP2(true)
			s.Config.Protocols.SetUnencryptedHTTP2(upstream.HTTP2)
			if upstream.TLS != nil {
				s.EnableHTTP2 = upstream.HTTP2
				s.StartTLS()
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			check := func(path string) error {
				var d net.Dialer
				conn, err := d.DialContext(t.Context(), "tcp", s.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				return ask(t.Context(), conn, target{
					health:   route.HealthConfig{Type: route.HealthHTTP, Path: path, Host: "shop.example", Timeout: time.Minute},
					upstream: upstream,
				})
			}
			if err := check("/up?deep=1"); err != nil {
				t.Errorf("a server that is well: %v", err)
			}
			if err := check("/down"); err == nil || !strings.Contains(err.Error(), "503") {
				t.Errorf("a server that is not well: got %v; want its status", err)
			}
		})
	}
}
