package lab

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Without a balancer between them, every server of the lab hands out sessions
// that begin with the mark that was chosen, and takes them back. When this
// fails, what fails in package test says nothing about Mintmark.
func TestServersMintTheChosenMark(t *testing.T) {
	t.Parallel()
	cert := NewCert(t)
	const mark = "4d4d0007"
	for _, c := range []struct {
		name  string
		start func(t *testing.T) *Server
	}{
		{"nginx", func(t *testing.T) *Server { return StartNginx(t, cert, "a", mark) }},
		{"haproxy", func(t *testing.T) *Server { return StartHAProxy(t, cert, "a", mark) }},
		{"apache", func(t *testing.T) *Server { return StartApache(t, cert, "a", mark) }},
		{"lighttpd", func(t *testing.T) *Server { return StartLighttpd(t, cert, "a", mark) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.start(t)
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				client := NewGoClient(cert, version)
				for i := range 3 {
					got, err := client.Connect(s.Addr)
					if err != nil {
						t.Fatal(err)
					}
					if want := i > 0; got.Resumed != want || !strings.HasPrefix(got.Body, "a") {
						t.Errorf("TLS %04x, connection %d: got %+v; want resumed %v", version, i, got, want)
					}
					want, err := hex.DecodeString(mark)
					if err != nil {
						t.Fatal(err)
					}
					if ticket := ticketOf(t, client); !bytes.HasPrefix(ticket, want) {
						t.Errorf("TLS %04x: ticket begins with %x; want %s", version, ticket[:16], mark)
					}
				}
			}
		})
	}
}

func ticketOf(t *testing.T, c *GoClient) []byte {
	t.Helper()
	ticket := c.Ticket()
	if ticket == nil {
		t.Fatal("the server issued no ticket")
	}
	return ticket
}

func TestOpenSSLMintsTheChosenPrefix(t *testing.T) {
	t.Parallel()
	cert := NewCert(t)
	s := StartOpenSSL(t, cert, "a", "SRV7")
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		client := NewOpenSSLClient(t, cert, version)
		for i := range 3 {
			got, err := client.Connect(s.Addr)
			if err != nil {
				t.Fatal(err)
			}
			if want := i > 0; got.Resumed != want {
				t.Errorf("%s, connection %d: got resumed %v; want %v", version, i, got.Resumed, want)
			}
			if want := "53525637"; !strings.Contains(got.Body, want) {
				t.Errorf("%s: the server's page shows no session ID that begins with %s:\n%s", version, want, got.Body)
			}
		}
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	cert := NewCert(t)
	s := StartNginx(t, cert, "a", "4d4d0007")
	want := []string{"a . TLSv1.3", "a r TLSv1.3", "a r TLSv1.3"}
	if diff := cmp.Diff(want, Curl(t, cert, s.Addr, 3)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestParseMetrics(t *testing.T) {
	t.Parallel()
	got, err := parseMetrics(`# HELP up Whether it is.
# TYPE up gauge
up 1
decisions{pool="a b",field="psk"} 12
decisions{pool="q\"}{,",field="psk"} 2.5e+01
`)
	if err != nil {
		t.Fatal(err)
	}
	if n := got.Sum("decisions", map[string]string{"field": "psk"}); n != 37 {
		t.Errorf("sum of decisions: got %v; want 37", n)
	}
	if !got.Has("decisions", map[string]string{"pool": `q"}{,`}) {
		t.Error("the escaped label is lost")
	}
	if got.Has("decisions", map[string]string{"pool": "c"}) || !got.Has("up", nil) {
		t.Errorf("wrong samples: %+v", got)
	}
	for _, bad := range []string{"up", "up x", `up{a=b} 1`, `up{a} 1`} {
		if m, err := parseMetrics(bad); err == nil {
			t.Errorf("%q: got %+v; want an error", bad, m)
		}
	}
}
