// Package access says who may do what at a control plane: roles, the
// control plane's own certificate authority, join tokens, and the check of
// every request.
//
// Everybody proves who they are by a certificate of this authority, over
// mutual TLS. A certificate is had once for a join token, and renewed with
// itself from then on. Tokens work once, expire, are kept only as a hash, and
// carry the fingerprint of the authority, so that whoever joins knows that it
// talks to the control plane that made the token and to nobody between.
//
// For programs that cannot keep a certificate there are reusable tokens of
// the roles admin and viewer, which are sent as bearer tokens.
package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/store"
)

// A Role is what somebody may do.
type Role string

// The roles.
const (
	// RoleAdmin may do everything.
	RoleAdmin Role = "admin"
	// RoleViewer may read what is no secret.
	RoleViewer Role = "viewer"
	// RoleBalancer may read what balancers route by, mark keys included, and
	// say what it has put into effect.
	RoleBalancer Role = "balancer"
	// RoleAgent may read the assignment of one server, and report on it.
	RoleAgent Role = "agent"
)

// ParseRole returns the role of that name.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case RoleAdmin, RoleViewer, RoleBalancer, RoleAgent:
		return r, nil
	default:
		return "", fmt.Errorf("unknown role %q: it is one of admin, viewer, balancer, agent", s)
	}
}

// An Identity is who sent a request.
type Identity struct {
	Role Role
	// Name is the person's or balancer's; an agent's is that of its server.
	Name string
	// Pool is the pool of an agent's server; empty for others.
	Pool string
	// Joined tells one joining from the next under the same name. It is
	// empty for who came with a bearer token or from within the process.
	Joined string
}

// String returns who it is as the audit log writes it: "agent web/a".
func (id Identity) String() string {
	if id.Role == RoleAgent {
		return fmt.Sprintf("%s %s/%s", id.Role, id.Pool, id.Name)
	}
	return fmt.Sprintf("%s %s", id.Role, id.Name)
}

// uriScheme begins the URI in a certificate that says whose it is:
// mintmark://ROLE/POOL/NAME?joined=HEX.
const uriScheme = "mintmark"

func (id Identity) uri() *url.URL {
	return &url.URL{
		Scheme: uriScheme, Host: string(id.Role),
		Path:     "/" + id.Pool + "/" + id.Name,
		RawPath:  "/" + url.PathEscape(id.Pool) + "/" + url.PathEscape(id.Name),
		RawQuery: url.Values{"joined": {id.Joined}}.Encode(),
	}
}

func identityOf(u *url.URL) (Identity, error) {
	role, err := ParseRole(u.Host)
	if err != nil || u.Scheme != uriScheme {
		return Identity{}, errors.New("the certificate names no role")
	}
	pool, name, ok := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	id := Identity{Role: role, Joined: u.Query().Get("joined")}
	if ok {
		if id.Pool, err = url.PathUnescape(pool); err == nil {
			id.Name, err = url.PathUnescape(name)
		}
	}
	if !ok || err != nil {
		return Identity{}, errors.New("the certificate names nobody")
	}
	return id, nil
}

// key is where the store keeps that id has joined.
func (id Identity) key() string {
	return fmt.Sprintf("identities/%s/%s/%s", id.Role, url.PathEscape(id.Pool), url.PathEscape(id.Name))
}

type contextKey struct{}

// who is what a context carries: an identity, or why there is none.
type who struct {
	id  Identity
	err error
}

// From returns who made the request of ctx, and false if nobody is known.
func From(ctx context.Context) (Identity, bool) {
	w, ok := ctx.Value(contextKey{}).(who)
	return w.id, ok && w.err == nil
}

// A Keeper knows who has joined, and lets in whom it knows. It is safe for
// concurrent use, and keeps nothing in memory but the authority's key.
type Keeper struct {
	store  store.Store
	now    func() time.Time
	log    *slog.Logger
	author *authority
}

// Options of New.
type Options struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Logger receives who joined and who was refused; nil discards it.
	Logger *slog.Logger
}

// New returns the keeper of s, and makes its certificate authority when it has
// none yet.
func New(ctx context.Context, s store.Store, o Options) (*Keeper, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a, err := openAuthority(ctx, s, o.Now)
	if err != nil {
		return nil, err
	}
	return &Keeper{store: s, now: o.Now, log: o.Logger, author: a}, nil
}

// Revoke ends the rights of whoever joined as role, pool and name: its
// certificates are refused from now on. It is no error if nobody did.
func (k *Keeper) Revoke(ctx context.Context, role Role, pool, name string) error {
	id := Identity{Role: role, Pool: pool, Name: name}
	_, err := k.store.Commit(ctx, store.Txn{Delete: []string{id.key()}})
	if err != nil {
		return fmt.Errorf("revoking %s: %w", id, err)
	}
	return nil
}
