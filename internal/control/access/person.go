package access

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/store"
)

// Errors of logging in with a browser.
var (
	// ErrPassword is the error of a name and password that do not belong
	// together. It does not say which of them is wrong.
	ErrPassword = errors.New("no such name and password; somebody who has lost the password logs in with a new token (mintmark token create)")
	// ErrNoSession is the error of a session that is over.
	ErrNoSession = errors.New("the session is over: log in again")
)

// Bounds of passwords and sessions.
const (
	// MinPasswordBytes and MaxPasswordBytes bound a password. The longest
	// keeps somebody who is not logged in from making the server hash much.
	MinPasswordBytes = 10
	MaxPasswordBytes = 1024
	// SessionLifetime is how long a browser stays logged in.
	SessionLifetime = 12 * time.Hour
	// maxSessions bounds the sessions in the store, against somebody with a
	// password who logs in in a loop.
	maxSessions = 1000
	// passwordRounds makes a stolen store expensive to search: a try costs
	// about a tenth of a second.
	passwordRounds = 600_000
)

const (
	prefixPeople   = "people/"
	prefixSessions = "sessions/"
)

// A Person may use the web UI. People are apart from identities that hold a
// certificate: logging in with a browser revokes nobody's.
type Person struct {
	Name        string
	Role        Role
	HasPassword bool
}

// A personRecord is a person as the store keeps it.
type personRecord struct {
	Role Role `json:"role"`
	// Mark is in every session of the person: another one ends them all.
	Mark   string `json:"mark"`
	Salt   []byte `json:"salt,omitempty"`
	Hash   []byte `json:"hash,omitempty"`
	Rounds int    `json:"rounds,omitempty"`
}

// A sessionRecord is a session as the store keeps it, under the hash of its
// secret.
type sessionRecord struct {
	Name    string    `json:"name"`
	Mark    string    `json:"mark"`
	Expires time.Time `json:"expires"`
}

func personKey(name string) string { return prefixPeople + url.PathEscape(name) }

func sessionKey(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return prefixSessions + hex.EncodeToString(h[:])
}

func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, by its documentation
	return hex.EncodeToString(b)
}

func (k *Keeper) person(ctx context.Context, name string) (personRecord, uint64, error) {
	var p personRecord
	e, err := k.store.Get(ctx, personKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return p, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value, &p)
	}
	if err != nil {
		return p, 0, fmt.Errorf("looking a person up: %w", err)
	}
	return p, e.Revision, nil
}

// LogIn takes a join token of the roles admin and viewer, which is used up, and
// returns the secret of a session.
func (k *Keeper) LogIn(ctx context.Context, token string) (secret string, id Identity, err error) {
	r, e, err := k.lookup(ctx, strings.TrimSpace(token))
	if err != nil {
		return "", Identity{}, err
	}
	switch {
	case r.Role != RoleAdmin && r.Role != RoleViewer:
		return "", Identity{}, fmt.Errorf("this token is for a %s and lets nobody in here; an admin makes one with `mintmark token create viewer NAME`", r.Role)
	case r.Reusable:
		return "", Identity{}, errors.New("this token is for programs; make one without --reusable")
	}
	p, rev, err := k.person(ctx, r.Name)
	if err != nil {
		return "", Identity{}, err
	}
	if p.Role != r.Role {
		// New, or of another role than before: then sessions and password of
		// the old one end.
		p = personRecord{Role: r.Role, Mark: randomText(8)}
	}
	doc, err := json.Marshal(p)
	if err != nil {
		return "", Identity{}, err
	}
	secret, err = k.openSession(ctx, r.Name, p.Mark, store.Txn{
		If:     []store.Condition{{Key: e.Key, Revision: e.Revision}, {Key: personKey(r.Name), Revision: rev}},
		Put:    []store.Put{{Key: personKey(r.Name), Value: doc, Secret: true}},
		Delete: []string{e.Key},
	})
	if _, conflict := errors.AsType[*store.ConflictError](err); conflict {
		return "", Identity{}, ErrToken // somebody else was faster
	}
	if err != nil {
		return "", Identity{}, err
	}
	k.log.Info("logged in with a token", "identity", string(r.Role)+" "+r.Name)
	return secret, Identity{Role: r.Role, Name: r.Name}, nil
}

// LogInWithPassword returns the secret of a session. The error is ErrPassword
// when name and password do not belong together.
func (k *Keeper) LogInWithPassword(ctx context.Context, name, password string) (secret string, id Identity, err error) {
	if len(password) > MaxPasswordBytes {
		return "", Identity{}, ErrPassword
	}
	p, rev, err := k.person(ctx, name)
	if err != nil {
		return "", Identity{}, err
	}
	// Somebody who is not there takes as long as somebody who is.
	known := p.Hash != nil
	if !known {
		p.Salt, p.Rounds = []byte("nobody's"), passwordRounds
	}
	hash, err := pbkdf2.Key(sha256.New, password, p.Salt, p.Rounds, sha256.Size)
	if err != nil {
		return "", Identity{}, err
	}
	if !known || subtle.ConstantTimeCompare(hash, p.Hash) != 1 {
		return "", Identity{}, ErrPassword
	}
	secret, err = k.openSession(ctx, name, p.Mark, store.Txn{If: []store.Condition{{Key: personKey(name), Revision: rev}}})
	if err != nil {
		return "", Identity{}, err
	}
	k.log.Info("logged in with a password", "identity", string(p.Role)+" "+name)
	return secret, Identity{Role: p.Role, Name: name}, nil
}

