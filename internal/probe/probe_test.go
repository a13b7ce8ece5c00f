package probe

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
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
func serve(t testing.TB, cfg *tls.Config) Config {
	t.Helper()
	return serveThrough(t, cfg, func(c net.Conn) net.Conn { return c })
}

// serveThrough is serve with something between the server and its
// connections.
func serveThrough(t testing.TB, cfg *tls.Config, wrap func(net.Conn) net.Conn) Config {
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
				_, _ = io.Copy(io.Discard, tls.Server(wrap(c), cfg)) // until the client hangs up
			})
		}
	})
	return Config{SNI: "probe.test", Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", ln.Addr().String())
	}}
}

func selfSigned(t testing.TB) tls.Certificate {
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

// A server that demands a client certificate sends tickets to nobody else.
func TestRunWithClientCertificate(t *testing.T) {
	t.Parallel()
	server := marked("0123456789abcdef")
	server.ClientAuth = tls.RequireAnyClientCert
	cfg := serve(t, server)
	stranger, err := Run(t.Context(), cfg)
	if err != nil || stranger.Layout != LayoutNone || !strings.Contains(strings.Join(stranger.Advice(), "\n"), "client certificate") {
		t.Errorf("a stranger: got %+v, %v; want no tickets, and the reason in the advice", stranger, err)
	}
	cert := selfSigned(t)
	cfg.Certificate = &cert
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Name) != "0123456789abcdef" {
		t.Errorf("with a certificate: got layout %s, name %q; want the server's mark", r.Layout, r.Name)
	}
	for _, s := range r.Samples {
		if s.Err != nil || s.Connections != DefaultConnections || len(s.Tickets) < DefaultConnections {
			t.Errorf("%s: %d connections, %d tickets, %v; want %d of each", tls.VersionName(s.Version),
				s.Connections, len(s.Tickets), s.Err, DefaultConnections)
		}
	}
}

// lateTickets is the connection of a server whose TLS 1.3 tickets go out with
// its first answer only, as BoringSSL's do: what crypto/tls writes behind its
// Finished is held back until the client has sent data.
type lateTickets struct {
	net.Conn
	wrote int // encrypted records that were sent or held
	held  []byte
	in    []byte // of the client, not yet cut into records
	asked int    // encrypted records of the client
}

const (
	recordHeader    = 5
	applicationData = 23
	serverFlight    = 4 // EncryptedExtensions, Certificate, CertificateVerify, Finished
)

// nextRecord cuts the first whole record off b.
func nextRecord(b []byte) (record, rest []byte, ok bool) {
	if len(b) < recordHeader {
		return nil, b, false
	}
	n := recordHeader + int(b[3])<<8 + int(b[4])
	if len(b) < n {
		return nil, b, false
	}
	return b[:n], b[n:], true
}

// Write gets whole records from crypto/tls.
func (c *lateTickets) Write(b []byte) (int, error) {
	n := len(b)
	for {
		record, rest, ok := nextRecord(b)
		if !ok {
			return n, nil
		}
		b = rest
		if record[0] == applicationData {
			c.wrote++
		}
		if c.wrote > serverFlight && c.asked < 2 {
			c.held = append(c.held, record...)
		} else if _, err := c.Conn.Write(record); err != nil {
			return 0, err
		}
	}
}

func (c *lateTickets) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in = append(c.in, b[:n]...)
	for {
		record, rest, ok := nextRecord(c.in)
		if !ok {
			break
		}
		c.in = rest
		if record[0] == applicationData {
			c.asked++ // its Finished, then the request
		}
	}
	if c.asked >= 2 && len(c.held) > 0 {
		if _, err := c.Conn.Write(c.held); err != nil {
			return n, err
		}
		c.held = nil
	}
	return n, err
}

// A server that sends its tickets only with data is sent a small request.
func TestRunAgainstLateTickets(t *testing.T) {
	t.Parallel()
	server := marked("0123456789abcdef")
	server.MinVersion = tls.VersionTLS13
	r, err := Run(t.Context(), serveThrough(t, server, func(c net.Conn) net.Conn { return &lateTickets{Conn: c} }))
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Samples[0]; !s.OnRequest || len(s.Tickets) != DefaultConnections || string(r.Name) != "0123456789abcdef" {
		t.Errorf("got %d tickets, on request: %t, name %q; want %d on request, and the server's mark",
			len(s.Tickets), s.OnRequest, r.Name, DefaultConnections)
	}
}

// Where one version of TLS brings tickets and the other does not, both are
// told.
func TestAdviceOnSilentVersion(t *testing.T) {
	t.Parallel()
	name := func(n byte) Ticket { return Ticket{ID: append([]byte("0123456789abcdef"), n)} }
	tickets := []Ticket{name(1), name(2), name(3)}
	for silent, want := range map[int]string{0: "With TLS 1.3 it sent no ticket", 1: "With TLS 1.2 it sent no ticket"} {
		r := &Result{Samples: []Sample{{Version: tls.VersionTLS13, Tickets: tickets}, {Version: tls.VersionTLS12, Tickets: tickets}}}
		r.Samples[silent].Tickets = nil
		r.judge()
		if got := strings.Join(r.Advice(), "\n"); r.Layout != LayoutKeyName || !strings.Contains(got, want) {
			t.Errorf("layout %s, advice:\n%s\nwant %q in it", r.Layout, got, want)
		}
	}
}

// What cannot be connected to is asked once, and so reported.
func TestRunUnreachable(t *testing.T) {
	t.Parallel()
	dials := 0
	refused := errors.New("refused")
	_, err := Run(t.Context(), Config{Dial: func(context.Context) (net.Conn, error) { dials++; return nil, refused }})
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, refused) || dials != 1 {
		t.Errorf("got %v after %d attempts; want ErrUnreachable after one", err, dials)
	}
}

func TestRunNotTLS(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), Config{Timeout: time.Second, Dial: func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			_, _ = server.Read(make([]byte, 64<<10)) // the hello
			_, _ = io.WriteString(server, "SSH-2.0-x\r\n")
		}()
		return client, nil
	}})
	if err == nil || strings.Count(err.Error(), "does not look like a TLS handshake") != 1 {
		t.Errorf("got %v; want the reason, once", err)
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

// BenchmarkRun is what a probe costs, server and client together: all of its
// connections, with both versions of TLS.
func BenchmarkRun(b *testing.B) {
	cfg := serve(b, marked("0123456789abcdef"))
	for b.Loop() {
		if r, err := Run(b.Context(), cfg); err != nil || !r.Layout.Routable() {
			b.Fatal(r, err)
		}
	}
}
