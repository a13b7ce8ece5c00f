package join

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"

	"connectrpc.com/connect"
)

// RemoteConfig says where a control plane is, and how to become known to it.
type RemoteConfig struct {
	// URLs of the control plane: several that share a store are tried in turn.
	URLs []string
	// Dir is the directory of the credentials, TokenFile the file of the join
	// token that is exchanged for them once, CA a file with the certificate of
	// the authority, "" if the token's word for it is enough.
	Dir, TokenFile, CA string
	// Role is what the token must be for, as in "balancer".
	Role string
	// Logger receives what happens; nil discards it.
	Logger *slog.Logger
}

// A Remote is a control plane elsewhere, that a member joins once and then
// talks to for as long as it lives. It is safe for concurrent use.
type Remote struct {
	cfg RemoteConfig

	mu     sync.Mutex
	creds  *Credentials
	client *http.Client
	url    string // that answered last
}

// NewRemote returns a Remote. It talks to nobody yet.
func NewRemote(c RemoteConfig) *Remote {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Remote{cfg: c}
}

// Connect returns how to talk to the control plane, and where. It joins first
// if that was never done, and renews the certificate when it is due.
func (r *Remote) Connect(ctx context.Context) (client *http.Client, url string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == nil {
		creds, err := Load(r.cfg.Dir)
		if errors.Is(err, ErrNotJoined) {
			creds, err = r.join(ctx)
		}
		if err != nil {
			return nil, "", err
		}
		r.creds, r.client = creds, creds.HTTPClient()
		r.cfg.Logger.Info("talking to the control plane", "as", creds.Subject(), "certificate_until", creds.Expires())
	}
	if r.url == "" {
		r.url = r.cfg.URLs[0]
	}
	if renewed, err := r.creds.RenewIfDue(ctx, r.url); err != nil {
		r.cfg.Logger.Warn("the certificate could not be renewed yet", "until", r.creds.Expires(), "error", err)
	} else if renewed {
		// Connections that are open go on with the old one; the next do not.
		r.client.CloseIdleConnections()
		r.cfg.Logger.Info("certificate renewed", "until", r.creds.Expires())
	}
	return r.client, r.url, nil
}

// join takes the token to the first URL that answers.
func (r *Remote) join(ctx context.Context) (*Credentials, error) {
	text, err := os.ReadFile(r.cfg.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("reading the join token: %w", err)
	}
	token, err := ParseToken(string(text))
	if err != nil {
		return nil, fmt.Errorf("reading the join token in %s: %w", r.cfg.TokenFile, err)
	}
	if token.Role != r.cfg.Role {
		return nil, fmt.Errorf("the token in %s is for the role %s; make one with `mintmark token create %s NAME`", r.cfg.TokenFile, token.Role, r.cfg.Role)
	}
	if err := r.checkCA(token); err != nil {
		return nil, err
	}
	var errs []error
	for _, url := range r.cfg.URLs {
		creds, err := Join(ctx, url, r.cfg.Dir, token)
		if err == nil {
			r.url = url
			return creds, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// checkCA compares the authority of the token with the file that the operator
// brought, if any.
func (r *Remote) checkCA(token Token) error {
	if r.cfg.CA == "" {
		return nil
	}
	text, err := os.ReadFile(r.cfg.CA)
	if err != nil {
		return fmt.Errorf("reading ca: %w", err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if sha256.Sum256(block.Bytes) == token.Fingerprint {
			return nil
		}
	}
	return fmt.Errorf("the token was not made by the authority in %s", r.cfg.CA)
}

// Failed turns to the next URL after a call failed with err, unless the
// request itself is at fault, and returns err with what to do about it.
func (r *Remote) Failed(err error) error {
	if err == nil || connect.CodeOf(err) == connect.CodeInvalidArgument {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.cfg.URLs, r.url); i >= 0 {
		r.url = r.cfg.URLs[(i+1)%len(r.cfg.URLs)]
	}
	if connect.CodeOf(err) == connect.CodeUnauthenticated {
		err = fmt.Errorf("%w; to join with a new token, remove %s", err, r.cfg.Dir)
	}
	return err
}
