package follow

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control/access/join"
)

// API is the Source of a control plane elsewhere. It is safe for concurrent
// use.
type API struct {
	cfg APIConfig

	mu     sync.Mutex
	creds  *join.Credentials
	client *http.Client
	url    string // that answered last
}

// APIConfig is what an API is made of.
type APIConfig struct {
	// URLs of the control plane: several that share a store are tried in turn.
	URLs []string
	// Dir is the directory of the certificate, TokenFile the file of the join
	// token that is exchanged for it once, CA a file with the certificate of
	// the authority, "" if the token's word for it is enough.
	Dir, TokenFile, CA string
	// Role is what the token must be for, as in "balancer".
	Role string
	// Logger receives what happens; nil discards it.
	Logger *slog.Logger
}

// NewAPI returns a Source. It talks to nobody yet.
func NewAPI(c APIConfig) *API {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &API{cfg: c}
}

// connect returns how to talk to the control plane, and joins it first if that
// was never done.
func (a *API) connect(ctx context.Context) (*http.Client, string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client == nil {
		creds, err := join.Load(a.cfg.Dir)
		if errors.Is(err, join.ErrNotJoined) {
			creds, err = a.join(ctx)
		}
		if err != nil {
			return nil, "", err
		}
		a.creds, a.client = creds, creds.HTTPClient()
		a.cfg.Logger.Info("talking to the control plane", "as", creds.Subject(), "until", creds.Expires())
	}
	if a.url == "" {
		a.url = a.cfg.URLs[0]
	}
	if renewed, err := a.creds.RenewIfDue(ctx, a.url); err != nil {
		a.cfg.Logger.Warn("the certificate could not be renewed yet", "until", a.creds.Expires(), "error", err)
	} else if renewed {
		a.cfg.Logger.Info("certificate renewed", "until", a.creds.Expires())
	}
	return a.client, a.url, nil
}

// join takes the token to the first URL that answers.
func (a *API) join(ctx context.Context) (*join.Credentials, error) {
	text, err := os.ReadFile(a.cfg.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("reading the join token: %w", err)
	}
	token, err := join.ParseToken(string(text))
	if err != nil {
		return nil, fmt.Errorf("reading the join token in %s: %w", a.cfg.TokenFile, err)
	}
	if token.Role != a.cfg.Role {
		return nil, fmt.Errorf("the token in %s is for the role %s; make one with `mintmark token create %s NAME`", a.cfg.TokenFile, token.Role, a.cfg.Role)
	}
	if err := a.checkCA(token); err != nil {
		return nil, err
	}
	var errs []error
	for _, url := range a.cfg.URLs {
		creds, err := join.Join(ctx, url, a.cfg.Dir, token)
		if err == nil {
			a.url = url
			return creds, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// checkCA compares the authority of the token with the file that the operator
// brought, if any.
func (a *API) checkCA(token join.Token) error {
	if a.cfg.CA == "" {
		return nil
	}
	text, err := os.ReadFile(a.cfg.CA)
	if err != nil {
		return fmt.Errorf("reading ca: %w", err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if sha256.Sum256(block.Bytes) == token.Fingerprint {
			return nil
		}
	}
	return fmt.Errorf("the token was not made by the authority in %s", a.cfg.CA)
}

// lost turns to the next URL after err.
func (a *API) lost(err error) error {
	if err == nil || connect.CodeOf(err) == connect.CodeInvalidArgument {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, u := range a.cfg.URLs {
		if u == a.url {
			a.url = a.cfg.URLs[(i+1)%len(a.cfg.URLs)]
			break
		}
	}
	if strings.Contains(err.Error(), "revoked") {
		err = fmt.Errorf("%w (remove %s to join with a new token)", err, a.cfg.Dir)
	}
	return err
}

// Watch implements Source.
func (a *API) Watch(ctx context.Context, r *mintmarkv1.WatchSnapshotsRequest, send func(*mintmarkv1.WatchSnapshotsResponse) error) error {
	client, url, err := a.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := mintmarkv1connect.NewBalancerServiceClient(client, url).WatchSnapshots(ctx, connect.NewRequest(r))
	if err != nil {
		return a.lost(err)
	}
	defer func() { _ = stream.Close() }() // it has ended, or is given up
	for stream.Receive() {
		if err := send(stream.Msg()); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil {
		return a.lost(err)
	}
	return errors.New("the control plane ended the stream")
}

// Acknowledge implements Source.
func (a *API) Acknowledge(ctx context.Context, r *mintmarkv1.AcknowledgeRequest) error {
	client, url, err := a.connect(ctx)
	if err != nil {
		return err
	}
	_, err = mintmarkv1connect.NewBalancerServiceClient(client, url).Acknowledge(ctx, connect.NewRequest(r))
	return a.lost(err)
}

// ReportSeen implements Source.
func (a *API) ReportSeen(ctx context.Context, r *mintmarkv1.ReportSeenRequest) error {
	client, url, err := a.connect(ctx)
	if err != nil {
		return err
	}
	_, err = mintmarkv1connect.NewBalancerServiceClient(client, url).ReportSeen(ctx, connect.NewRequest(r))
	return a.lost(err)
}
