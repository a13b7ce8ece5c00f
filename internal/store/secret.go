package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
)

// The first byte of every value at rest says how the rest is to be read.
const (
	formPlain  = 0
	formSecret = 1
)

// errMode is the error of a key file that others may read.
var errMode = errors.New("others may read it: chmod 600")

// A vault turns values into what lies at rest, and back.
type vault struct {
	identity *age.X25519Identity
}

// openVault reads the key file, or makes it when the store has none yet: a
// store whose key file is lost must not be given another, under which nothing
// in it opens.
func openVault(path string, fresh bool) (*vault, error) {
	text, err := readKeyFile(path)
	switch {
	case err == nil:
		id, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
		if err != nil {
			// Its own message may quote the file.
			return nil, fmt.Errorf("reading the key file %s: it holds no age identity", path)
		}
		return &vault{identity: id}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading the key file: %w", err)
	case !fresh:
		return nil, fmt.Errorf("the key file %s is missing: put it back, nothing secret in the store opens without it", path)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	if err := writeKeyFile(path, id.String()+"\n"); err != nil {
		return nil, fmt.Errorf("writing the key file: %w", err)
	}
	return &vault{identity: id}, nil
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: %w", path, errMode)
	}
	const most = 4096 // an identity has 75 bytes; a wrong path may be anything
	return io.ReadAll(io.LimitReader(f, most))
}

// writeKeyFile makes path with text in it, on disk when it returns, and fails
// when it exists.
func writeKeyFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// seal returns what lies at rest for value.
func (v *vault) seal(value []byte, secret bool) ([]byte, error) {
	if !secret {
		return append([]byte{formPlain}, value...), nil
	}
	var b bytes.Buffer
	b.WriteByte(formSecret)
	w, err := age.Encrypt(&b, v.identity.Recipient())
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	if _, err := w.Write(value); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	return b.Bytes(), nil
}

// open returns the value of what lies at rest. The result shares no memory
// with rest.
func (v *vault) open(key string, rest []byte) ([]byte, error) {
	if len(rest) == 0 {
		return nil, fmt.Errorf("the entry %s is damaged: it is empty", key)
	}
	switch rest[0] {
	case formPlain:
		return bytes.Clone(rest[1:]), nil
	case formSecret:
		r, err := age.Decrypt(bytes.NewReader(rest[1:]), v.identity)
		if err != nil {
			return nil, fmt.Errorf("opening the secret %s: is the key file that of this store? %w", key, err)
		}
		value, err := io.ReadAll(r)
		if err != nil {
			return nil, fmt.Errorf("opening the secret %s: %w", key, err)
		}
		return value, nil
	default:
		return nil, fmt.Errorf("the entry %s is of form %d, which a newer version wrote", key, rest[0])
	}
}
