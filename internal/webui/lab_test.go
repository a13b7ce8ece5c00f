package webui

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/access/join"
	"github.com/mintmark/mintmark/internal/explain"
	"github.com/mintmark/mintmark/internal/store"
)

// A plane is a control plane with its UI on a real socket, and a balancer that
// tells what the test wants.
type plane struct {
	t      testing.TB
	server *control.Server
	keeper *access.Keeper
	ui     *UI
	url    string
	api    mintmarkv1connect.ControlServiceClient // as an admin
	source *fakeBalancer
}

// A fakeBalancer is a Source.
type fakeBalancer struct {
	mu     sync.Mutex
	sample *Sample
	step   func(*Sample)                                // what happens between two samples; nil: nothing
	read   func(value string) (*explain.Message, error) // nil: as a listener for TLS
}

// Sample implements Source.
func (f *fakeBalancer) Sample() *Sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.step != nil {
		f.step(f.sample)
	}
	return copyOf(f.sample, time.Now())
}

func copyOf(s *Sample, at time.Time) *Sample {
	c := *s
	c.Time, c.Flows, c.Pools = at, append([]Flow(nil), s.Flows...), append([]PoolSample(nil), s.Pools...)
	return &c
}

// Read implements Source.
func (f *fakeBalancer) Read(_, value string, field idspace.Field) (*explain.Message, error) {
	if f.read != nil {
		return f.read(value)
	}
	return explain.Read([]byte(value), false, field)
}

// Explain implements Source.
func (f *fakeBalancer) Explain(listener string, m *explain.Message) *explain.Explanation {
	pool, server := "web", "a"
	x := &explain.Explanation{
		Field: "psk", RoutedBy: "mint", Server: &server, Pool: &pool, Listener: listener, Cause: "owner", Address: "10.0.0.11:443",
		Reason: "the owner of the ID takes traffic",
		Steps:  []string{fmt.Sprintf("candidate 1 psk (%d bytes): belongs to server a", len(m.Candidates[0].ID)), "server a takes traffic"},
	}
	return x
}

func (f *fakeBalancer) set(s *Sample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sample = s
}

func newPlane(t testing.TB) *plane {
	t.Helper()
	p := &plane{t: t, source: &fakeBalancer{sample: &Sample{Balancer: "lb1", Ready: true}}}
	s, err := store.OpenBolt(filepath.Join(t.TempDir(), "mintmark.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if p.keeper, err = access.New(t.Context(), s, access.Options{}); err != nil {
		t.Fatal(err)
	}
	if p.server, err = control.New(control.Config{Store: s, Access: p.keeper}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.url = "https://" + ln.Addr().String()
	if p.ui, err = New(Config{Client: p.server.Client, Revision: p.server.Revision, Access: p.keeper, Source: p.source, URL: p.url, Version: "v0.0.0-test"}); err != nil {
		t.Fatal(err)
	}
	h := p.server.HTTPServer([]string{"127.0.0.1"}, false, p.ui.Handler())
	h.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.ServeTLS(ln, "", "") })
	wg.Go(func() { _ = p.ui.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = h.Close()
		wg.Wait()
	})
	p.api = p.server.Client(access.Identity{Role: access.RoleAdmin, Name: "root"})
	p.balancer("lb1")
	return p
}

