package adapter

import (
	"context"
	"slices"
)

// apache writes the file of SSLSessionTicketKeyFile. Apache holds one key, so
// tickets of the one before die at each rotation; and it declines tickets of
// processes that started at another time even under an unchanged key (2.4.71).
// Debian's ssl.conf turns tickets off: write SSLSessionTickets on.
type apache struct {
	Config
	workers workers
}

func (a *apache) Name() string             { return "Apache httpd" }
func (a *apache) Constraints() Constraints { return Constraints{KeysKept: 1} }
func (a *apache) Wire() Wire               { return WireName }

func (a *apache) Apply(ctx context.Context, keys Keys) ([]Key, error) {
	// 48 bytes: name, HMAC, AES-128.
	content := slices.Concat(keys.Encrypt.Name, keys.Encrypt.Secret[:32])
	if err := a.workers.remember(); err != nil {
		return nil, err
	}
	changed, err := a.install(ctx, []file{{path: a.File, content: content}}, keys.Again)
	if err != nil || !changed {
		a.workers.before = nil
	}
	if err != nil {
		return nil, err
	}
	return []Key{keys.Encrypt}, nil
}

func (a *apache) OldGone(context.Context) (bool, error) { return a.workers.gone() }
