package adapter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// commandTimeout bounds a command. A reload that takes longer has hung.
const commandTimeout = 60 * time.Second

// maxSaid bounds what a failed command is quoted with.
const maxSaid = 600

// run runs a command, which is given stdin. The error quotes the end of what
// it said.
func run(ctx context.Context, argv []string, stdin []byte) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // the operator wrote it
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.WaitDelay = time.Second // for children that keep its output open
	out, err := cmd.CombinedOutput()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	said := strings.TrimSpace(string(out))
	if len(said) > maxSaid {
		said = "…" + strings.ToValidUTF8(said[len(said)-maxSaid:], "")
	}
	if said != "" {
		return fmt.Errorf("%s: %w: %s", argv[0], err, strings.ReplaceAll(said, "\n", " | "))
	}
	return fmt.Errorf("%s: %w", argv[0], err)
}

// install replaces files and has the server take them: when they have changed,
// or once more. When it refuses, it gets the ones before back.
func (c *Config) install(ctx context.Context, files []file, onceMore bool) (changed bool, err error) {
	changed, undo, err := replace(files)
	if err != nil || !changed && !onceMore {
		return false, err
	}
	if len(c.Test) > 0 {
		if err := run(ctx, c.Test, nil); err != nil {
			return false, errors.Join(fmt.Errorf("the server refuses the new files, the ones before are back: %w", err), undo())
		}
	}
	if len(c.Reload) > 0 {
		if err := run(ctx, c.Reload, nil); err != nil {
			err = errors.Join(fmt.Errorf("the server did not take the new files, the ones before are back: %w", err), undo())
			return false, errors.Join(err, again(ctx, c.Reload))
		}
	}
	return true, nil
}

// again has the server take the files that are back.
func again(ctx context.Context, reload []string) error {
	if err := run(ctx, reload, nil); err != nil {
		return fmt.Errorf("taking the ones before again: %w", err)
	}
	return nil
}

// command is the adapter exec: any command, which is given the keys as JSON on
// standard input and exits 0 when they are in effect.
type command struct{ Config }

func (a *command) Name() string             { return "exec" }
func (a *command) Constraints() Constraints { return Constraints{} }
func (a *command) Wire() Wire               { return WireName }

// jsonKey is a key as the command reads it. Bytes are base64.
type jsonKey struct {
	Owner      string `json:"owner"`
	Generation uint64 `json:"generation"`
	Name       []byte `json:"name"`
	Secret     []byte `json:"secret"`
	Prefix     []byte `json:"prefix,omitempty"`
	Text       string `json:"text,omitempty"`
	Number     uint32 `json:"server_number,omitempty"`
	Own        bool   `json:"own"`
}

func (a *command) Apply(ctx context.Context, keys Keys) ([]Key, error) {
	doc := struct {
		Encrypt jsonKey   `json:"encrypt"`
		Decrypt []jsonKey `json:"decrypt"`
	}{Encrypt: jsonKey(keys.Encrypt), Decrypt: []jsonKey{}}
	for _, k := range keys.Decrypt {
		doc.Decrypt = append(doc.Decrypt, jsonKey(k))
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	if err := run(ctx, a.Reload, b); err != nil {
		return nil, err
	}
	return append([]Key{keys.Encrypt}, keys.Decrypt...), nil
}

// OldGone trusts the command: it exits when the keys are in effect.
func (a *command) OldGone(context.Context) (bool, error) { return true, nil }
