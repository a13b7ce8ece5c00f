package control_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/access/join"
	"github.com/mintmark/mintmark/internal/store"
)

// A plane is a control plane on a real socket, with a clock of its own.
type plane struct {
	t      *testing.T
	mu     sync.Mutex
	at     time.Time
	dir    string
	store  store.Store
	server *control.Server
	url    string
	admin  mintmarkv1connect.ControlServiceClient
	keeper *access.Keeper
}

func (p *plane) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *plane) pass(d time.Duration) {
	p.mu.Lock()
	p.at = p.at.Add(d)
	p.mu.Unlock()
	p.tick()
}

func (p *plane) tick() {
	p.t.Helper()
	if err := p.server.Tick(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{t: t, at: time.Now().UTC(), dir: t.TempDir()}
	var err error
	if p.store, err = store.OpenBolt(filepath.Join(p.dir, "mintmark.db"), store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.store.Close() })
	if p.keeper, err = access.New(t.Context(), p.store, access.Options{Now: p.now}); err != nil {
		t.Fatal(err)
	}
	if p.server, err = control.New(control.Config{Store: p.store, Access: p.keeper, Now: p.now}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := p.server.HTTPServer([]string{"127.0.0.1"}, false, nil)
	s.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.ServeTLS(ln, "", "")
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	p.url = "https://" + ln.Addr().String()
	token, err := p.keeper.AdminToken(t.Context())
	if err != nil || token == "" {
		t.Fatalf("the first admin token: %q, %v", token, err)
	}
	p.admin = mintmarkv1connect.NewControlServiceClient(p.join(token), p.url)
	return p
}

// join redeems a token and returns a client of who it makes.
func (p *plane) join(token string) *http.Client {
	p.t.Helper()
	tok, err := join.ParseToken(token)
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := join.Join(p.t.Context(), p.url, p.t.TempDir(), tok)
	if err != nil {
		p.t.Fatal(err)
	}
	client := c.HTTPClient()
	p.t.Cleanup(client.CloseIdleConnections)
	return client
}

func (p *plane) token(role, pool, name string) string {
	p.t.Helper()
	r, err := p.admin.CreateToken(p.t.Context(), connect.NewRequest(&mintmarkv1.CreateTokenRequest{Role: role, Pool: pool, Name: name}))
	if err != nil {
		p.t.Fatal(err)
	}
	return r.Msg.GetToken()
}

// A balancer is one at the other end of the API, that does as it is told.
type balancer struct {
	p      *plane
	api    mintmarkv1connect.BalancerServiceClient
	began  time.Time
	latest *mintmarkv1.WatchSnapshotsResponse
	stream *connect.ServerStreamForClient[mintmarkv1.WatchSnapshotsResponse]
}

func (p *plane) balancer(name string) *balancer {
	p.t.Helper()
	b := &balancer{p: p, api: mintmarkv1connect.NewBalancerServiceClient(p.join(p.token("balancer", "", name)), p.url), began: p.now()}
	ctx, cancel := context.WithCancel(p.t.Context())
	p.t.Cleanup(cancel)
	var err error
	if b.stream, err = b.api.WatchSnapshots(ctx, connect.NewRequest(&mintmarkv1.WatchSnapshotsRequest{})); err != nil {
		p.t.Fatal(err)
	}
	return b
}

// receive takes the next snapshot.
func (b *balancer) receive() *mintmarkv1.WatchSnapshotsResponse {
	b.p.t.Helper()
	if !b.stream.Receive() {
		b.p.t.Fatalf("the stream of snapshots ended: %v", b.stream.Err())
	}
	b.latest = b.stream.Msg()
	return b.latest
}

func (b *balancer) ack() {
	b.p.t.Helper()
	_, err := b.api.Acknowledge(b.p.t.Context(), connect.NewRequest(&mintmarkv1.AcknowledgeRequest{Revision: b.latest.GetRevision()}))
	if err != nil {
		b.p.t.Fatal(err)
	}
}

func (b *balancer) tell(spaces ...*mintmarkv1.SeenSpace) {
	b.p.t.Helper()
	_, err := b.api.ReportSeen(b.p.t.Context(), connect.NewRequest(&mintmarkv1.ReportSeenRequest{
		Since: timestamppb.New(b.began), Time: timestamppb.New(b.p.now()), Spaces: spaces,
	}))
	if err != nil {
		b.p.t.Fatal(err)
	}
}

// An agent is one at the other end of the API, that does as it is told.
type agent struct {
	p      *plane
	api    mintmarkv1connect.AgentServiceClient
	latest *mintmarkv1.Assignment
	stream *connect.ServerStreamForClient[mintmarkv1.WatchAssignmentsResponse]
}

func (p *plane) agent(pool, name string, r *mintmarkv1.WatchAssignmentsRequest) *agent {
	p.t.Helper()
	a := &agent{p: p, api: mintmarkv1connect.NewAgentServiceClient(p.join(p.token("agent", pool, name)), p.url)}
	ctx, cancel := context.WithCancel(p.t.Context())
	p.t.Cleanup(cancel)
	var err error
	if a.stream, err = a.api.WatchAssignments(ctx, connect.NewRequest(r)); err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (a *agent) receive() *mintmarkv1.Assignment {
	a.p.t.Helper()
	if !a.stream.Receive() {
		a.p.t.Fatalf("the stream of assignments ended: %v", a.stream.Err())
	}
	a.latest = a.stream.Msg().GetAssignment()
	return a.latest
}

// until receives assignments until one is as wanted.
func (a *agent) until(what string, ok func(*mintmarkv1.Assignment) bool) *mintmarkv1.Assignment {
	a.p.t.Helper()
	for range 20 {
		if m := a.receive(); ok(m) {
			return m
		}
	}
	a.p.t.Fatalf("no assignment with %s; the last is %v", what, a.latest)
	return nil
}

// report says that the latest assignment is in effect.
func (a *agent) report(more ...func(*mintmarkv1.ReportRequest)) {
	a.p.t.Helper()
	r := &mintmarkv1.ReportRequest{Version: a.latest.GetVersion(), OldWorkersGone: true, Verified: true, Adapter: "test"}
	for _, k := range a.latest.GetKeys() {
		if k.GetOwner() == a.latest.GetServer() || len(k.GetSealed()) > 0 {
			r.Held = append(r.Held, &mintmarkv1.HeldKey{Owner: k.GetOwner(), Generation: k.GetGeneration()})
		}
		if k.GetUse() == mintmarkv1.KeyUse_KEY_USE_ENCRYPT {
			r.MintingGenerations = append(r.MintingGenerations, k.GetGeneration())
		}
	}
	for _, f := range more {
		f(r)
	}
	if _, err := a.api.Report(a.p.t.Context(), connect.NewRequest(r)); err != nil {
		a.p.t.Fatal(err)
	}
}

func encrypts(generation uint32) func(*mintmarkv1.Assignment) bool {
	return func(m *mintmarkv1.Assignment) bool {
		for _, k := range m.GetKeys() {
			if k.GetOwner() == m.GetServer() && k.GetGeneration() == generation && k.GetUse() == mintmarkv1.KeyUse_KEY_USE_ENCRYPT {
				return true
			}
		}
		return false
	}
}

func (p *plane) putPool(m *mintmarkv1.Pool) *mintmarkv1.PutPoolResponse {
	p.t.Helper()
	r, err := p.admin.PutPool(p.t.Context(), connect.NewRequest(&mintmarkv1.PutPoolRequest{Pool: m}))
	if err != nil {
		p.t.Fatal(err)
	}
	return r.Msg
}

func (p *plane) rollout(pool string) *mintmarkv1.Rollout {
	p.t.Helper()
	r, err := p.admin.GetRollout(p.t.Context(), connect.NewRequest(&mintmarkv1.GetRolloutRequest{Pool: pool}))
	if err != nil {
		p.t.Fatal(err)
	}
	return r.Msg.GetRollout()
}

// phase returns where the space of an owner in a generation is in its life.
func (p *plane) phase(pool, owner string, generation uint32) mintmarkv1.Phase {
	p.t.Helper()
	for _, s := range p.rollout(pool).GetSpaces() {
		if s.GetOwner() == owner && s.GetGeneration() == generation {
			return s.GetPhase()
		}
	}
	return mintmarkv1.Phase_PHASE_GONE
}
