package probe

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a TLS server with the configuration given for the length of the
// test, and returns how to reach it.
func serve(t *testing.T, cfg *tls.Config) Config {
	t.Helper()
	cfg.Certificates = []tls.Certificate{selfSigned(t)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = io.Copy(io.Discard, tls.Server(c, cfg)) // until the client hangs up
			})
		}
	})
	return Config{SNI: "probe.test", Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", ln.Addr().String())
	}}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"probe.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// marked makes a server mint tickets behind a mark.
func marked(mark string) *tls.Config {
	c := &tls.Config{}
	c.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ticket, err := c.EncryptTicket(cs, ss)
		return append([]byte(mark), ticket...), err
	}
	c.UnwrapSession = func(id []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ticket, ok := bytes.CutPrefix(id, []byte(mark))
		if !ok {
			return nil, nil
		}
		return c.DecryptTicket(ticket, cs)
	}
	return c
}

func TestRunAgainstGo(t *testing.T) {
	t.Parallel()
	noTickets := &tls.Config{SessionTicketsDisabled: true}
	clientCert := &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	only12 := marked("0123456789abcdef")
	only12.MaxVersion = tls.VersionTLS12
	tests := []struct {
		name   string
		server *tls.Config
		layout Layout
		mark   string
	}{
		{"default tickets have no name", &tls.Config{}, LayoutOpaque, ""},
		{"a mark of 16 bytes", marked("0123456789abcdef"), LayoutKeyName, "0123456789abcdef"},
		{"a mark of 20 bytes is cut", marked("0123456789abcdefghij"), LayoutKeyName, "0123456789abcdef"},
		{"a mark of 8 bytes", marked("01234567"), LayoutPrefix, "01234567"},
		{"a mark of 3 bytes is refused", marked("012"), LayoutOpaque, ""},
		{"TLS 1.2 only", only12, LayoutKeyName, "0123456789abcdef"},
		{"tickets off", noTickets, LayoutNone, ""},
		{"a client certificate is demanded", clientCert, LayoutNone, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := Run(t.Context(), serve(t, tt.server))
			if err != nil {
				t.Fatal(err)
			}
			if r.Layout != tt.layout || string(r.Name) != tt.mark {
				t.Errorf("got layout %s, name %q, stable %d; want %s, %q", r.Layout, r.Name, r.Stable, tt.layout, tt.mark)
			}
			if len(r.Advice()) == 0 {
				t.Error("no advice")
			}
		})
	}
}

func TestRunNotTLS(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), Config{Timeout: time.Second, Dial: func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			_, _ = io.ReadFull(server, make([]byte, 5))
			_, _ = io.WriteString(server, "SSH-2.0-x\r\n")
		}()
		return client, nil
	}})
	if err == nil || !strings.Contains(err.Error(), "probing") {
		t.Errorf("got %v; want an error", err)
	}
}

// A server that never answers must not hold a probe longer than its timeout.
func TestRunSilentServer(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), Config{Timeout: 50 * time.Millisecond, Dial: func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		return client, nil
	}})
	if err == nil {
		t.Error("got no error from a server that says nothing")
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	a, b := serve(t, marked("server-a")), serve(t, marked("server-b"))
	r, err := Run(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	for _, ticket := range []Ticket{r.Samples[0].Tickets[0], r.Samples[1].Tickets[0]} {
		for _, tt := range []struct {
			name string
			to   Config
			want bool
		}{{"at its own server", a, true}, {"at another", b, false}} {
			got, err := Resume(t.Context(), tt.to, ticket)
			if err != nil || got != tt.want {
				t.Errorf("%s of %s %s: accepted %t, %v; want %t", "ticket", tls.VersionName(ticket.Version), tt.name, got, err, tt.want)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return b
	}
	same := random(200)
	tests := []struct {
		name   string
		ids    [][]byte
		layout Layout
	}{
		{"none", nil, LayoutNone},
		{"random session IDs", [][]byte{random(32), random(32), random(32)}, LayoutStateful},
		{"one ticket again and again names nobody", [][]byte{same, same, same, same}, LayoutOpaque},
		{"two that agree are too few", [][]byte{append([]byte("namename"), random(60)...), append([]byte("namename"), random(60)...)}, LayoutOpaque},
		{"session IDs with a prefix", [][]byte{
			append([]byte("SRV7"), random(28)...), append([]byte("SRV7"), random(28)...), append([]byte("SRV7"), random(28)...),
		}, LayoutPrefix},
		{"a key that changes during the probe", [][]byte{
			append([]byte("first-name-of-16"), random(60)...), append([]byte("first-name-of-16"), random(60)...),
			append([]byte("other-name-of-16"), random(60)...), append([]byte("other-name-of-16"), random(60)...),
		}, LayoutKeyName},
		{"a name that only one ticket has is none", [][]byte{
			append([]byte("first-name-of-16"), random(60)...), append([]byte("first-name-of-16"), random(60)...),
			append([]byte("other-name-of-16"), random(60)...),
		}, LayoutOpaque},
		{"one is shorter than a name", [][]byte{[]byte("abc"), []byte("abcd1"), []byte("abcd2")}, LayoutOpaque},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &Result{Samples: []Sample{{Version: tls.VersionTLS13}, {Version: tls.VersionTLS12}}}
			for _, id := range tt.ids {
				r.Samples[0].Tickets = append(r.Samples[0].Tickets, Ticket{ID: id})
			}
			r.judge()
			if n := len(r.Names); n > 1 && (string(r.Name) != "other-name-of-16" || n != 2) {
				t.Errorf("got names %q, the last %q; want both and the second", r.Names, r.Name)
			}
			if r.Layout != tt.layout {
				t.Errorf("got %s (stable %d, name %x); want %s", r.Layout, r.Stable, r.Name, tt.layout)
			}
		})
	}
}
