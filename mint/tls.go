package mint

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
)

// TLSConfig returns a copy of base whose session tickets begin with the
// server's mark, so that balancers bring clients back to it. base may be nil.
// While there is no assignment, tickets are Go's own, which are not routed.
//
// Tickets are encrypted with AES-256-GCM under keys of the state file, one for
// each generation, so a restart ends no session, and tickets of earlier
// generations are accepted until the control plane says that they are dead.
//
// A ticket is good only under the conditions that it was issued under: the
// name that the client asked for, the configuration's demands on client
// certificates and its certificate authorities for them. Otherwise a session
// of one virtual host would open another (CVE-2025-68121 was of that kind).
func (c *Client) TLSConfig(base *tls.Config) *tls.Config {
	cfg := base.Clone()
	if cfg == nil {
		cfg = new(tls.Config)
	}
	scope := configScope(cfg)
	cfg.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		k := c.state.Load().mint
		if k == nil || k.aead == nil {
			return cfg.EncryptTicket(cs, ss)
		}
		plain, err := ss.Bytes()
		if err != nil {
			return nil, fmt.Errorf("mint: wrapping a session: %w", err)
		}
		return k.seal(plain, ticketScope(scope, cs.ServerName)), nil
	}
	cfg.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		for _, k := range c.state.Load().keys {
			plain, ok := k.open(ticket, ticketScope(scope, cs.ServerName))
			if !ok {
				continue
			}
			ss, err := tls.ParseSessionState(plain)
			if err != nil {
				return nil, nil //nolint:nilerr,nilnil // of another version of Go
			}
			return ss, nil
		}
		// Of before there was an assignment, or somebody else's.
		return cfg.DecryptTicket(ticket, cs)
	}
	return cfg
}

// configScope is what of a configuration a ticket must not cross.
func configScope(cfg *tls.Config) []byte {
	h := sha256.New()
	_ = binary.Write(h, binary.BigEndian, int64(cfg.ClientAuth)) // a hash takes everything
	if cfg.ClientCAs != nil {
		// Deprecated because a pool of the system's roots lists none; a pool
		// of client authorities is not one.
		for _, subject := range cfg.ClientCAs.Subjects() { //nolint:staticcheck // see above
			sum := sha256.Sum256(subject)
			h.Write(sum[:])
		}
	}
	return h.Sum(nil)
}

// ticketScope is what a ticket is bound to, besides its key.
func ticketScope(config []byte, serverName string) []byte {
	return append(append([]byte("mintmark ticket 1\x00"), config...), serverName...)
}

// seal returns a ticket: mark, nonce, ciphertext.
func (k *key) seal(plain, scope []byte) []byte {
	ticket := make([]byte, 0, NameSize+len(plain)+k.aead.Overhead())
	if k.encoder != nil {
		ticket = k.encoder.AppendRaw(ticket)
	} else {
		ticket = append(ticket, k.Name...)
	}
	return k.aead.Seal(ticket, nil, plain, append(scope, ticket...))
}

// open returns what seal was given, and false if the ticket is not of the key,
// or not of the scope.
func (k *key) open(ticket, scope []byte) ([]byte, bool) {
	if k.aead == nil || len(ticket) < NameSize || !k.owns(ticket[:NameSize]) {
		return nil, false
	}
	plain, err := k.aead.Open(nil, nil, ticket[NameSize:], append(scope, ticket[:NameSize]...))
	return plain, err == nil
}

// owns reports whether a mark of NameSize bytes is of the key.
func (k *key) owns(mark []byte) bool {
	if k.set == nil {
		return bytes.Equal(mark, k.Name)
	}
	server, _, ok := k.set.Lookup(mark)
	return ok && server == k.ServerNumber
}
