// Package join is how a balancer, an agent, a Go server or a person becomes
// known to a control plane: it takes a join token there and comes back with a
// certificate, which it keeps in a directory and renews by itself.
//
// The token carries the fingerprint of the control plane's certificate
// authority. So the token goes to nobody else, without any file of
// certificates having been copied before.
package join

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
)

// timeout bounds one exchange with the control plane.
const timeout = 15 * time.Second

// fileCredentials is the file of a Credentials directory: the private key, the
// member's certificate, then the authority's. It is one file so that none of
// them is ever seen with another's.
const fileCredentials = "credentials.pem"

// ErrNotJoined is the error of Load for a directory without credentials.
var ErrNotJoined = errors.New("not joined yet: a join token is needed once (mintmark token create)")

// A Token is a join token, read.
type Token struct {
	// Role is what its holder will be.
	Role string
	// Fingerprint is the SHA-256 of the authority's certificate.
	Fingerprint [sha256.Size]byte

	text string
}

// ParseToken reads a token: mm1.ROLE.SECRET.FINGERPRINT. The error does not
// quote it.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	parts := strings.Split(text, ".")
	if len(parts) != 4 || parts[0] != "mm1" {
		return Token{}, errors.New("this is no Mintmark token, which begins with mm1. and has four parts")
	}
	t := Token{Role: parts[1], text: text}
	b, err := base64.RawURLEncoding.DecodeString(parts[3])
	if err != nil || len(b) != len(t.Fingerprint) {
		return Token{}, errors.New("the token is cut short or damaged")
	}
	copy(t.Fingerprint[:], b)
	return t, nil
}

// Text returns the token as it was written.
func (t Token) Text() string { return t.text }

// String hides the secret from logs.
func (t Token) String() string { return "mm1." + t.Role + ".…" }

// Pinned returns a TLS configuration that talks only to the authority of t,
// under whatever name.
func (t Token) Pinned() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The chain is verified below, against the pin instead of a pool.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyPinned(s.PeerCertificates, t.Fingerprint)
		},
	}
}

func verifyPinned(chain []*x509.Certificate, pin [sha256.Size]byte) error {
	for _, c := range chain {
		sum := sha256.Sum256(c.Raw)
		if subtle.ConstantTimeCompare(sum[:], pin[:]) != 1 {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(c)
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		return err
	}
	return errors.New("this is not the control plane that made the token: its certificate authority is another")
}

// Join takes the token to the control plane at url and keeps what comes back in
// dir, which is made with mode 0700. What was there is replaced only when the
// token was taken.
func Join(ctx context.Context, url, dir string, t Token) (*Credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	transport := &http.Transport{TLSClientConfig: t.Pinned(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := mintmarkv1connect.NewEnrollServiceClient(&http.Client{Transport: transport, Timeout: timeout}, url)
	r, err := client.Join(ctx, connect.NewRequest(&mintmarkv1.JoinRequest{Token: t.text, Csr: csr}))
	if err != nil {
		return nil, fmt.Errorf("joining %s: %w", url, err)
	}
	c := &Credentials{dir: dir, now: time.Now}
	if err := c.keep(key, r.Msg.GetCertificates()); err != nil {
		return nil, fmt.Errorf("joining %s: %w", url, err)
	}
	return c, nil
}

// Credentials are a member's key and certificate, in a directory. They are
// safe for concurrent use.
type Credentials struct {
	dir string
	now func() time.Time

	mu   sync.Mutex
	cert *tls.Certificate
	ca   *x509.Certificate
}

// Load reads the credentials in dir. The error is ErrNotJoined when there are
// none.
func Load(dir string) (*Credentials, error) {
	text, err := os.ReadFile(filepath.Join(dir, fileCredentials))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotJoined
	}
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("the credentials in %s do not fit together: %w", dir, err)
	}
	c := &Credentials{dir: dir, now: time.Now}
	return c, c.set(&cert)
}

// set puts a certificate with its chain into use.
func (c *Credentials) set(cert *tls.Certificate) error {
	if len(cert.Certificate) < 2 {
		return fmt.Errorf("the credentials in %s lack the authority's certificate", c.dir)
	}
	ca, err := x509.ParseCertificate(cert.Certificate[len(cert.Certificate)-1])
	if err != nil {
		return fmt.Errorf("the authority's certificate in %s: %w", c.dir, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return fmt.Errorf("the certificate in %s: %w", c.dir, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cert, c.ca = cert, ca
	return nil
}

// keep writes key and chain (DER) to the directory and puts them into use.
func (c *Credentials) keep(key *ecdsa.PrivateKey, chain [][]byte) error {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	// Nothing is kept that could not be used.
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return fmt.Errorf("the control plane's answer is no certificate for this key: %w", err)
	}
	if err := writeFile(filepath.Join(c.dir, fileCredentials), text); err != nil {
		return err
	}
	return c.set(&cert)
}

// writeFile replaces path by data in one step, on disk when it returns, with
// mode 0600.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Expires returns when the certificate ends.
func (c *Credentials) Expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cert.Leaf.NotAfter
}

// Subject returns whom the certificate names, such as "agent web/a".
func (c *Credentials) Subject() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cert.Leaf.Subject.CommonName
}

// TLSConfig returns how to talk to the control plane: as who joined, and to
// nobody but its authority. It always uses the newest certificate.
func (c *Credentials) TLSConfig() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	roots := x509.NewCertPool()
	roots.AddCert(c.ca)
	pin := sha256.Sum256(c.ca.Raw)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The authority signs for this one API, so its name says nothing
		// more; an operator may reach it by any address.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyPinned(s.PeerCertificates, pin)
		},
		RootCAs: roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.cert, nil
		},
	}
}

// HTTPClient returns a client that talks to the control plane as who joined.
// It has no time limit: streams live long.
func (c *Credentials) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: c.TLSConfig(), ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: timeout, IdleConnTimeout: time.Minute,
		// A control plane that went without a word is noticed by pings.
		HTTP2: &http.HTTP2Config{SendPingTimeout: timeout, PingTimeout: timeout},
	}}
}

// due returns when the certificate is to be renewed: after two thirds of its
// life, so that a control plane that is away for days is no harm.
func (c *Credentials) due() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	leaf := c.cert.Leaf
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) * 2 / 3)
}

// RenewIfDue renews the certificate at the control plane at url if it is time,
// and reports whether it did.
func (c *Credentials) RenewIfDue(ctx context.Context, url string) (renewed bool, err error) {
	if c.now().Before(c.due()) {
		return false, nil
	}
	return true, c.Renew(ctx, url)
}

// Renew gets a new key and certificate from the control plane at url.
func (c *Credentials) Renew(ctx context.Context, url string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return fmt.Errorf("making a certificate request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	hc := c.HTTPClient()
	defer hc.CloseIdleConnections()
	r, err := mintmarkv1connect.NewEnrollServiceClient(hc, url).
		Renew(ctx, connect.NewRequest(&mintmarkv1.RenewRequest{Csr: csr}))
	if err != nil {
		return fmt.Errorf("renewing the certificate at %s: %w", url, err)
	}
	if err := c.keep(key, r.Msg.GetCertificates()); err != nil {
		return fmt.Errorf("renewing the certificate: %w", err)
	}
	return nil
}
