package web

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// writeCert writes a certificate for name, which signs itself, and its key
// into dir, as name.pem and name.key, and returns its serial number.
func writeCert(t *testing.T, dir, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial := big.NewInt(time.Now().UnixNano())
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	lab.WriteFile(t, dir, name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	lab.WriteFile(t, dir, name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	return serial.String()
}

// TestCertificatesReload ends TLS for two names, exchanges the certificates
// under load of a stream that goes on, and then breaks one: a reload that
// cannot be made changes nothing. Towards the servers it speaks HTTP/2 over
// TLS, and checks who they are.
func TestCertificatesReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := writeCert(t, dir, "one.test"), writeCert(t, dir, "two.test")
	var servers strings.Builder
	release := make(chan struct{})
	for _, name := range []string{"a", "b"} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s %s\n", name, r.Proto, r.Header.Get("X-Forwarded-Proto"))
			if r.URL.Path == "/stream" {
				_ = http.NewResponseController(w).Flush()
				<-release
				fmt.Fprintln(w, "end")
			}
		}))
		s.EnableHTTP2 = true
		s.StartTLS()
		t.Cleanup(s.Close)
		lab.WriteFile(t, dir, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
		servers.WriteString(fmt.Sprintf("      - {name: %s, address: %q, ids: [{prefix: %q}]}\n", name, s.Listener.Addr(), name+"-"))
	}
	admin, web := lab.FreeAddr(t), lab.FreeAddr(t)
	text := fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - name: web
    listen: %q
    protocol: http
    tls:
      certificates:
        - {cert: %[3]s/one.test.pem, key: %[3]s/one.test.key}
        - {cert: %[3]s/two.test.pem, key: %[3]s/two.test.key}
    ids: [{cookie: session}]
    pool: app
pools:
  - name: app
    upstream: {protocol: h2, tls: {sni: example.com, ca: %[3]s/ca.pem}}
    health: {type: http, interval: 30s, timeout: 30s}
    servers:
%[4]s`, admin, web, dir, servers.String())
	b := lab.StartBalancer(t, mintmark, admin, text)
	cache := tls.NewLRUClientSessionCache(8)
	newClient := func(sni string) *http.Client {
		tr := &http.Transport{
			// The names are what is tested, and certificates are new each time.
			TLSClientConfig:   &tls.Config{ServerName: sni, InsecureSkipVerify: true, ClientSessionCache: cache}, //nolint:gosec // see above
			ForceAttemptHTTP2: true,
		}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, Timeout: time.Minute}
	}
	get := func(c *http.Client, path string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+web+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", "session=b-1")
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	serial := func(sni string) string {
		c := newClient(sni)
		res := get(c, "/")
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "b HTTP/2.0 https\n" {
			t.Errorf("%s: got %q, %v", sni, body, err)
		}
		return res.TLS.PeerCertificates[0].SerialNumber.String()
	}
	for sni, want := range map[string]string{"one.test": first, "two.test": second, "other.test": first, "": first} {
		if got := serial(sni); got != want {
			t.Errorf("%q gets certificate %s; want %s", sni, got, want)
		}
	}

	long := newClient("one.test")
	stream := get(long, "/stream")
	defer stream.Body.Close()
	br := bufio.NewReader(stream.Body)
	if _, err := br.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	next := writeCert(t, dir, "two.test")
	b.Signal(syscall.SIGHUP)
	lab.Eventually(t, time.Minute, "the new certificate is in force", func() bool {
		cache = tls.NewLRUClientSessionCache(8) // a session would bring the old one
		return serial("two.test") == next
	})

	lab.WriteFile(t, dir, "two.test.key", []byte("no key"))
	b.Signal(syscall.SIGHUP)
	lab.Eventually(t, time.Minute, "the reload is refused", func() bool {
		return b.Metrics().Sum("mintmark_config_last_reload_successful", nil) == 0
	})
	if status, out := b.Check(); status != 2 {
		t.Errorf("mintmark check: status %d\n%s", status, out)
	}
	if got := serial("two.test"); got != next {
		t.Errorf("after a refused reload: certificate %s; want %s", got, next)
	}
	resumed := get(newClient("two.test"), "/")
	resumed.Body.Close()
	if !resumed.TLS.DidResume {
		t.Error("a TLS session of before is not resumed")
	}
	close(release)
	if line, err := br.ReadString('\n'); err != nil || line != "end\n" {
		t.Errorf("the stream that was open: %q, %v", line, err)
	}
	if m := b.Metrics(); m.Sum("mintmark_decisions_total", map[string]string{"field": "cookie", "routed_by": "mint"}) < 8 {
		t.Error("the decisions are not counted")
	}
}
