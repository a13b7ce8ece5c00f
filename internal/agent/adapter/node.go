package adapter

import (
	"context"
	"slices"
)

// node writes the 48 bytes of ticketKeys, which contrib/node's module reads
// and watches: it calls setTicketKeys when they change. Node.js drops the key
// before at once.
type node struct{ Config }

func (a *node) Name() string             { return "Node.js" }
func (a *node) Constraints() Constraints { return Constraints{KeysKept: 1} }
func (a *node) Wire() Wire               { return WireName }

func (a *node) Apply(ctx context.Context, keys Keys) ([]Key, error) {
	content := slices.Concat(keys.Encrypt.Name, keys.Encrypt.Secret[:32])
	if _, err := a.install(ctx, []file{{path: a.File, content: content}}, keys.Again); err != nil {
		return nil, err
	}
	return []Key{keys.Encrypt}, nil
}

// OldGone: there is one process, and the wire shows which key it has.
func (a *node) OldGone(context.Context) (bool, error) { return true, nil }
