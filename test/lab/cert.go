package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// ServerName is the name that every server of the lab has in its certificate
// and every client asks for.
const ServerName = "lab.test"

// A Cert is a certificate for ServerName that signs itself. One is shared by
// all servers of a test, as the servers of one site would.
type Cert struct {
	CertFile string // PEM; also what clients trust
	KeyFile  string // PEM
	BothFile string // PEM, both in one: HAProxy and lighttpd want it so
	Roots    *x509.CertPool
}

// NewCert makes a certificate in the test's temporary directory.
func NewCert(tb testing.TB) *Cert {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("lab: making a key: %v", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: ServerName},
		DNSNames:              []string{ServerName},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatalf("lab: making a certificate: %v", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatalf("lab: encoding a key: %v", err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	dir := tb.TempDir()
	c := &Cert{
		CertFile: WriteFile(tb, dir, "cert.pem", certPEM),
		KeyFile:  WriteFile(tb, dir, "key.pem", keyPEM),
		BothFile: WriteFile(tb, dir, "both.pem", append(certPEM, keyPEM...)),
		Roots:    x509.NewCertPool(),
	}
	c.Roots.AppendCertsFromPEM(certPEM)
	return c
}

// WriteFile writes a file in dir and returns its path.
func WriteFile(tb testing.TB, dir, name string, content []byte) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		tb.Fatalf("lab: %v", err)
	}
	return path
}

func chmod(tb testing.TB, mode os.FileMode, paths ...string) {
	tb.Helper()
	for _, p := range paths {
		if err := os.Chmod(p, mode); err != nil {
			tb.Fatalf("lab: %v", err)
		}
	}
}
