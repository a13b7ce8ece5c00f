package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/store"
)

// Lifetimes.
const (
	// authorityLifetime is how long the authority's own certificate lives.
	authorityLifetime = 20 * 365 * 24 * time.Hour
	// CertificateLifetime is how long a member's certificate lives: a stolen
	// one that nobody noticed is worthless after a week, and a member may be
	// away for most of one.
	CertificateLifetime = 7 * 24 * time.Hour
	// serverLifetime is how long the API's own certificate lives. A new one
	// is made in time.
	serverLifetime = 30 * 24 * time.Hour
	// skew is how far clocks may differ.
	skew = 5 * time.Minute
)

// keyAuthority is where the store keeps the authority.
const keyAuthority = "ca"

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  func() time.Time

	mu     sync.Mutex
	server map[string]*tls.Certificate // by names, the API's own
}

// authorityDocument is the authority as the store keeps it, a secret.
type authorityDocument struct {
	Certificate []byte `json:"certificate"` // DER
	Key         []byte `json:"key"`         // PKCS #8
}

func openAuthority(ctx context.Context, s store.Store, now func() time.Time) (*authority, error) {
	for {
		e, err := s.Get(ctx, keyAuthority)
		if err == nil {
			return readAuthority(e.Value, now)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("reading the certificate authority: %w", err)
		}
		doc, err := newAuthority(now())
		if err != nil {
			return nil, fmt.Errorf("making the certificate authority: %w", err)
		}
		_, err = s.Commit(ctx, store.Txn{
			If:  []store.Condition{{Key: keyAuthority}},
			Put: []store.Put{{Key: keyAuthority, Value: doc, Secret: true}},
		})
		if _, conflict := errors.AsType[*store.ConflictError](err); err != nil && !conflict {
			return nil, fmt.Errorf("keeping the certificate authority: %w", err)
		}
		// Made now, or by another control plane at the same moment.
	}
}

func newAuthority(now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Mintmark control plane"},
		NotBefore: now.Add(-skew), NotAfter: now.Add(authorityLifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(authorityDocument{Certificate: der, Key: pkcs8})
}

func readAuthority(doc []byte, now func() time.Time) (*authority, error) {
	var d authorityDocument
	if err := json.Unmarshal(doc, &d); err != nil {
		return nil, errors.New("the certificate authority in the store is damaged")
	}
	cert, err := x509.ParseCertificate(d.Certificate)
	if err != nil {
		return nil, fmt.Errorf("the certificate authority in the store: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(d.Key)
	if err != nil {
		return nil, errors.New("the key of the certificate authority in the store is damaged")
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key of the certificate authority in the store is of another kind")
	}
	return &authority{cert: cert, key: ec, now: now, server: make(map[string]*tls.Certificate)}, nil
}

// serial returns a random serial number (RFC 5280, 4.1.2.2: at most 20 octets).
func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails, by its documentation
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// fingerprint identifies the authority in join tokens.
func (a *authority) fingerprint() [sha256.Size]byte { return sha256.Sum256(a.cert.Raw) }

// signClient returns a chain that lets the holder of the key of csr, a PKCS #10
// request in DER, be id. Nothing in the request but the key is taken over.
func (a *authority) signClient(id Identity, csr []byte) (chain [][]byte, err error) {
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate request: %w", err)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request: %w", err)
	}
	now := a.now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: id.String()},
		NotBefore: now.Add(-skew), NotAfter: now.Add(CertificateLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{id.uri()},
	}, a.cert, r.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate: %w", err)
	}
	return [][]byte{der, a.cert.Raw}, nil
}

// serverCertificate returns the API's certificate for names, a new one when
// the last has used up two thirds of its life.
func (a *authority) serverCertificate(names []string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := fmt.Sprint(names)
	now := a.now()
	if c := a.server[id]; c != nil && now.Before(c.Leaf.NotAfter.Add(-serverLifetime/3)) {
		return c, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Mintmark API"},
		NotBefore: now.Add(-skew), NotAfter: now.Add(serverLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("signing the API's certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
	a.server[id] = c
	return c, nil
}

// TLSConfig returns how the API is served to names (DNS names and IP
// addresses): with a certificate of the own authority, asking clients for
// theirs and letting those without pass, because they may bring a token.
func (k *Keeper) TLSConfig(names []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return k.author.serverCertificate(names)
		},
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  k.pool(),
		Time:       k.now,
		NextProtos: []string{"h2", "http/1.1"},
		// A resumed session would bring back a certificate that was verified
		// then; connections live long, so nothing is lost.
		SessionTicketsDisabled: true,
	}
}

// CA returns the authority's certificate, in DER.
func (k *Keeper) CA() []byte { return k.author.cert.Raw }

func (k *Keeper) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(k.author.cert)
	return p
}
