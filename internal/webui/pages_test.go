package webui

import (
	"crypto/tls"
	"encoding/hex"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/explain"
	routing "github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/test/lab"
)

// hello returns what a TLS client sends first.
func hello(t *testing.T) []byte {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { _ = server.Close() })
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(client, &tls.Config{ServerName: "www.example.com", MinVersion: tls.VersionTLS13}).HandshakeContext(t.Context())
	}()
	b := make([]byte, 1<<16)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	<-done
	return b[:n]
}

func TestExplainPage(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.pool("web", "ranges", numbered(2)...)
	lab.Eventually(t, 30*time.Second, "the pool has a plan", func() bool {
		st, err := p.ui.status.get(t.Context())
		return err == nil && len(st.GetRollouts()) > 0
	})
	v := p.person(access.RoleViewer, "eve")
	for name, c := range map[string]struct {
		value, field string
		status       int
		want         string
	}{
		"an ID of the first":     {"00c0ffee" + strings.Repeat("5a", 40), "", 200, "It belongs to <strong>s0000</strong>"},
		"an ID of nobody":        {"fec0ffee" + strings.Repeat("5a", 40), "psk", 200, "It belongs to nobody"},
		"in base64":              {"AMD/7lpaWlpaWlpa", "ticket", 200, "It belongs to <strong>s0000</strong>"},
		"a connection ID":        {"00c0ffee00c0ffee", "cid_short", 200, "A connection ID"},
		"a hello":                {hex.EncodeToString(hello(t)), "", 200, "A TLS ClientHello"},
		"a hello that is cut":    {hex.EncodeToString(hello(t)[:80]), "", 422, "ends before its end"},
		"neither hex nor base64": {"not an id!", "", 422, "neither hexadecimal nor base64"},
		"nothing":                {" ", "", 422, "is empty"},
		"a field that is none":   {"00", "nothing", 422, "no such field"},
	} {
		status, body := v.post("/explain", url.Values{"value": {c.value}, "field": {c.field}, "where": {"pool:web"}})
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: status %d; want %d and %q in\n%s", name, status, c.status, c.want, body)
		}
	}
	if status, _ := v.post("/explain", url.Values{"value": {"00"}, "where": {"pool:none"}}); status != http.StatusNotFound {
		t.Errorf("a pool that is not there: status %d", status)
	}
}

// A datagram is read by the listener that it comes to, whose pool may
// have been removed meanwhile.
func TestExplainDatagram(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.source.read = func(string) (*explain.Message, error) {
		return &explain.Message{
			Datagram:   &explain.Datagram{Whole: true},
			Candidates: []routing.Candidate{{Field: idspace.FieldCIDShort, ID: []byte("\x27\xc4\x60\x5e1234")}},
		}, nil
	}
	v := p.person(access.RoleViewer, "eve")
	status, body := v.post("/explain", url.Values{"value": {"4027c4605e31323334"}, "where": {"listener:h3"}})
	for _, want := range []string{"A datagram with 1 ID", "It goes to <strong>a</strong>"} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("status %d; want %q in\n%s", status, want, body)
		}
	}
}

