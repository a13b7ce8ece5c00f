package backend

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/mintmark/mintmark/internal/route"
)

// probe asks the server once, at its addresses in turn: it works if one of
// them does.
func (w *watch) probe(ctx context.Context, t target) error {
	if q, ok := questionOf(t.health.Type); ok {
		return w.m.eachAddress(ctx, t.address, w.state, w, func(ctx context.Context, _, address string) error {
			conn, err := w.m.cfg.Dial(ctx, "udp", address)
			if err != nil {
				return err
			}
			defer conn.Close()
			if err := q.ask(ctx, conn); err != nil {
				return fmt.Errorf("asking %s for %w", address, err)
			}
			return nil
		})
	}
	return w.m.eachAddress(ctx, t.address, w.state, w, func(ctx context.Context, network, address string) error {
		conn, err := w.m.cfg.Dial(ctx, network, address)
		if err != nil {
			return err
		}
		defer conn.Close()
		if header := ownHeader(t.proxy); header != "" {
			// The buffers of a new connection take it, so this does not block.
			if _, err := conn.Write([]byte(header)); err != nil {
				return fmt.Errorf("writing the PROXY header to %s: %w", address, err)
			}
		}
		switch t.health.Type {
		case route.HealthTLS:
			if err := shakeHands(ctx, conn, t.health.SNI); err != nil {
				return fmt.Errorf("TLS handshake with %s: %w", address, err)
			}
		case route.HealthHTTP:
			if err := ask(ctx, conn, t); err != nil {
				return fmt.Errorf("asking %s: %w", address, err)
			}
		default:
		}
		return nil
	})
}

// ownHeader returns the PROXY header of a connection that is the balancer's
// own: command LOCAL in version 2, UNKNOWN in version 1 (sections 2.2 and 2.1
// of the PROXY protocol's specification).
func ownHeader(v route.ProxyVersion) string {
	switch v {
	case route.ProxyV1:
		return "PROXY UNKNOWN\r\n"
	case route.ProxyV2:
		return "\r\n\r\n\x00\r\nQUIT\n" + "\x20\x00\x00\x00"
	default:
		return ""
	}
}

// shakeHands does a full TLS handshake and ends the connection properly.
func shakeHands(ctx context.Context, conn net.Conn, sni string) error {
	asked := false
	c := tls.Client(conn, &tls.Config{
		ServerName: sni,
		// See the package comment: the question is not who answers.
		InsecureSkipVerify: true,
		// An old server is not a dead one.
		MinVersion:   tls.VersionTLS10,
		CipherSuites: allCipherSuites(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		},
	})
	if err := c.HandshakeContext(ctx); err != nil {
		if asked && ctx.Err() == nil {
			return nil // it answered, and does not like what it cannot get from us
		}
		return err
	}
	// A server of TLS 1.3 refuses a client without a certificate only now, and
	// has answered all the same.
	_ = c.Close()
	return nil
}

func allCipherSuites() []uint16 {
	var ids []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, s.ID)
	}
	return ids
}