// openSession adds a session to t and commits it. It forgets those that are
// over.
func (k *Keeper) openSession(ctx context.Context, name, mark string, t store.Txn) (secret string, err error) {
	all, _, err := k.store.List(ctx, prefixSessions)
	if err != nil {
		return "", fmt.Errorf("reading the sessions: %w", err)
	}
	live := 0
	for _, e := range all {
		var s sessionRecord
		if json.Unmarshal(e.Value, &s) == nil && k.now().Before(s.Expires) {
			live++
			continue
		}
		if len(t.If)+len(t.Put)+len(t.Delete) < store.MaxOperations-1 {
			t.Delete = append(t.Delete, e.Key)
		}
	}
	if live >= maxSessions {
		return "", fmt.Errorf("there are %d sessions already: log out somewhere, or wait until some are over", live)
	}
	secret = randomText(secretBytes)
	doc, err := json.Marshal(sessionRecord{Name: name, Mark: mark, Expires: k.now().Add(SessionLifetime).UTC()})
	if err != nil {
		return "", err
	}
	t.Put = append(t.Put, store.Put{Key: sessionKey(secret), Value: doc})
	if _, err := k.store.Commit(ctx, t); err != nil {
		return "", err
	}
	return secret, nil
}

// Session returns whose session the secret is of, and whether the person has a
// password; ErrNoSession when it is over.
func (k *Keeper) Session(ctx context.Context, secret string) (Identity, bool, error) {
	e, err := k.store.Get(ctx, sessionKey(secret))
	if errors.Is(err, store.ErrNotFound) {
		return Identity{}, false, ErrNoSession
	}
	if err != nil {
		return Identity{}, false, fmt.Errorf("looking a session up: %w", err)
	}
	var s sessionRecord
	if err := json.Unmarshal(e.Value, &s); err != nil {
		return Identity{}, false, fmt.Errorf("the record of a session is damaged: %w", err)
	}
	p, rev, err := k.person(ctx, s.Name)
	if err != nil {
		return Identity{}, false, err
	}
	if rev == 0 || p.Mark != s.Mark || !k.now().Before(s.Expires) {
		return Identity{}, false, ErrNoSession
	}
	return Identity{Role: p.Role, Name: s.Name}, p.Hash != nil, nil
}

// LogOut ends a session.
func (k *Keeper) LogOut(ctx context.Context, secret string) error {
	if _, err := k.store.Commit(ctx, store.Txn{Delete: []string{sessionKey(secret)}}); err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return nil
}

// SetPassword gives a person a password. The other sessions of the person end,
// and secret is the session that goes on.
func (k *Keeper) SetPassword(ctx context.Context, name, password, secret string) error {
	if n := len(password); n < MinPasswordBytes || n > MaxPasswordBytes {
		return fmt.Errorf("a password of %d bytes: it needs %d to %d", n, MinPasswordBytes, MaxPasswordBytes)
	}
	p, rev, err := k.person(ctx, name)
	if err != nil {
		return err
	}
	if rev == 0 {
		return ErrNoSession
	}
	p.Mark, p.Salt, p.Rounds = randomText(8), make([]byte, 16), passwordRounds
	_, _ = rand.Read(p.Salt) // never fails, by its documentation
	if p.Hash, err = pbkdf2.Key(sha256.New, password, p.Salt, p.Rounds, sha256.Size); err != nil {
		return err
	}
	person, err := json.Marshal(p)
	if err != nil {
		return err
	}
	session, err := json.Marshal(sessionRecord{Name: name, Mark: p.Mark, Expires: k.now().Add(SessionLifetime).UTC()})
	if err != nil {
		return err
	}
	_, err = k.store.Commit(ctx, store.Txn{
		If:  []store.Condition{{Key: personKey(name), Revision: rev}},
		Put: []store.Put{{Key: personKey(name), Value: person, Secret: true}, {Key: sessionKey(secret), Value: session}},
	})
	if err != nil {
		return fmt.Errorf("keeping the password: %w", err)
	}
	return nil
}

// People returns who may use the web UI, by name.
func (k *Keeper) People(ctx context.Context) ([]Person, error) {
	all, _, err := k.store.List(ctx, prefixPeople)
	if err != nil {
		return nil, fmt.Errorf("reading the people: %w", err)
	}
	var out []Person
	for _, e := range all {
		var p personRecord
		name, err := url.PathUnescape(strings.TrimPrefix(e.Key, prefixPeople))
		if err == nil {
			err = json.Unmarshal(e.Value, &p)
		}
		if err != nil {
			return nil, fmt.Errorf("the record %s is damaged: %w", e.Key, err)
		}
		out = append(out, Person{Name: name, Role: p.Role, HasPassword: p.Hash != nil})
	}
	return out, nil
}

// RemovePerson ends the sessions of a person and forgets the password, with
// changes of the caller in one transaction. The error is store.ErrNotFound if
// there is no such person.
func (k *Keeper) RemovePerson(ctx context.Context, name string, more ...store.Put) (uint64, error) {
	_, rev, err := k.person(ctx, name)
	if err != nil {
		return 0, err
	}
	if rev == 0 {
		return 0, store.ErrNotFound
	}
	return k.store.Commit(ctx, store.Txn{
		If: []store.Condition{{Key: personKey(name), Revision: rev}}, Put: more, Delete: []string{personKey(name)},
	})
}

// As returns a context in which id makes the requests, for who has proved it in
// a way of its own: by a session of the web UI.
func As(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, who{id: id})
}
