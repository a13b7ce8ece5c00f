package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// connectionTimeout bounds one connection from connect to close, and each part
// of it. It is generous: on a machine that does other things as well, a
// connection that is slow is not one that failed.
const connectionTimeout = 30 * time.Second

// A kind says which listener a client uses.
type kind int

const (
	kindMint kind = iota
	kindRoundRobin
	kindCount
)

// A client connects again and again, each time with the ticket it was given
// last, and each time through the other replica: that is what several
// addresses behind one name come to.
type client struct {
	demo   *demo
	kind   kind
	turn   int
	wallet wallet
	config *tls.Config
}

// A wallet holds the one session that a client can offer. crypto/tls takes it
// out for each handshake and throws it away when the handshake fails, so only
// the wallet knows whether a connection offered one.
type wallet struct {
	session *tls.ClientSessionState
	offered bool // by the handshake in progress
}

// Get is part of tls.ClientSessionCache.
func (w *wallet) Get(string) (*tls.ClientSessionState, bool) {
	w.offered = w.session != nil
	return w.session, w.offered
}

// Put is part of tls.ClientSessionCache.
func (w *wallet) Put(_ string, s *tls.ClientSessionState) { w.session = s }

func (d *demo) newClient(number int, k kind) *client {
	c := &client{demo: d, kind: k, turn: number}
	c.config = &tls.Config{
		ServerName:         serverName,
		InsecureSkipVerify: true, //nolint:gosec // a certificate made a second ago, on loopback; the demo is about sessions
		ClientSessionCache: &c.wallet,
	}
	return c
}

func (c *client) run(ctx context.Context) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n%forgetEvery == 0 {
			c.wallet.session = nil
		}
		drained := c.demo.tally.drainedServer()
		name, resumed, err := c.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.demo.tally.fail()
			continue
		}
		c.demo.tally.count(c.kind, name, c.wallet.offered, resumed, drained)
	}
}

// connect makes one connection through the replica whose turn it is, or the
// next one when that does not answer.
func (c *client) connect(ctx context.Context) (server string, resumed bool, err error) {
	addresses := c.demo.replicas.addresses(c.kind)
	for range addresses {
		address := addresses[c.turn%len(addresses)]
		c.turn++
		if server, resumed, err = c.try(ctx, address); err == nil {
			return server, resumed, nil
		}
	}
	return "", false, err
}

func (c *client) try(ctx context.Context, address string) (server string, resumed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectionTimeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", false, err
	}
	defer raw.Close()
	deadline, _ := ctx.Deadline()
	_ = raw.SetDeadline(deadline)
	t := tls.Client(raw, c.config)
	if err := t.HandshakeContext(ctx); err != nil {
		return "", false, err
	}
	name, err := io.ReadAll(t) // the ticket of TLS 1.3 comes before the data
	if err != nil {
		return "", false, err
	}
	if len(name) == 0 {
		return "", false, errors.New("the server said nothing")
	}
	return string(name), t.ConnectionState().DidResume, nil
}
