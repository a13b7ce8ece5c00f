package webui

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/control/access"
)

// filled is a path of a route, with something that exists in each place.
func filled(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	r := strings.NewReplacer("{$}", "", "{pool}", "web", "{server}", "a", "{action}", "drain", "{revision}", "1", "{page}", "overview")
	return method, r.Replace(path)
}

// form has all fields that any form sends.
func form() url.Values {
	return url.Values{
		"apply": {"1"}, "accept": {"1"}, "name": {"x"}, "kind": {"sealed"}, "servers": {"a 10.9.9.9:1"}, "server": {"z 10.9.9.9:1"}, "weight": {"7"},
		"role": {"admin"}, "person": {"root"}, "cost": {"x"}, "value": {"4d4d0001"}, "where": {"pool:web"},
	}
}

// everything is all that somebody could have changed.
func everything(t *testing.T, p *plane) string {
	t.Helper()
	st, err := p.api.ListPools(t.Context(), connect.NewRequest(&mintmarkv1.ListPoolsRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	members, err := p.api.ListMembers(t.Context(), connect.NewRequest(&mintmarkv1.ListMembersRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	log, err := p.api.ListAudit(t.Context(), connect.NewRequest(&mintmarkv1.ListAuditRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	var people []string
	for _, person := range members.Msg.GetPeople() {
		people = append(people, person.String())
	}
	var pools []string
	for _, pool := range st.Msg.GetPools() {
		pools = append(pools, pool.String())
	}
	return strings.Join(pools, "\n") + strings.Join(people, "\n") + log.Msg.String()
}

// A viewer may look at every page and change nothing, whichever route is tried;
// a stranger may not even look.
func TestViewerChangesNothing(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.pool("web", "ranges", numbered(3)...)
	p.pool("x2", "ranges", &mintmarkv1.Server{Name: "a", Address: "10.0.0.1:1"})
	viewer, stranger := p.person(access.RoleViewer, "eve"), p.visitor()
	before := everything(t, p)
	mutating := 0
	for _, rt := range p.ui.routes() {
		method, path := filled(rt.pattern)
		path = strings.Replace(path, "/servers/web/a", "/servers/web/s0000", 1)
		if status, _ := stranger.do(method, path, form()); status.StatusCode != http.StatusUnauthorized {
			t.Errorf("a stranger at %s %s: status %d; want 401", method, path, status.StatusCode)
		}
		switch {
		case rt.admin:
			mutating++
			if r, body := viewer.do(method, path, form()); r.StatusCode != http.StatusForbidden || !strings.Contains(body, "Only an admin") {
				t.Errorf("a viewer at %s %s: status %d; want 403", method, path, r.StatusCode)
			}
		case method == http.MethodGet && !strings.HasPrefix(path, "/live/"):
			if status, _ := viewer.get(path); status != http.StatusOK && status != http.StatusSeeOther {
				t.Errorf("a viewer at GET %s: status %d", path, status)
			}
		}
		if method == http.MethodPost && !rt.admin && path != "/explain" && path != "/account" && path != "/logout" {
			t.Errorf("%s is not kept to admins", rt.pattern)
		}
	}
	if mutating < 15 {
		t.Errorf("only %d routes were tried", mutating)
	}
	if after := everything(t, p); after != before {
		t.Errorf("something was changed: before\n%s\nafter\n%s", before, after)
	}
	// Behind the pages the API holds the same, should a page forget to.
	api := p.server.Client(access.Identity{Role: access.RoleViewer, Name: "eve"})
	if _, err := api.Rotate(t.Context(), connect.NewRequest(&mintmarkv1.RotateRequest{Pool: "web"})); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a viewer rotates by the API: %v", err)
	}
}

// A POST that a page of another site makes the browser of an admin send is
// refused, and so is one by a page of another port.
func TestCrossSitePostIsRefused(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.pool("web", "ranges", numbered(3)...)
	admin := p.person(access.RoleAdmin, "ada")
	before := everything(t, p)
	for _, rt := range p.ui.routes() {
		method, path := filled(rt.pattern)
		if method != http.MethodPost {
			continue
		}
		for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "https://127.0.0.1:1"}, {"Origin", "null"}} {
			r, _ := admin.do(method, path, form(), func(r *http.Request) { r.Header.Set(header[0], header[1]) })
			if r.StatusCode != http.StatusForbidden {
				t.Errorf("%s with %v: status %d; want 403", path, header, r.StatusCode)
			}
		}
	}
	if after := everything(t, p); after != before {
		t.Errorf("something was changed: before\n%s\nafter\n%s", before, after)
	}
	resp, _ := admin.do(http.MethodGet, "/", nil)
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("the policy is %q", csp)
	}
}

// Names and IDs that try to be markup are shown as what they are.
func TestInjectedNamesAreText(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	admin := p.person(access.RoleAdmin, `<script>alert(1)</script>`)
	p.pool("web", "ranges", numbered(2)...)
	const evil = `"><img src=x onerror=alert(1)>`
	s := &Sample{
		Balancer: evil, Reason: evil, Listeners: []ListenerSample{{Name: evil, Address: evil}}, Flows: []Flow{{Listener: evil, Pool: "web"}},
		Waiting: []WaitingListener{{evil, evil}}, Pools: []PoolSample{{Name: "web", Alarms: []string{evil}, Servers: []ServerSample{{
			Name: "s0000", Mints: evil, ProbeError: evil, ForeignMints: 1, LastForeign: evil, Layout: evil,
		}}}},
	}
	p.source.set(s)
	p.ui.traffic.add(s)
	q := url.QueryEscape(evil)
	for _, path := range []string{
		"/", "/servers?q=" + q, "/spaces/web?owner=" + q, "/spaces/web?q=" + q, "/pools/new?name=" + q + "&servers=" + q + "&lifetime=" + q, "/people",
		"/log", "/explain?where=" + q + "&field=" + q, "/servers/web/s0000", "/servers/web/" + url.PathEscape(evil), "/pools/" + url.PathEscape(evil),
		"/pools/web/add?server=" + q, "/pools/web/advance?kind=" + q + "&name=" + q, "/" + q, "/login?with=" + q, "/account",
	} {
		_, body := admin.get(path)
		if !strings.Contains(body, "<title>") {
			t.Errorf("%s is no page: %s", path, body)
		}
		if strings.Contains(body, "<img src=x") || strings.Contains(body, "<script>alert") {
			t.Errorf("%s holds the markup: %s", path, body)
		}
	}
	for path, form := range map[string]url.Values{
		"/explain":           {"value": {evil}, "where": {evil}},
		"/pools/new":         {"name": {evil}, "servers": {"x " + evil}, "kind": {evil}},
		"/pools/web/add":     {"server": {"y " + evil}},
		"/people/token":      {"role": {"viewer"}, "name": {evil}},
		"/login":             {"name": {evil}, "password": {evil}, "back": {evil}},
		"/pools/web/advance": {"kind": {evil}, "name": {evil}, "accept": {"1"}},
	} {
		_, body := admin.post(path, form)
		if strings.Contains(body, "<img src=x") {
			t.Errorf("%s holds the markup: %s", path, body)
		}
	}
}

// Whoever guesses is slowed down; who had the wrong password once is not shut
// out; and a session ends when it is told to.
func TestLoggingIn(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	v := p.person(access.RoleAdmin, "ada")
	if status, _ := v.post("/account", url.Values{"password": {"a good long password"}, "again": {"another one, not this"}}); status != http.StatusUnprocessableEntity {
		t.Errorf("two passwords that differ: status %d", status)
	}
	if status, _ := v.post("/account", url.Values{"password": {"a good long password"}, "again": {"a good long password"}}); status != http.StatusSeeOther {
		t.Errorf("a password: status %d", status)
	}
	if status, _ := v.post("/logout", url.Values{}); status != http.StatusSeeOther {
		t.Errorf("logging out: status %d", status)
	}
	if status, body := v.get("/"); status != http.StatusUnauthorized || !strings.Contains(body, "Log in") {
		t.Errorf("after logging out: status %d", status)
	}
	r, _ := v.do(http.MethodPost, "/login", url.Values{"name": {"ada"}, "password": {"a good long password"}, "back": {"//evil.example/"}})
	if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/" {
		t.Errorf("with the password: status %d, to %q", r.StatusCode, r.Header.Get("Location"))
	}
	for _, c := range r.Cookies() {
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("the cookie is %v", c)
		}
	}
	now := time.Now() // stands still: time gives attempts back
	p.ui.limiter.mu.Lock()
	p.ui.limiter.now = func() time.Time { return now }
	p.ui.limiter.mu.Unlock()
	refused := 0
	for range attemptsPerPeer + 2 {
		status, body := p.visitor().post("/login", url.Values{"token": {"mm1.admin.guess.guess"}})
		if status == http.StatusTooManyRequests && strings.Contains(body, "Wait") {
			refused++
		} else if status != http.StatusUnauthorized {
			t.Errorf("a guess: status %d", status)
		}
	}
	if refused != 2 {
		t.Errorf("%d guesses were slowed down; want 2", refused)
	}
}

func TestLimiterForgives(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := newLimiter(func() time.Time { return now })
	for i := range attemptsPerPeer {
		if l.attempt("a") != 0 {
			t.Fatalf("attempt %d is refused", i)
		}
	}
	if l.attempt("a") == 0 || l.attempt("b") != 0 {
		t.Error("one address is not kept apart from another")
	}
	now = now.Add(attemptsRefill)
	if l.attempt("a") != 0 || l.attempt("a") == 0 {
		t.Error("time does not give back one attempt")
	}
}
