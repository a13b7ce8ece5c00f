package demo

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

// serverName is the name on the certificate that all servers show.
const serverName = "demo.mintmark.example"

// markBytes is the length of the mark in front of each server's tickets.
const markBytes = 4

// A server is a TLS server with ticket keys of its own. It mints tickets that
// begin with its mark, as `WrapSession` of crypto/tls lets it, and tells each
// client its name.
type server struct {
	name string
	mark [markBytes]byte
	ln   net.Listener
}

// startServers starts the servers; they end with ctx.
func startServers(ctx context.Context, wg *sync.WaitGroup) ([]*server, error) {
	cert, err := certificate()
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	var all []*server
	for i := range serverCount {
		s := &server{name: string(rune('a' + i))}
		binary.BigEndian.PutUint32(s.mark[:], 0x4d4d0001+uint32(i))
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("starting server %s: %w", s.name, err)
		}
		s.ln = ln
		context.AfterFunc(ctx, func() { _ = ln.Close() })
		wg.Go(func() { s.serve(ctx, cert) })
		all = append(all, s)
	}
	return all, nil
}

// tlsConfig is what a server of one's own needs so that its tickets can be
// routed: a mark in front, and a look at it before decrypting.
func (s *server) tlsConfig(cert tls.Certificate) *tls.Config {
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	c.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ticket, err := c.EncryptTicket(cs, ss)
		if err != nil {
			return nil, err
		}
		return append(bytes.Clone(s.mark[:]), ticket...), nil
	}
	c.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ticket, mine := bytes.CutPrefix(identity, s.mark[:])
		if !mine {
			return nil, nil //nolint:nilnil // crypto/tls: no session means a full handshake
		}
		return c.DecryptTicket(ticket, cs)
	}
	return c
}

func (s *server) serve(ctx context.Context, cert tls.Certificate) {
	cfg := s.tlsConfig(cert)
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return // closed with ctx
		}
		conns.Go(func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(connectionTimeout))
			t := tls.Server(c, cfg)
			if t.HandshakeContext(ctx) == nil {
				_, _ = t.Write([]byte(s.name))
				_ = t.CloseWrite()
			}
		})
	}
}

// certificate makes the certificate of all servers: nobody checks who signed
// it, the demo is about sessions.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: serverName},
		DNSNames:     []string{serverName},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
