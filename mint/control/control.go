// Package control connects a mint.Client with Mintmark's control plane: it
// joins once with a token, follows the assignment of its server, and reports.
//
//	source, err := control.New(control.Config{
//		URLs: []string{"https://10.0.0.1:7070"}, TokenFile: "join.token", Dir: "credentials",
//	})
//	client, err := mint.Open(mint.Config{State: "mint.json", Source: source})
//
// The token is of the role agent: `mintmark token create agent POOL/SERVER`,
// for a server that was added with --sdk.
package control

import (
	"context"
	"errors"
	"log/slog"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control/access/join"
	"github.com/mintmark/mintmark/mint"
)

// Config says where the control plane is, and how to become known to it.
type Config struct {
	// URLs of the control plane: several that share a store are tried in turn.
	// Required.
	URLs []string
	// TokenFile holds the join token, which is read once. Required.
	TokenFile string
	// Dir is the directory of the certificate that the token is exchanged for.
	// It is made with mode 0700. Required.
	Dir string
	// CA is a PEM file with the certificate of the control plane's authority;
	// "": the token's word for it is enough.
	CA string
	// Marks asks for the mark key, to make marks of the scheme sealed, a new
	// one for each ID. The control plane gives it to servers that were added
	// with --sdk only.
	Marks bool
	// Logger receives what happens; nil discards it.
	Logger *slog.Logger
}

// A Source is a mint.Source. It is safe for concurrent use.
type Source struct {
	remote *join.Remote
	marks  bool
}

// New returns a Source. It talks to nobody yet.
func New(c Config) (*Source, error) {
	if len(c.URLs) == 0 || c.TokenFile == "" || c.Dir == "" {
		return nil, errors.New("mint/control: URLs, TokenFile and Dir are required")
	}
	return &Source{
		marks: c.Marks,
		remote: join.NewRemote(join.RemoteConfig{
			URLs: c.URLs, Dir: c.Dir, TokenFile: c.TokenFile, CA: c.CA, Role: "agent", Logger: c.Logger,
		}),
	}, nil
}

// Watch implements mint.Source.
func (s *Source) Watch(ctx context.Context, take func(mint.Assignment) error) error {
	client, url, err := s.remote.Connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := mintmarkv1connect.NewAgentServiceClient(client, url).
		WatchAssignments(ctx, connect.NewRequest(&mintmarkv1.WatchAssignmentsRequest{MintsMarks: s.marks}))
	if err != nil {
		return s.remote.Failed(err)
	}
	defer func() { _ = stream.Close() }() // it has ended, or is given up
	for stream.Receive() {
		if err := take(assignment(stream.Msg().GetAssignment())); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil {
		return s.remote.Failed(err)
	}
	return errors.New("the control plane ended the stream")
}

// assignment is what the API sends, without what is of partners: a Go server
// shares its keys with nobody.
func assignment(m *mintmarkv1.Assignment) mint.Assignment {
	a := mint.Assignment{Version: m.GetVersion(), Pool: m.GetPool(), Server: m.GetServer()}
	for _, k := range m.GetKeys() {
		if k.GetOwner() != m.GetServer() {
			continue
		}
		a.Keys = append(a.Keys, mint.Key{
			Generation: k.GetGeneration(), Mint: k.GetUse() == mintmarkv1.KeyUse_KEY_USE_ENCRYPT,
			Name: k.GetKeyName(), Text: k.GetText(), ServerNumber: k.GetServerNumber(), MarkKey: k.GetMarkKey(),
		})
	}
	return a
}

// Report implements mint.Source.
func (s *Source) Report(ctx context.Context, r mint.Report) error {
	client, url, err := s.remote.Connect(ctx)
	if err != nil {
		return err
	}
	m := &mintmarkv1.ReportRequest{
		// Within one process there are no others, and nothing to look at.
		Version: r.Version, OldWorkersGone: true, Verified: true, Adapter: "Go SDK",
		MintingGenerations: r.Minting, GenerationsWithoutSessions: r.NoSessions, SpaceRunsOut: r.RunsOut,
	}
	for _, g := range r.Held {
		m.Held = append(m.Held, &mintmarkv1.HeldKey{Owner: r.Server, Generation: g})
	}
	_, err = mintmarkv1connect.NewAgentServiceClient(client, url).Report(ctx, connect.NewRequest(m))
	return s.remote.Failed(err)
}
