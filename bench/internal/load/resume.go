package load

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/bench/internal/process"
)

// Resume is TLS clients that come back to nginx with the ticket of their last
// connection: a handshake, a request, 512 bytes, the end.
type Resume struct {
	// Servers is how many there are, each with ticket keys of its own.
	Servers int
}

const (
	// resumeWorkers is how many clients there are, each with its own session.
	resumeWorkers = 16
	// serverName is in the servers' certificate.
	serverName = "bench.test"
	// request is the whole request of a client.
	request = "GET / HTTP/1.1\r\nHost: " + serverName + "\r\nConnection: close\r\n\r\n"
)

// Serve starts the servers: one nginx, which keeps them apart.
func (r Resume) Serve(ctx context.Context) (*Servers, error) {
	dir, err := os.MkdirTemp("", "mintmark-bench-servers-")
	if err != nil {
		return nil, err
	}
	s, err := r.start(ctx, dir)
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (r Resume) start(ctx context.Context, dir string) (*Servers, error) {
	if err := certificate(dir); err != nil {
		return nil, err
	}
	s := &Servers{}
	var sites strings.Builder
	for i := range r.Servers {
		addr, err := process.FreeAddr(ctx)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("4d4d%04x", i+1)
		key := filepath.Join(dir, name)
		if err := ticketKey(key, name); err != nil {
			return nil, err
		}
		s.Addrs, s.Marks = append(s.Addrs, addr), append(s.Marks, name)
		fmt.Fprintf(&sites, `	server {
		listen %s ssl;
		ssl_session_ticket_key %s;
		location / { return 200 %q; }
	}
`, addr, key, strings.Repeat("m", answerSize))
	}
	conf := filepath.Join(dir, "config")
	text := fmt.Sprintf(`daemon off;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	ssl_certificate %[1]s/cert.pem;
	ssl_certificate_key %[1]s/key.pem;
	ssl_protocols TLSv1.3;
%[2]s}
`, dir, sites.String())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := process.Start(ctx, process.Command{
		Name: "nginx", Args: []string{"-e", "stderr", "-p", dir, "-c", conf}, Dir: dir,
		Ready: func(ctx context.Context) bool { return process.Accepts(ctx, s.Addrs[0]) },
	})
	if err != nil {
		return nil, err
	}
	s.Stop, s.CPU = p.Stop, p.CPU
	return s, nil
}

// ticketKey writes a key file of nginx: a name of 16 bytes that begins with
// the mark, and the secrets.
func ticketKey(file, mark string) error {
	const size = 80
	key := make([]byte, size)
	_, _ = rand.Read(key) // it never fails
	if _, err := hex.Decode(key, []byte(mark)); err != nil {
		return err
	}
	return os.WriteFile(file, key, 0o600)
}

// certificate writes a certificate that signs itself, and its key.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: serverName},
		DNSNames:     []string{serverName},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Open makes the clients.
func (r Resume) Open(_ context.Context, addr string) (Client, error) {
	c := &resumeClient{addr: addr, all: r.Servers == 1}
	for range resumeWorkers {
		c.workers = append(c.workers, &tls.Config{
			ServerName: serverName,
			// The certificate is new in each run, and not what is measured.
			InsecureSkipVerify: true,
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		})
	}
	return c, nil
}

// A resumeClient has a session for each worker.
type resumeClient struct {
	addr    string
	all     bool // all sessions must resume
	began   bool // each worker has a session
	workers []*tls.Config
}

func (r *resumeClient) Run(ctx context.Context, phase Phase) (Sample, error) {
	if !r.began {
		for w := range r.workers {
			if _, err := r.visit(ctx, w); err != nil {
				return Sample{}, err
			}
		}
		r.began = true
	}
	var resumed atomic.Int64
	s, err := drive(ctx, phase, len(r.workers), func(ctx context.Context, w int) error {
		did, err := r.visit(ctx, w)
		if did {
			resumed.Add(1)
		} else if err == nil && r.all {
			err = errors.New("the only server declined a session of its own")
		}
		return err
	})
	s.Resumed = int(resumed.Load())
	return s, err
}

// visit makes one connection, and tells whether it resumed the last one's
// session.
func (r *resumeClient) visit(ctx context.Context, w int) (resumed bool, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.addr)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(opLimit)); err != nil {
		return false, err
	}
	c := tls.Client(conn, r.workers[w])
	if err := c.HandshakeContext(ctx); err != nil {
		return false, err
	}
	if _, err := io.WriteString(c, request); err != nil {
		return false, err
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return false, fmt.Errorf("reading the answer: %w", err)
	}
	if !strings.HasSuffix(string(answer), strings.Repeat("m", answerSize)) {
		return false, errors.New("reading the answer: it is not the server's")
	}
	return c.ConnectionState().DidResume, nil
}

func (*resumeClient) Close() {}
