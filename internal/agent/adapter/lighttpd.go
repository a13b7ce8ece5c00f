package adapter

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// lighttpd writes the file of ssl.stek-file, which the server looks at about
// once a minute without a reload. It keeps the three newest keys that it has
// seen, so what decrypts depends on what it read before. The layout is the
// machine's own; with another the server starts and issues no tickets.
type lighttpd struct {
	Config
	now func() time.Time
}

func (a *lighttpd) Name() string             { return "lighttpd" }
func (a *lighttpd) Constraints() Constraints { return Constraints{KeysKept: 3} }
func (a *lighttpd) Wire() Wire               { return WireName }

// stekSize is version, activation and expiry, four bytes each, then the key.
const stekSize = 12 + NameSize + SecretSize

// stekLifetime is how long a key is good for when nothing was configured: as
// long as the field goes, because it is the control plane that ends keys.
const stekLifetime = 10 * 365 * 24 * time.Hour

func (a *lighttpd) Apply(ctx context.Context, keys Keys) ([]Key, error) {
	key := slices.Concat(keys.Encrypt.Name, keys.Encrypt.Secret)
	if before, err := os.ReadFile(a.File); err == nil && len(before) == stekSize && slices.Equal(before[12:], key) {
		return []Key{keys.Encrypt}, nil // it has other times, and is the same key
	}
	lifetime := a.Lifetime
	if lifetime == 0 {
		lifetime = stekLifetime
	}
	content := make([]byte, 4, stekSize) // version 0
	content = binary.NativeEndian.AppendUint32(content, seconds(a.now().Add(-time.Minute)))
	content = binary.NativeEndian.AppendUint32(content, seconds(a.now().Add(lifetime)))
	if _, err := a.install(ctx, []file{{path: a.File, content: append(content, key...)}}, keys.Again); err != nil {
		return nil, err
	}
	// A file that is no younger than the server's last look, in whole seconds,
	// is never read: one written in the second of its start (1.4.69).
	later := a.now().Add(time.Second)
	if err := os.Chtimes(a.File, later, later); err != nil {
		return nil, fmt.Errorf("dating the file: %w", err)
	}
	return []Key{keys.Encrypt}, nil
}

// seconds is a time as the file has it: a signed number of 32 bits.
func seconds(t time.Time) uint32 { return uint32(min(t.Unix(), math.MaxInt32)) } //nolint:gosec // after 1970

// OldGone: there is one process, and the wire shows which key it has.
func (a *lighttpd) OldGone(context.Context) (bool, error) { return true, nil }
