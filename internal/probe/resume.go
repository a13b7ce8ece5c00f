package probe

import (
	"context"
	"crypto/tls"
	"time"
)

// Resume offers a ticket, minted by whatever server, to the server of cfg and
// reports whether that server accepted it. This is the proof that two servers
// which show the same name share the key behind it.
func Resume(ctx context.Context, cfg Config, t Ticket) (accepted bool, err error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	raw, err := cfg.Dial(ctx)
	if err != nil {
		return false, err
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	_ = raw.SetDeadline(time.Now().Add(cfg.Timeout))
	c := tls.Client(raw, clientConfig(&cfg, t.Version, offer{t.Session}))
	if err := c.HandshakeContext(ctx); err != nil {
		return false, err
	}
	return c.ConnectionState().DidResume, nil
}

// An offer is a session cache that holds one session for ever.
type offer struct{ session *tls.ClientSessionState }

// Get is part of tls.ClientSessionCache.
func (o offer) Get(string) (*tls.ClientSessionState, bool) { return o.session, true }

// Put is part of tls.ClientSessionCache.
func (o offer) Put(string, *tls.ClientSessionState) {}