// Going back to an earlier state shows the plan first, and is a new generation.
func TestGoingBack(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	admin := p.person(access.RoleAdmin, "ada")
	p.pool("web", "ranges", numbered(2)...)
	pool := func() *mintmarkv1.Pool {
		r, err := p.api.ListPools(t.Context(), connect.NewRequest(&mintmarkv1.ListPoolsRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		return r.Msg.GetPools()[0]
	}
	for _, s := range []string{"s0000", "s0001"} {
		p.agent("web", s)
	}
	p.settled("web")
	if status, body := admin.post("/servers/web/s0001/remove", url.Values{}); status != http.StatusSeeOther {
		t.Fatalf("removing: status %d: %s", status, body)
	}
	_, log := admin.get("/log")
	_, rest, _ := strings.Cut(log, `href="/pools/web/restore/`)
	revision, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("the log has no way back:\n%s", log)
	}
	path := "/pools/web/restore/" + revision
	status, body := admin.get(path)
	if status != http.StatusOK || !strings.Contains(body, "s0000, s0001") || !strings.Contains(body, "+ new") {
		t.Errorf("before going back: status %d:\n%s", status, body)
	}
	if n := len(pool().GetServers()); n != 1 {
		t.Errorf("looking has changed the pool: it has %d servers", n)
	}
	if status, body := admin.post(path, url.Values{"from": {"1"}}); status != http.StatusConflict {
		t.Errorf("from a state that is long gone: status %d:\n%s", status, body)
	}
	if status, body := admin.post(path, url.Values{}); status != http.StatusSeeOther {
		t.Fatalf("going back: status %d:\n%s", status, body)
	}
	if n := len(pool().GetServers()); n != 2 {
		t.Errorf("after going back the pool has %d servers", n)
	}
	r, err := p.api.GetRollout(t.Context(), connect.NewRequest(&mintmarkv1.GetRolloutRequest{Pool: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	newest := uint32(0)
	for _, sp := range r.Msg.GetRollout().GetSpaces() {
		newest = max(newest, sp.GetGeneration())
	}
	if newest == 0 {
		t.Error("going back opened no generation")
	}
}

// Somebody who uses no mouse gets from one space to the next, and reads its rule.
func TestSpacesByKeyboard(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.pool("web", "ranges", numbered(4)...)
	b := lab.StartBrowser(t, p.url)
	b.Open("/")
	b.Fill("#token", p.token(access.RoleAdmin, "", "ada"))
	b.Press("Log in")
	b.Open("/spaces/web")
	lab.Eval[bool](b, "document.querySelector('svg.space [tabindex=\"0\"]').focus(); true")
	for i, key := range []string{"", "ArrowRight", "ArrowRight", "Home", "End", "ArrowLeft"} {
		if key != "" {
			lab.Eval[bool](b, "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: '"+key+"', bubbles: true})); true")
		}
		want := []string{"s0000: range", "s0001: range", "s0002: range", "s0000: range", "reserve: range", "s0003: range"}[i]
		if got := b.TextOf(".detail"); !strings.HasPrefix(got, want) {
			t.Errorf("after %q: %q; want %q", key, got, want)
		}
	}
	lab.Eval[bool](b, "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true})); true")
	lab.Eventually(t, 30*time.Second, "the picture shows s0003", func() bool {
		return lab.Eval[string](b, "location.search") == "?owner=s0003"
	})
	if out := lab.Eval[[]string](b, "performance.getEntriesByType('resource').map((r) => r.name).filter((n) => !n.startsWith(location.origin))"); len(out) > 0 {
		t.Errorf("the page asks other hosts: %v", out)
	}
}

func TestAlarms(t *testing.T) {
	t.Parallel()
	now := time.Now()
	st := &mintmarkv1.GetStatusResponse{
		Alarms: []string{"server web/a: nginx -t failed"},
		Pools:  []*mintmarkv1.Pool{{Name: "web", Scheme: &mintmarkv1.Scheme{Kind: "ranges"}, Servers: []*mintmarkv1.Server{{Name: "a"}, {Name: "b"}}}},
		Agents: []*mintmarkv1.Agent{{Pool: "web", Server: "a", Connected: true}},
		Rollouts: []*mintmarkv1.Rollout{{
			Pool: "web", MintingGeneration: 1,
			Waits: []*mintmarkv1.Wait{{Kind: "balancer", Name: "lb2", Reason: "has not acknowledged"}, {Kind: "sessions", Name: "0", Reason: "sessions may be left"}},
			Spaces: []*mintmarkv1.Space{
				{Owner: "a", Generation: 1, ShareApproximate: 0.12}, {Generation: 1, ShareApproximate: 0.005}, {Generation: 0, ShareApproximate: 0.125},
			},
		}},
	}
	s := &Sample{
		Pools:   []PoolSample{{Name: "web", Alarms: []string{"name 4d4d of servers a, b: not shared"}, Servers: []ServerSample{{Name: "a", ForeignMints: 3, LastForeign: "4d4d0001, which is of b"}}}},
		Waiting: []WaitingListener{{"api", "api"}},
	}
	var got []string
	for _, a := range alarms(st, s, now) {
		got = append(got, a.Level+": "+a.Title)
	}
	want := []string{
		"bad: A server needs help", "bad: Server web/a mints foreign IDs", "bad: A name that cannot be trusted in pool web",
		"warn: The rollout of web is held up by balancer lb2", "warn: The reserve of web runs out", "warn: 1 server of web without a routable mark",
		"warn: Listener api waits for pool api",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// An admin lets somebody in by a token, and takes that back: the session ends.
func TestPeople(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	admin := p.person(access.RoleAdmin, "ada")
	_, body := admin.post("/people/token", url.Values{"role": {"viewer"}, "name": {"eve"}})
	i := strings.Index(body, "mm1.viewer.")
	if i < 0 {
		t.Fatalf("the page has no token:\n%s", body)
	}
	token := body[i : i+strings.IndexAny(body[i:], "<\" ")]
	eve := p.visitor()
	if status, body := eve.post("/login", url.Values{"token": {token}}); status != http.StatusSeeOther {
		t.Fatalf("eve logs in: status %d: %s", status, body)
	}
	if _, body := admin.get("/people"); !strings.Contains(body, "Remove eve") || strings.Contains(body, "Remove ada") {
		t.Errorf("the people are\n%s", body)
	}
	if status, _ := admin.post("/people/remove", url.Values{"person": {"ada"}}); status != http.StatusUnprocessableEntity {
		t.Errorf("an admin removes himself: status %d", status)
	}
	if status, body := admin.post("/people/remove", url.Values{"person": {"eve"}}); status != http.StatusSeeOther {
		t.Errorf("removing eve: status %d: %s", status, body)
	}
	if status, _ := eve.get("/"); status != http.StatusUnauthorized {
		t.Errorf("after that eve still looks: status %d", status)
	}
}
