package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/store"
)

// Lifetimes of tokens.
const (
	// DefaultTokenLifetime is that of a token that says nothing else.
	DefaultTokenLifetime = time.Hour
	// MaxTokenLifetime is the longest of a token that joins: it lies about in
	// shells and files until it is used.
	MaxTokenLifetime = 30 * 24 * time.Hour
	// MaxReusableLifetime is the longest of a reusable one.
	MaxReusableLifetime = 366 * 24 * time.Hour
)

// ErrToken is the error of a token that does not work: unknown, used, or
// expired. It does not say which, because who guesses must not learn.
var ErrToken = errors.New("the token is not valid: it was used, has expired, or is not of this control plane; make a new one with `mintmark token create`")

// A Spec is what a token is for.
type Spec struct {
	Role Role   `json:"role"`
	Name string `json:"name"`
	// Pool is required for agents, of which Name is the server.
	Pool string `json:"pool,omitempty"`
	// Lifetime is how long the token works; 0 means DefaultTokenLifetime.
	Lifetime time.Duration `json:"-"`
	// Reusable makes a bearer token of role admin or viewer, which works
	// until it expires, instead of one that joins once.
	Reusable bool `json:"reusable,omitempty"`
}

func (s *Spec) check() error {
	if _, err := ParseRole(string(s.Role)); err != nil {
		return err
	}
	const longest = 255
	switch {
	case s.Name == "" || len(s.Name) > longest:
		return errors.New("a token needs a name of 1 to 255 bytes: who will use it (for an agent its server)")
	case (s.Role == RoleAgent) != (s.Pool != ""):
		return errors.New("a token of the role agent needs a pool, and no other has one")
	case s.Reusable && s.Role != RoleAdmin && s.Role != RoleViewer:
		return fmt.Errorf("a reusable token is for the roles admin and viewer, not %s, which joins", s.Role)
	}
	most := MaxTokenLifetime
	if s.Reusable {
		most = MaxReusableLifetime
	}
	if s.Lifetime < 0 || s.Lifetime > most {
		return fmt.Errorf("a lifetime of %v: it must be between 0 and %v", s.Lifetime, most)
	}
	return nil
}

// A tokenRecord is a token as the store keeps it, under its hash.
type tokenRecord struct {
	Spec
	Expires time.Time `json:"expires"`
}

// secretBytes is the length of a token's secret. Nobody guesses 256 bits, so
// a fast hash of it is safe to keep.
const secretBytes = 32

// tokenPrefix begins every token, so that a scanner for secrets finds those
// that ended up where they should not.
const tokenPrefix = "mm1"

func tokenKey(secret []byte) string {
	h := sha256.Sum256(secret)
	return "tokens/" + hex.EncodeToString(h[:])
}

// CreateToken makes a token and returns it with the time at which it expires.
// It is not to be had again.
func (k *Keeper) CreateToken(ctx context.Context, s Spec) (token string, expires time.Time, err error) {
	t, put, expires, err := k.newToken(s)
	if err != nil {
		return "", time.Time{}, err
	}
	if _, err := k.store.Commit(ctx, store.Txn{Put: []store.Put{put}}); err != nil {
		return "", time.Time{}, fmt.Errorf("keeping the token: %w", err)
	}
	return t, expires, nil
}

// NewToken is CreateToken for a caller who commits put with changes of its own.
func (k *Keeper) NewToken(s Spec) (token string, put store.Put, expires time.Time, err error) {
	return k.newToken(s)
}

func (k *Keeper) newToken(s Spec) (token string, put store.Put, expires time.Time, err error) {
	if err := s.check(); err != nil {
		return "", store.Put{}, time.Time{}, err
	}
	if s.Lifetime == 0 {
		s.Lifetime = DefaultTokenLifetime
	}
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // never fails, by its documentation
	expires = k.now().Add(s.Lifetime).UTC().Truncate(time.Second)
	record, err := json.Marshal(tokenRecord{Spec: s, Expires: expires})
	if err != nil {
		return "", store.Put{}, time.Time{}, err
	}
	fingerprint := k.author.fingerprint()
	text := base64.RawURLEncoding
	token = strings.Join([]string{
		tokenPrefix, string(s.Role), text.EncodeToString(secret), text.EncodeToString(fingerprint[:]),
	}, ".")
	return token, store.Put{Key: tokenKey(secret), Value: record}, expires, nil
}

