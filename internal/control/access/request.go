package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/mintmark/mintmark/internal/store"
)

// Errors of Authenticate.
var (
	// ErrNoCredentials is the error of a request without any.
	ErrNoCredentials = errors.New("no credentials: join with a token (mintmark login), or send a bearer token")
	// ErrRevoked is the error of a certificate whose owner was removed, or has
	// joined anew.
	ErrRevoked = errors.New("this certificate was revoked: its owner was removed or has joined anew; join with a new token")
)

// Authenticate returns who sent r: by the certificate of its connection, or
// by a bearer token.
func (k *Keeper) Authenticate(r *http.Request) (Identity, error) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		leaf := r.TLS.VerifiedChains[0][0]
		if len(leaf.URIs) != 1 {
			return Identity{}, errors.New("the certificate names nobody")
		}
		id, err := identityOf(leaf.URIs[0])
		if err != nil {
			return Identity{}, err
		}
		// The connection may be older than the certificate's end.
		if k.now().After(leaf.NotAfter) {
			return Identity{}, errors.New("the certificate has expired: join with a new token")
		}
		return id, k.known(r.Context(), id)
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return Identity{}, ErrNoCredentials
	}
	t, _, err := k.lookup(r.Context(), strings.TrimSpace(token))
	if err != nil {
		return Identity{}, err
	}
	if !t.Reusable {
		return Identity{}, errors.New("this is a join token: `mintmark login` exchanges it for a certificate")
	}
	return Identity{Role: t.Role, Name: t.Name}, nil
}

// known returns nil if id has joined and was not revoked.
func (k *Keeper) known(ctx context.Context, id Identity) error {
	e, err := k.store.Get(ctx, id.key())
	if errors.Is(err, store.ErrNotFound) || err == nil && string(e.Value) != id.Joined {
		return ErrRevoked
	}
	if err != nil {
		return fmt.Errorf("looking %s up: %w", id, err)
	}
	return nil
}

// Middleware finds out who sends each request, for Interceptor and From.
func (k *Keeper) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := k.Authenticate(r)
		if err != nil && !errors.Is(err, ErrNoCredentials) {
			k.log.Warn("refusing credentials", "peer", r.RemoteAddr, "path", r.URL.Path, "error", err)
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, who{id: id, err: err})))
	})
}

// Rules say which roles may call which procedure, by the name that connect
// gives it ("/mintmark.v1.ControlService/GetStatus"). Open procedures are for
// everybody. What is in neither is refused.
type Rules struct {
	Roles map[string][]Role
	Open  []string
}

// Interceptor refuses calls that r does not allow: with the code
// unauthenticated whom it does not know, with permission_denied whom it knows.
func Interceptor(r Rules) connect.Interceptor { return &interceptor{rules: r} }

type interceptor struct{ rules Rules }

func (i *interceptor) check(ctx context.Context, procedure string) error {
	if slices.Contains(i.rules.Open, procedure) {
		return nil
	}
	w, ok := ctx.Value(contextKey{}).(who)
	if !ok {
		return connect.NewError(connect.CodeUnauthenticated, ErrNoCredentials)
	}
	if w.err != nil {
		return connect.NewError(connect.CodeUnauthenticated, w.err)
	}
	roles := i.rules.Roles[procedure]
	if !slices.Contains(roles, w.id.Role) {
		return connect.NewError(connect.CodePermissionDenied,
			fmt.Errorf("%s may not call %s, which is for %v", w.id, procedure, roles))
	}
	return nil
}

// WrapUnary implements connect.Interceptor.
func (i *interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		if !r.Spec().IsClient {
			if err := i.check(ctx, r.Spec().Procedure); err != nil {
				return nil, err
			}
		}
		return next(ctx, r)
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (i *interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (i *interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, c connect.StreamingHandlerConn) error {
		if err := i.check(ctx, c.Spec().Procedure); err != nil {
			return err
		}
		return next(ctx, c)
	}
}
