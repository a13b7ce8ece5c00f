package adapter

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// haproxy writes the file of `bind ... tls-ticket-keys FILE`: three keys, of
// which the last but one encrypts and all decrypt. With a socket the keys are
// pushed into the running process as well, so nothing has to be reloaded; the
// file is for its next start.
//
// A push drops the first of the three and makes what was last encrypt; a pushed
// key encrypts only at the next push (measured, 2.6). Debian's haproxy.cfg has
// no-tls-tickets in ssl-default-bind-options: take it out.
type haproxy struct {
	Config
	workers workers
	ring    [haproxyKeys][]byte // what the process has; nil when that was never looked at
	unsure  bool                // pushing was broken off, and nobody knows what it has
}

// haproxyKeys is how many keys HAProxy holds.
const haproxyKeys = 3

func (a *haproxy) Name() string             { return "HAProxy" }
func (a *haproxy) Constraints() Constraints { return Constraints{KeysKept: haproxyKeys} }
func (a *haproxy) Wire() Wire               { return WireName }

func (a *haproxy) Apply(ctx context.Context, keys Keys) ([]Key, error) {
	order, held := haproxyOrder(keys)
	var content strings.Builder
	var ring [haproxyKeys][]byte
	for i, k := range order {
		ring[i] = slices.Concat(k.Name, k.Secret)
		content.WriteString(base64.StdEncoding.EncodeToString(ring[i]) + "\n")
	}
	f := []file{{path: a.File, content: []byte(content.String())}}
	if a.Socket == "" {
		if err := a.workers.remember(); err != nil {
			return nil, err
		}
		changed, err := a.install(ctx, f, keys.Again)
		if err != nil || !changed {
			a.workers.before = nil
		}
		return held, err
	}
	if a.ring[0] == nil {
		a.ring = a.fromFile()
	}
	a.unsure = a.unsure || keys.Again
	_, undo, err := replace(f)
	if err != nil {
		return nil, err
	}
	if a.unsure || !equalKeys(a.ring[:], ring[:]) {
		if err := a.push(ctx, ring); err != nil {
			return nil, errors.Join(err, undo())
		}
	}
	return held, nil
}

// fromFile returns what the process has after a restart of the agent: what the
// file says, whether it was pushed or read at its start.
func (a *haproxy) fromFile() (ring [haproxyKeys][]byte) {
	text, err := os.ReadFile(a.File)
	lines := strings.Fields(string(text))
	if err != nil || len(lines) != haproxyKeys {
		a.unsure = true
		return ring
	}
	for i, line := range lines {
		if ring[i], err = base64.StdEncoding.DecodeString(line); err != nil {
			a.unsure = true
		}
	}
	return ring
}

// haproxyOrder puts keys into the three places. Those of later generations go
// behind the one that encrypts, where they are next.
func haproxyOrder(keys Keys) (order [haproxyKeys]Key, held []Key) {
	order = [haproxyKeys]Key{keys.Encrypt, keys.Encrypt, keys.Encrypt}
	held = []Key{keys.Encrypt}
	first, last := false, false
	for _, k := range keys.Decrypt {
		switch {
		case !last && (k.Generation > keys.Encrypt.Generation || first):
			order[2], last = k, true
		case !first:
			order[0], first = k, true
		default:
			continue
		}
		held = append(held, k)
	}
	return order, held
}

// push brings the keys of the running process to ring, by as few pushes as do.
func (a *haproxy) push(ctx context.Context, ring [haproxyKeys][]byte) error {
	n := haproxyKeys
	for try := range haproxyKeys {
		if !a.unsure && equalKeys(a.ring[try:], ring[:haproxyKeys-try]) {
			n = try
			break
		}
	}
	for _, key := range ring[haproxyKeys-n:] {
		a.unsure = true // until all are through
		if err := a.say(ctx, fmt.Sprintf("set ssl tls-key %s %s", a.keysID(), base64.StdEncoding.EncodeToString(key))); err != nil {
			return err
		}
	}
	a.ring, a.unsure = ring, false
	return nil
}

// keysID names the file of keys as the socket wants it: by its path, unless
// told otherwise (#0).
func (a *haproxy) keysID() string {
	if a.Keys != "" {
		return a.Keys
	}
	return a.File
}

// socketTimeout bounds an exchange with the stats socket.
const socketTimeout = 5 * time.Second

// say sends a command to the stats socket.
func (a *haproxy) say(ctx context.Context, command string) error {
	d := net.Dialer{Timeout: socketTimeout}
	c, err := d.DialContext(ctx, "unix", a.Socket)
	if err != nil {
		return fmt.Errorf("talking to HAProxy: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(socketTimeout)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(command + "\n")); err != nil {
		return fmt.Errorf("talking to HAProxy: %w", err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && line == "" {
		return fmt.Errorf("reading HAProxy's answer: %w", err)
	}
	if !strings.Contains(line, "updated") {
		// Its answers quote no key.
		return fmt.Errorf("HAProxy refuses the key: %s", strings.TrimSpace(line))
	}
	return nil
}

// OldGone: pushed keys are in effect at once; a reload leaves old processes.
func (a *haproxy) OldGone(context.Context) (bool, error) {
	if a.Socket != "" {
		return true, nil
	}
	return a.workers.gone()
}

func equalKeys(a, b [][]byte) bool { return slices.EqualFunc(a, b, slices.Equal[[]byte]) }
