package agent

import (
	"bytes"
	"errors"
	"io"

	"filippo.io/age"

	"github.com/mintmark/mintmark/internal/agent/adapter"
)

// errSealed is the error of a key that was not sealed to this agent, or is
// none.
var errSealed = errors.New("a partner's key cannot be opened: it was sealed to another agent, or damaged")

// seal encrypts secret to a partner's recipient.
func seal(secret []byte, recipient string) ([]byte, error) {
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return nil, errors.New("a partner has no age recipient that is known here")
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(secret); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// open decrypts what a partner sealed.
func (k *keyring) open(sealed []byte) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), k.identity)
	if err != nil {
		return nil, errSealed
	}
	secret, err := io.ReadAll(io.LimitReader(r, adapter.SecretSize+1))
	if err != nil || len(secret) != adapter.SecretSize {
		return nil, errSealed
	}
	return secret, nil
}
