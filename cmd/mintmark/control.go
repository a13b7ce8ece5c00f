package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control/access/join"
)

// The environment of the commands that talk to a control plane.
const (
	envControl   = "MINTMARK_CONTROL"    // its URL
	envHome      = "MINTMARK_HOME"       // the directory of the login
	envTokenFile = "MINTMARK_TOKEN_FILE" // a bearer token, instead of a login
)

// controlTimeout bounds a call to the control plane.
const controlTimeout = 30 * time.Second

// errNoControl: no command line, environment or login says which one.
var errNoControl = errors.New("there is no control plane to talk to: nobody has logged in")

// A controlFlags is the flags of every command that talks to a control plane.
type controlFlags struct {
	url  *string
	json *bool
}

func newControlFlags(fs *flag.FlagSet) controlFlags {
	return controlFlags{
		url:  fs.String("control", "", "`URL` of the control plane (default that of the login, or $"+envControl+")"),
		json: fs.Bool("json", false, "print the answer of the API as one JSON object"),
	}
}

// loginDir is where `mintmark login` keeps the certificate.
func loginDir() (string, error) {
	if dir := os.Getenv(envHome); dir != "" {
		return dir, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", withHint(fmt.Errorf("finding the directory of the login: %w", err), "set $%s", envHome)
	}
	return filepath.Join(dir, "mintmark"), nil
}

// urlFile keeps the URL beside the certificate.
const urlFile = "control"

// A caller talks to a control plane as who has logged in.
type caller struct {
	mintmarkv1connect.ControlServiceClient
	url string
}

// dial finds the control plane and how to talk to it.
func (f controlFlags) dial(ctx context.Context) (*caller, error) {
	dir, err := loginDir()
	if err != nil {
		return nil, err
	}
	address := *f.url
	if address == "" {
		address = os.Getenv(envControl)
	}
	if address == "" {
		text, err := os.ReadFile(filepath.Join(dir, urlFile))
		if err != nil {
			return nil, withHint(errNoControl,
				"run `mintmark login URL`, or give --control URL")
		}
		address = strings.TrimSpace(string(text))
	}
	if address, err = controlURL(address); err != nil {
		return nil, err
	}
	client, err := httpClient(ctx, dir, address)
	if err != nil {
		return nil, err
	}
	return &caller{mintmarkv1connect.NewControlServiceClient(client, address), address}, nil
}

// httpClient authenticates by the login, or by a bearer token.
func httpClient(ctx context.Context, dir, address string) (*http.Client, error) {
	if name := os.Getenv(envTokenFile); name != "" {
		return bearerClient(name)
	}
	creds, err := join.Load(dir)
	if errors.Is(err, join.ErrNotJoined) {
		return nil, withHint(errors.New("nobody has logged in"), "run `mintmark login %s`", address)
	}
	if err != nil {
		return nil, err
	}
	if _, err := creds.RenewIfDue(ctx, address); err != nil && time.Now().After(creds.Expires()) {
		return nil, withHint(fmt.Errorf("the login has expired: %w", err), "run `mintmark login %s` with a new token", address)
	}
	client := creds.HTTPClient()
	client.Timeout = controlTimeout
	return client, nil
}

func bearerClient(name string) (*http.Client, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the token: %w", err)
	}
	token, err := join.ParseToken(string(text))
	if err != nil {
		return nil, fmt.Errorf("reading the token in %s: %w", name, err)
	}
	return &http.Client{Timeout: controlTimeout, Transport: &bearer{
		token: token.Text(), next: &http.Transport{TLSClientConfig: token.Pinned(), ForceAttemptHTTP2: true},
	}}, nil
}

// A bearer sends a token with each request.
type bearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// controlURL checks the URL of a control plane.
func controlURL(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return "", usagef("%s is not the URL of a control plane, such as https://127.0.0.1:7070", quote(text))
	}
	return u.Scheme + "://" + u.Host, nil
}

// callError adds to an error of the API what a person can do about it.
func callError(err error) error {
	if err == nil {
		return nil
	}
	rpc, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err
	}
	said := errors.New(rpc.Message())
	switch rpc.Code() {
	case connect.CodeUnauthenticated:
		return withHint(said, "log in with a new token: `mintmark login URL`")
	case connect.CodePermissionDenied:
		return withHint(said, "log in as an admin")
	case connect.CodeAborted:
		return withHint(said, "look at it again, then repeat the change")
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded:
		return withHint(said, "is the control plane running, and is this its URL?")
	default:
		return said
	}
}

// show prints a message of the API as JSON, or has f write it for people.
func (f controlFlags) show(w io.Writer, m proto.Message, text func(b *strings.Builder)) error {
	if *f.json {
		return writeProto(w, m)
	}
	var b strings.Builder
	text(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeProto writes a message of the API as one JSON object, with the names of
// the schema and all fields.
func writeProto(w io.Writer, m proto.Message) error {
	b, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return err
	}
	var v any
	if err := unmarshalNumbers(b, &v); err != nil {
		return err
	}
	return writeJSON(w, v) // protojson varies its spaces on purpose
}

// operands checks how many there are.
func needOperands(got []string, names ...string) error {
	if len(got) == len(names) {
		return nil
	}
	return usagef("needs %s, got %d operands", strings.Join(names, " "), len(got))
}

// splitServer splits POOL/SERVER.
func splitServer(text string) (pool, server string, err error) {
	pool, server, ok := strings.Cut(text, "/")
	if !ok || pool == "" || server == "" {
		return "", "", usagef("%s is not POOL/SERVER", quote(text))
	}
	return pool, server, nil
}
