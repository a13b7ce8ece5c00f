package follow

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control/access/join"
)

// API is the Source of a control plane elsewhere. It is safe for concurrent
// use.
type API struct{ remote *join.Remote }

// NewAPI returns a Source. It talks to nobody yet.
func NewAPI(r *join.Remote) *API { return &API{r} }

func (a *API) client(ctx context.Context) (mintmarkv1connect.BalancerServiceClient, error) {
	client, url, err := a.remote.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return mintmarkv1connect.NewBalancerServiceClient(client, url), nil
}

// Watch implements Source.
func (a *API) Watch(ctx context.Context, r *mintmarkv1.WatchSnapshotsRequest, send func(*mintmarkv1.WatchSnapshotsResponse) error) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.WatchSnapshots(ctx, connect.NewRequest(r))
	if err != nil {
		return a.remote.Failed(err)
	}
	defer func() { _ = stream.Close() }() // it has ended, or is given up
	for stream.Receive() {
		if err := send(stream.Msg()); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil {
		return a.remote.Failed(err)
	}
	return errors.New("the control plane ended the stream")
}

// Acknowledge implements Source.
func (a *API) Acknowledge(ctx context.Context, r *mintmarkv1.AcknowledgeRequest) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	_, err = c.Acknowledge(ctx, connect.NewRequest(r))
	return a.remote.Failed(err)
}

// ReportSeen implements Source.
func (a *API) ReportSeen(ctx context.Context, r *mintmarkv1.ReportSeenRequest) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	_, err = c.ReportSeen(ctx, connect.NewRequest(r))
	return a.remote.Failed(err)
}