// token makes a join token.
func (p *plane) token(role access.Role, pool, name string) string {
	p.t.Helper()
	token, _, err := p.keeper.CreateToken(p.t.Context(), access.Spec{Role: role, Pool: pool, Name: name})
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

// balancer runs a balancer that acknowledges everything, until the test ends.
func (p *plane) balancer(name string) {
	p.t.Helper()
	b := p.server.Balancer(name)
	if err := b.Enroll(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Watch(ctx, &mintmarkv1.WatchSnapshotsRequest{}, func(s *mintmarkv1.WatchSnapshotsResponse) error {
			return b.Acknowledge(ctx, &mintmarkv1.AcknowledgeRequest{Revision: s.GetRevision()})
		})
	}()
	p.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// agent joins the agent of a server, which does as it is told until the test
// ends.
func (p *plane) agent(pool, server string) {
	p.t.Helper()
	token, err := join.ParseToken(p.token(access.RoleAgent, pool, server))
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := join.Join(p.t.Context(), p.url, p.t.TempDir(), token)
	if err != nil {
		p.t.Fatal(err)
	}
	client := c.HTTPClient()
	api := mintmarkv1connect.NewAgentServiceClient(client, p.url)
	ctx, cancel := context.WithCancel(p.t.Context())
	stream, err := api.WatchAssignments(ctx, connect.NewRequest(&mintmarkv1.WatchAssignmentsRequest{}))
	if err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for stream.Receive() {
			_, _ = api.Report(ctx, connect.NewRequest(reportOf(stream.Msg().GetAssignment())))
		}
	}()
	p.t.Cleanup(func() {
		cancel()
		<-done
		client.CloseIdleConnections()
	})
}

func reportOf(a *mintmarkv1.Assignment) *mintmarkv1.ReportRequest {
	r := &mintmarkv1.ReportRequest{Version: a.GetVersion(), OldWorkersGone: true, Verified: true, Adapter: "nginx"}
	for _, k := range a.GetKeys() {
		r.Held = append(r.Held, &mintmarkv1.HeldKey{Owner: k.GetOwner(), Generation: k.GetGeneration()})
		if k.GetUse() == mintmarkv1.KeyUse_KEY_USE_ENCRYPT {
			r.MintingGenerations = append(r.MintingGenerations, k.GetGeneration())
		}
	}
	return r
}

// pool makes a pool of servers with these names.
func (p *plane) pool(name, kind string, servers ...*mintmarkv1.Server) {
	p.t.Helper()
	m := &mintmarkv1.Pool{Name: name, Scheme: &mintmarkv1.Scheme{Kind: kind}, Servers: servers}
	groups := make(map[string]bool)
	for _, s := range servers {
		if g := s.GetGroup(); g != "" && !groups[g] {
			groups[g] = true
			m.Groups = append(m.Groups, &mintmarkv1.Group{Name: g})
		}
	}
	if _, err := p.api.PutPool(p.t.Context(), connect.NewRequest(&mintmarkv1.PutPoolRequest{Pool: m})); err != nil {
		p.t.Fatal(err)
	}
}

// numbered are n servers.
func numbered(n int) []*mintmarkv1.Server {
	var all []*mintmarkv1.Server
	for i := range n {
		all = append(all, &mintmarkv1.Server{Name: fmt.Sprintf("s%04d", i), Address: fmt.Sprintf("10.1.%d.%d:443", i/250, i%250+1)})
	}
	return all
}

// A visitor is a browser without a screen: a client with cookies.
type visitor struct {
	t      testing.TB
	url    string
	client *http.Client
}

// visitor returns one who has not logged in.
func (p *plane) visitor() *visitor {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	v := &visitor{t: p.t, url: p.url, client: &http.Client{
		Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}, //nolint:gosec // the test's own server
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	p.t.Cleanup(v.client.CloseIdleConnections)
	return v
}

// person returns one who has logged in.
func (p *plane) person(role access.Role, name string) *visitor {
	p.t.Helper()
	v := p.visitor()
	if status, body := v.post("/login", url.Values{"token": {p.token(role, "", name)}}); status != http.StatusSeeOther {
		p.t.Fatalf("logging in: status %d: %s", status, body)
	}
	return v
}

func (v *visitor) do(method, path string, form url.Values, change ...func(*http.Request)) (*http.Response, string) {
	v.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, f := range change {
		f(r)
	}
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp, string(text)
}

func (v *visitor) get(path string) (int, string) {
	v.t.Helper()
	r, text := v.do(http.MethodGet, path, nil)
	return r.StatusCode, text
}

func (v *visitor) post(path string, form url.Values) (int, string) {
	v.t.Helper()
	r, text := v.do(http.MethodPost, path, form)
	return r.StatusCode, text
}

// furnish fills the plane with what a real one has after some weeks, and five
// minutes of traffic.
func (p *plane) furnish() {
	p.t.Helper()
	server := func(name, address, group string) *mintmarkv1.Server {
		return &mintmarkv1.Server{Name: name, Address: address, Group: group}
	}
	web := []*mintmarkv1.Server{
		server("a", "10.0.0.11:443", "rack1"), server("b", "10.0.0.12:443", "rack1"), server("c", "10.0.0.13:443", "rack2"),
		server("d", "10.0.0.14:443", "rack2"), server("e", "10.0.0.15:443", ""), server("f", "10.0.0.16:443", ""),
	}
	web[4].Share = new(uint32(2))
	p.pool("web", "ranges", web...)
	p.pool("api", "sealed", server("api-1", "10.0.1.21:8443", ""), server("api-2", "10.0.1.22:8443", ""), server("api-3", "10.0.1.23:8443", ""))
	for _, s := range web {
		p.agent("web", s.GetName())
	}
	for _, s := range []string{"api-1", "api-2"} {
		p.agent("api", s)
	}
	p.settled("web")
	if _, err := p.api.Rotate(p.t.Context(), connect.NewRequest(&mintmarkv1.RotateRequest{Pool: "web"})); err != nil {
		p.t.Fatal(err)
	}
	p.settled("web")
	if _, err := p.api.UpdateServer(p.t.Context(), connect.NewRequest(&mintmarkv1.UpdateServerRequest{Pool: "web", Server: "d", Draining: new(true)})); err != nil {
		p.t.Fatal(err)
	}
	p.trade(keepSamples)
}

// settled waits until all servers of a pool mint the newest generation.
func (p *plane) settled(pool string) {
	p.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		r, err := p.api.GetRollout(p.t.Context(), connect.NewRequest(&mintmarkv1.GetRolloutRequest{Pool: pool}))
		if err != nil {
			p.t.Fatal(err)
		}
		st := steps(r.Msg.GetRollout(), r.Msg.GetRollout().GetMintingGeneration())
		if st[2].State == "done" {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("pool %s does not settle: %v", pool, r.Msg)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// trade makes up n samples of traffic, the last of which the balancer repeats.
func (p *plane) trade(n int) {
	s := &Sample{Balancer: "lb1", Ready: true, Listeners: []ListenerSample{{Name: "web", Address: "tls 0.0.0.0:443", Active: 1834}, {Name: "api", Address: "tls 0.0.0.0:8443", Active: 212}}}
	s.Flows = []Flow{{Listener: "api", Pool: "api"}, {Listener: "web", Pool: "web"}}
	s.Pools = []PoolSample{{Name: "api"}, {Name: "web"}}
	names := []string{"a", "b", "c", "d", "e", "f"}
	for i, name := range names {
		s.Pools[1].Servers = append(s.Pools[1].Servers, ServerSample{
			Name: name, Up: true, Draining: name == "d", Weight: 1, Connections: int64(260 + 37*i), Layout: "name",
			Mints: fmt.Sprintf("2%x%02xc1f0aa317be2205d7f3b0041aa", i+2, 16*i), Offered: uint64(1200 + 30*i), Accepted: uint64(1180 + 30*i),
		})
	}
	for i := range 3 {
		s.Pools[0].Servers = append(s.Pools[0].Servers, ServerSample{Name: fmt.Sprintf("api-%d", i+1), Up: i != 2, Weight: 1, Connections: int64(70 * (3 - i) % 211), Offered: 300, Accepted: 297})
	}
	s.Pools[0].Servers[2].ProbeError = "no answer"
	began := time.Now().Add(-time.Duration(n) * sampleInterval)
	i := 0
	step := func(s *Sample) {
		i++
		madeUp(s, float64(i), float64(n))
	}
	for k := range n {
		step(s)
		p.ui.traffic.add(copyOf(s, began.Add(time.Duration(k)*sampleInterval)))
	}
	p.source.mu.Lock()
	defer p.source.mu.Unlock()
	p.source.sample, p.source.step = s, step
}

// madeUp adds what happens in one interval, the i-th of n.
func madeUp(s *Sample, i, n float64) {
	wave := 60 + 22*math.Sin(i/47) + 9*math.Sin(i/9)
	home := 0.35 + 0.62*min(1, i/(0.4*n))
	f := &s.Flows[1].By
	f[ByMint] += uint64(wave * 0.62 * home)
	f[ByGroup] += uint64(wave * 0.03)
	f[ByBalance] += uint64(wave * (0.97 - 0.62*home))
	s.Flows[0].By[ByMint] += uint64(14 + 6*math.Sin(i/30) + 2*math.Sin(i/5))
	s.Flows[0].By[ByBalance] += uint64(6 + 2*math.Sin(i/21))
	if int(i)%190 < 14 && i > n/3 {
		f[ByRefused] += 6
	}
	offered := uint64(wave * 0.62)
	s.Pools[1].Offered += offered
	s.Pools[1].Accepted += uint64(float64(offered) * home)
	s.Pools[1].ByChance += float64(offered) / 4
	s.Pools[0].Offered += 9
	s.Pools[0].Accepted += 9 - uint64(min(1, max(0, int(i)%40-38)))
	s.Pools[0].ByChance += 3
}
