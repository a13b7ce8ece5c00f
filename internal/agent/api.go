package agent

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control/access/join"
)

// API is the Source of a real control plane. It is safe for concurrent use.
type API struct{ remote *join.Remote }

// NewAPI returns a Source. It talks to nobody yet.
func NewAPI(r *join.Remote) *API { return &API{r} }

// Watch implements Source.
func (a *API) Watch(ctx context.Context, r *mintmarkv1.WatchAssignmentsRequest, send func(*mintmarkv1.Assignment) error) error {
	client, url, err := a.remote.Connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := mintmarkv1connect.NewAgentServiceClient(client, url).WatchAssignments(ctx, connect.NewRequest(r))
	if err != nil {
		return a.remote.Failed(err)
	}
	defer func() { _ = stream.Close() }() // it has ended, or is given up
	for stream.Receive() {
		if err := send(stream.Msg().GetAssignment()); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil {
		return a.remote.Failed(err)
	}
	return errors.New("the control plane ended the stream")
}

// Report implements Source.
func (a *API) Report(ctx context.Context, r *mintmarkv1.ReportRequest) error {
	client, url, err := a.remote.Connect(ctx)
	if err != nil {
		return err
	}
	_, err = mintmarkv1connect.NewAgentServiceClient(client, url).Report(ctx, connect.NewRequest(r))
	return a.remote.Failed(err)
}
