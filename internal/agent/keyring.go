package agent

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/mintmark/mintmark/internal/agent/adapter"
)

// A keyring is the ticket keys that this agent made for its server, and the
// age identity to which partners seal theirs. It lives in one file, mode 0600,
// so that a restart of the agent makes no new key.
type keyring struct {
	path     string
	doc      keyringDocument
	identity *age.X25519Identity
}

type keyringDocument struct {
	// Identity is the age identity.
	Identity string `json:"identity"`
	// Secrets are the secrets of the server's own keys, by name of the key,
	// in hexadecimal: a key that is granted under another name is another.
	Secrets map[string][]byte `json:"secrets"`
	// Spare is a key under a name of nobody, for a server that may not mint
	// with any of its own yet.
	Spare []byte `json:"spare"`
}

// openKeyring reads the keyring at path, and makes it if there is none.
func openKeyring(path string) (*keyring, error) {
	k := &keyring{path: path}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		id, err := age.GenerateX25519Identity()
		if err != nil {
			return nil, fmt.Errorf("making an identity: %w", err)
		}
		k.identity = id
		k.doc = keyringDocument{Identity: id.String(), Secrets: make(map[string][]byte), Spare: random(adapter.NameSize + adapter.SecretSize)}
		return k, k.save()
	case err != nil:
		return nil, fmt.Errorf("reading the keyring: %w", err)
	}
	if err := json.Unmarshal(text, &k.doc); err != nil {
		return nil, fmt.Errorf("the keyring %s is damaged: restore it, or remove it and with it the server's sessions", path)
	}
	if k.identity, err = age.ParseX25519Identity(k.doc.Identity); err != nil || len(k.doc.Spare) != adapter.NameSize+adapter.SecretSize {
		return nil, fmt.Errorf("the keyring %s is damaged: restore it, or remove it and with it the server's sessions", path)
	}
	if k.doc.Secrets == nil {
		k.doc.Secrets = make(map[string][]byte)
	}
	return k, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, by its documentation
	return b
}

func (k *keyring) save() error {
	b, err := json.Marshal(&k.doc)
	if err != nil {
		return err
	}
	if err := writeFile(k.path, b); err != nil {
		return fmt.Errorf("keeping the keyring: %w", err)
	}
	return nil
}

// keep makes the secrets that are missing among names (hexadecimal), and
// forgets all others. What it returns nil for is on disk.
func (k *keyring) keep(names []string) error {
	changed := false
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
		if k.doc.Secrets[name] == nil {
			k.doc.Secrets[name] = random(adapter.SecretSize)
			changed = true
		}
	}
	for name := range k.doc.Secrets {
		if !wanted[name] {
			delete(k.doc.Secrets, name)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return k.save()
}

// spareOwner is the owner of the spare key. No server can have that name.
const spareOwner = "(spare)"

// spare is the key under a name of nobody.
func (k *keyring) spare() adapter.Key {
	return adapter.Key{
		Owner: spareOwner, Name: k.doc.Spare[:adapter.NameSize], Secret: k.doc.Spare[adapter.NameSize:], Own: true,
	}
}

// writeFile replaces path by data in one step, on disk when it returns, with
// mode 0600.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
