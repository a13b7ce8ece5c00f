package lab

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// clientLimit bounds one connection of a client, from connect to close.
const clientLimit = 20 * time.Second

const request = "GET / HTTP/1.1\r\nHost: " + ServerName + "\r\nConnection: close\r\n\r\n"

// A Result is what a client saw of one connection.
type Result struct {
	Resumed bool   // the client's own TLS library says so
	Version string // "TLSv1.2" or "TLSv1.3"
	Body    string // what the server answered
}

// A Client connects, asks one question, and keeps the session that it was
// given for the next time. It is not safe for concurrent use.
type Client interface {
	Connect(addr string) (Result, error)
}

// An OpenSSLClient is `openssl s_client` with a session file.
type OpenSSLClient struct {
	tb      testing.TB
	cert    *Cert
	session string
	args    []string
}

// NewOpenSSLClient returns a client without a session. args are further
// arguments of s_client, such as -tls1_2.
func NewOpenSSLClient(tb testing.TB, cert *Cert, args ...string) *OpenSSLClient {
	tb.Helper()
	return &OpenSSLClient{
		tb:      tb,
		cert:    cert,
		session: filepath.Join(tb.TempDir(), "session.pem"),
		args:    args,
	}
}

var handshakeLine = regexp.MustCompile(`(?m)^(New|Reused), (TLSv[0-9.]+), Cipher is `)

// Connect implements Client.
func (c *OpenSSLClient) Connect(addr string) (Result, error) {
	args := append([]string{
		"s_client", "-connect", addr, "-servername", ServerName,
		"-CAfile", c.cert.CertFile, "-verify_return_error", "-ign_eof",
		"-sess_out", c.session,
	}, c.args...)
	if _, err := os.Stat(c.session); err == nil {
		args = append(args, "-sess_in", c.session)
	}
	out, err := run(c.tb, request, "openssl", args...)
	if err != nil {
		return Result{}, fmt.Errorf("running openssl s_client: %w", err)
	}
	m := handshakeLine.FindStringSubmatch(out)
	if m == nil {
		return Result{}, fmt.Errorf("openssl s_client %s: no handshake in its output:\n%s", addr, tail(out))
	}
	_, body, _ := strings.Cut(out, "\r\n\r\n")
	return Result{Resumed: m[1] == "Reused", Version: m[2], Body: strings.TrimSpace(body)}, nil
}

// A GoClient is crypto/tls with a session cache of its own.
type GoClient struct {
	config *tls.Config
}

// NewGoClient returns a client without a session that speaks version (such as
// tls.VersionTLS13) and nothing else.
func NewGoClient(cert *Cert, version uint16) *GoClient {
	return &GoClient{config: &tls.Config{
		ServerName:         ServerName,
		RootCAs:            cert.Roots,
		MinVersion:         version,
		MaxVersion:         version,
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}}
}

// Ticket returns the ticket of the session that the client keeps, nil if it has
// none.
func (c *GoClient) Ticket() []byte {
	session, ok := c.config.ClientSessionCache.Get(ServerName)
	if !ok {
		return nil
	}
	ticket, _, err := session.ResumptionState()
	if err != nil {
		return nil
	}
	return ticket
}

// Connect implements Client.
func (c *GoClient) Connect(addr string) (Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), clientLimit)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return Result{}, fmt.Errorf("connecting: %w", err)
	}
	defer raw.Close()
	deadline, _ := ctx.Deadline()
	if err := raw.SetDeadline(deadline); err != nil {
		return Result{}, err
	}
	conn := tls.Client(raw, c.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return Result{}, fmt.Errorf("handshaking: %w", err)
	}
	body, err := ask(conn)
	if err != nil {
		return Result{}, err
	}
	state := conn.ConnectionState()
	version := map[uint16]string{tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3"}[state.Version]
	return Result{Resumed: state.DidResume, Version: version, Body: body}, nil
}

// ask sends the request and returns the body of the answer. The answer's end
// comes after the server's tickets, so the client has them when it returns.
func ask(conn net.Conn) (string, error) {
	if _, err := io.WriteString(conn, request); err != nil {
		return "", fmt.Errorf("asking: %w", err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answered %s", answer.Status)
	}
	return strings.TrimSpace(string(body)), nil
}

// Curl runs one curl that asks addr n times over connections of their own,
// with one memory of sessions, and returns the bodies of the answers.
func Curl(tb testing.TB, cert *Cert, addr string, n int, args ...string) []string {
	tb.Helper()
	host, port := splitAddr(tb, addr)
	args = append([]string{
		"--silent", "--show-error", "--http1.1", "--header", "Connection: close", "--cacert", cert.CertFile,
		"--resolve", ServerName + ":" + port + ":" + host,
	}, args...)
	for range n {
		args = append(args, "https://"+net.JoinHostPort(ServerName, port)+"/")
	}
	out, err := run(tb, "", "curl", args...)
	if err != nil {
		tb.Fatalf("lab: running curl: %v", err)
	}
	bodies := strings.Split(strings.TrimSpace(out), "\n")
	if len(bodies) != n {
		tb.Fatalf("lab: curl printed %d answers; want %d:\n%s", len(bodies), n, out)
	}
	return bodies
}

// OpenConn opens a TLS connection that stays open until the test ends.
func OpenConn(tb testing.TB, cert *Cert, addr string) *tls.Conn {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), clientLimit)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	conn := tls.Client(raw, &tls.Config{ServerName: ServerName, RootCAs: cert.Roots})
	tb.Cleanup(func() { conn.Close() })
	if err := conn.HandshakeContext(ctx); err != nil {
		tb.Fatalf("lab: handshaking with %s: %v", addr, err)
	}
	return conn
}

// RunNGTCP2 requests a URL over HTTP/3 with ngtcp2's client, which connects to
// addr, and returns what it logged. It ends when the response has.
func RunNGTCP2(tb testing.TB, addr, url string, args ...string) string {
	tb.Helper()
	host, port := splitAddr(tb, addr)
	args = append(args, "--exit-on-all-streams-close", "--no-quic-dump", "--no-http-dump", host, port, url)
	ctx, cancel := context.WithTimeout(tb.Context(), startLimit)
	defer cancel()
	log, err := exec.CommandContext(ctx, program(tb, "gtlsclient"), args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("lab: gtlsclient: %v\n%s", err, tail(string(log)))
	}
	return string(log)
}

// RunChromiumQUIC has Chromium open a page of ServerName over QUIC, and over
// nothing else, at addr, and returns what it shows.
func RunChromiumQUIC(tb testing.TB, cert *Cert, addr, path string) string {
	tb.Helper()
	host, port := splitAddr(tb, addr)
	b, err := os.ReadFile(cert.CertFile)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	block, _ := pem.Decode(b)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	spki := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	ctx, cancel := context.WithTimeout(tb.Context(), browserLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(tb, "chromium"),
		"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--user-data-dir="+tb.TempDir(),
		"--host-resolver-rules=MAP "+ServerName+" "+host,
		"--origin-to-force-quic-on="+ServerName+":"+port,
		// QUIC wants a certificate that is known by its key, if not by its root.
		"--ignore-certificate-errors-spki-list="+base64.StdEncoding.EncodeToString(spki[:]),
		"--dump-dom", "https://"+net.JoinHostPort(ServerName, port)+path)
	var said strings.Builder
	cmd.Stderr = &said
	page, err := cmd.Output()
	if err != nil {
		tb.Fatalf("lab: chromium: %v\n%s", err, tail(said.String()))
	}
	return string(page)
}
