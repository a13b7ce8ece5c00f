package l7_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/l7"
	"github.com/mintmark/mintmark/internal/route"
)

// TestEachPlaceRoutes sends an ID of each server in each place, over HTTP/1.1
// and HTTP/2, on one connection.
func TestEachPlaceRoutes(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		r := newRig(t, rigConfig{ids: everyID(t), h2: h2}, echo("a"), echo("b"), echo("c"))
		for range 2 {
			for _, s := range []string{"c", "a", "b"} {
				id := s + "-77"
				for name, req := range map[string]*http.Request{
					"cookie":      r.request("GET", "/", "", "Cookie: x=1; JSESSIONID=0A1B."+id+"; y=2"),
					"two cookies": r.request("GET", "/", "", "Cookie: JSESSIONID=0A1B.nobody; JSESSIONID=0A1B."+id),
					"header":      r.request("GET", "/", "", "Mcp-Session-Id: "+id),
					"query":       r.request("GET", "/?a=b&sid="+id, ""),
					"path":        r.request("PATCH", "/whip/"+id+"/ice", ""),
					"json":        r.request("POST", "/", `{"input":["x"],"previous_response_id":"`+id+`"}`, "Content-Type: application/json"),
				} {
					if got := r.do(req); got.server != s || got.status != 200 {
						t.Errorf("HTTP/2 %v: %s %s went to server %q with status %d", h2, name, id, got.server, got.status)
					}
				}
			}
		}
	}
}

// TestFirstOwnedValueWins holds the order of places: the first value with an
// owner, alive or not, and no body is read for a later one.
func TestFirstOwnedValueWins(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{ids: everyID(t)}, echo("a"), echo("b"))
	if got := r.get("/?sid=a-1", "Cookie: JSESSIONID=x.b-1"); got.server != "b" {
		t.Errorf("a cookie of b before a query of a went to %q", got.server)
	}
	if got := r.get("/?sid=a-1", "Cookie: JSESSIONID=x.nobody"); got.server != "a" {
		t.Errorf("a cookie of nobody before a query of a went to %q", got.server)
	}
	long := r.request("POST", "/?sid=a-1", `{"x":"`+strings.Repeat("y", 100<<10)+`"}`, "Content-Type: application/json")
	if got := r.do(long); got.server != "a" {
		t.Errorf("a long body with an ID in the query: status %d", got.status)
	}
	r.server("b").State.Up.Store(false)
	if got := r.get("/?sid=a-1", "Cookie: JSESSIONID=x.b-1"); got.server != "a" {
		t.Errorf("a cookie of b, which is down: server %q", got.server)
	}
	r.logged("cause=owner_down")
}

// TestAmbiguousRequestsAreRefused sends what two readers could understand in
// two ways.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{ids: everyID(t)}, echo("a"), echo("b"))
	for name, c := range map[string]struct {
		req   *http.Request
		cause route.Cause
	}{
		"cookies of two owners": {r.request("GET", "/", "", "Cookie: JSESSIONID=x.a-1; JSESSIONID=x.b-1"), route.CauseTwoOwners},
		"queries of two owners": {r.request("GET", "/?sid=a-1&sid=b-1", ""), route.CauseTwoOwners},
		"a header twice":        {r.request("GET", "/", "", "Mcp-Session-Id: a-1", "Mcp-Session-Id: a-2"), l7.CauseConflictingIDs},
		"a JSON key twice":      {r.request("POST", "/", `{"previous_response_id":"a-1","previous_response_id":"b-1"}`), l7.CauseConflictingIDs},
		"many cookies":          {r.request("GET", "/", "", "Cookie: "+strings.Repeat("JSESSIONID=x.y; ", 20)), l7.CauseTooManyIDs},
		"an ID that ends here":  {r.request("GET", "/", "", "Mcp-Session-Id: a-1", "Connection: mcp-session-id"), l7.CauseHopByHopID},
		"dots in the path":      {r.request("GET", "/whip/a-1/../b-1", ""), l7.CauseBadPath},
		"coded dots":            {r.request("GET", "/whip/a-1/%2e%2E/b-1", ""), l7.CauseBadPath},
	} {
		before := len(r.log.String())
		if got := r.do(c.req); got.status != http.StatusBadRequest {
			t.Errorf("%s: status %d from server %q; want 400", name, got.status, got.server)
		}
		eventually(t, "a line is logged", func() bool { return strings.HasSuffix(r.log.String()[before:], "\n") })
		line := r.log.String()[before:]
		if !strings.Contains(line, "cause="+string(c.cause)+" ") || !strings.Contains(line, "routed_by=refused") {
			t.Errorf("%s: the log says %q; want cause %s", name, line, c.cause)
		}
	}
	same := r.request("GET", "/", "", "Mcp-Session-Id: b-1", "Mcp-Session-Id: b-1")
	if got := r.do(same); got.server != "b" {
		t.Errorf("a header twice with one value: status %d, server %q", got.status, got.server)
	}
}

// TestRoutesByHostAndPath sends requests to pools by host and path, whatever
// their IDs say: an ID never leads out of the pool.
func TestRoutesByHostAndPath(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{ids: everyID(t)}, echo("a"), echo("b"))
	other := newRig(t, rigConfig{}, echo("z"))
	shop := other.snapshot.Pools["app"]
	s := r.base
	s.Listener = &route.Listener{Name: "api", Pool: r.base.Listener.Pool, HTTPRoutes: []route.HTTPRoute{
		{Host: "*.shop.example", Path: "/cart", Pool: shop},
		{Path: "/static", Pool: shop},
	}}
	r.proxy.Update(&s)
	for _, c := range []struct{ host, path, want string }{
		{"www.shop.example", "/cart/1", "z"},
		{"WWW.Shop.Example.:8080", "/cart", "z"},
		{"www.shop.example", "/cartoon", "b"},
		{"shop.example", "/cart", "b"},
		{"any", "/static/x", "z"},
		{"any", "/static", "z"},
		{"any", "/Static", "b"},
	} {
		req := r.request("GET", c.path, "", "Mcp-Session-Id: b-1")
		req.Host = c.host
		if got := r.do(req); got.server != c.want {
			t.Errorf("%s%s went to %q with status %d; want %q", c.host, c.path, got.server, got.status, c.want)
		}
	}
	s.Listener.Pool = nil
	none := s
	none.Listener = &route.Listener{Name: "api", HTTPRoutes: s.Listener.HTTPRoutes}
	r.proxy.Update(&none)
	if got := r.get("/x", "Mcp-Session-Id: b-1"); got.status != http.StatusNotFound {
		t.Errorf("no route: status %d; want 404", got.status)
	}
}