// parseToken returns the secret of a token.
func parseToken(token string) ([]byte, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 4 || parts[0] != tokenPrefix {
		return nil, ErrToken
	}
	secret, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(secret) != secretBytes {
		return nil, ErrToken
	}
	return secret, nil
}

// lookup returns the record of a token that has not expired.
func (k *Keeper) lookup(ctx context.Context, token string) (tokenRecord, store.Entry, error) {
	secret, err := parseToken(token)
	if err != nil {
		return tokenRecord{}, store.Entry{}, err
	}
	e, err := k.store.Get(ctx, tokenKey(secret))
	if errors.Is(err, store.ErrNotFound) {
		return tokenRecord{}, e, ErrToken
	}
	if err != nil {
		return tokenRecord{}, e, fmt.Errorf("looking a token up: %w", err)
	}
	var r tokenRecord
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return tokenRecord{}, e, fmt.Errorf("the record of a token is damaged: %w", err)
	}
	if !k.now().Before(r.Expires) {
		return tokenRecord{}, e, ErrToken
	}
	return r, e, nil
}

// AdminToken returns a join token of the role admin the first time that it is
// called for a store, and "" ever after.
func (k *Keeper) AdminToken(ctx context.Context) (string, error) {
	const marker = "admin-token"
	if _, err := k.store.Get(ctx, marker); err == nil {
		return "", nil
	} else if !errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("looking for the first token: %w", err)
	}
	token, put, _, err := k.newToken(Spec{Role: RoleAdmin, Name: "admin", Lifetime: 24 * time.Hour})
	if err != nil {
		return "", err
	}
	_, err = k.store.Commit(ctx, store.Txn{
		If:  []store.Condition{{Key: marker}},
		Put: []store.Put{put, {Key: marker}},
	})
	if _, conflict := errors.AsType[*store.ConflictError](err); conflict {
		return "", nil // another control plane was first
	}
	if err != nil {
		return "", fmt.Errorf("keeping the first token: %w", err)
	}
	return token, nil
}

// Redeem takes a join token and returns a certificate, as a chain in DER, for
// the key of csr, a PKCS #10 request in DER. The token is used up. Whoever had
// joined under that name before is refused from then on. The error is ErrToken
// when the token does not work.
func (k *Keeper) Redeem(ctx context.Context, token string, csr []byte) (chain [][]byte, id Identity, err error) {
	r, e, err := k.lookup(ctx, token)
	if err != nil {
		return nil, Identity{}, err
	}
	if r.Reusable {
		return nil, Identity{}, errors.New("this token is a bearer token: it does not join")
	}
	mark := make([]byte, 8)
	_, _ = rand.Read(mark) // never fails, by its documentation
	id = Identity{Role: r.Role, Name: r.Name, Pool: r.Pool, Joined: hex.EncodeToString(mark)}
	if chain, err = k.author.signClient(id, csr); err != nil {
		return nil, Identity{}, err
	}
	_, err = k.store.Commit(ctx, store.Txn{
		If:     []store.Condition{{Key: e.Key, Revision: e.Revision}},
		Put:    []store.Put{{Key: id.key(), Value: []byte(id.Joined)}},
		Delete: []string{e.Key},
	})
	if _, conflict := errors.AsType[*store.ConflictError](err); conflict {
		return nil, Identity{}, ErrToken // somebody else was faster
	}
	if err != nil {
		return nil, Identity{}, fmt.Errorf("joining: %w", err)
	}
	k.log.Info("joined", "identity", id.String())
	return chain, id, nil
}

// Renew returns a new certificate for id, who was authenticated by one.
func (k *Keeper) Renew(ctx context.Context, id Identity, csr []byte) (chain [][]byte, err error) {
	if err := k.known(ctx, id); err != nil {
		return nil, err
	}
	return k.author.signClient(id, csr)
}
