package route

import (
	"testing"

	"github.com/mintmark/mintmark/idspace"
)

// TestTwoOwners holds the rule for several values of one source: one owner
// among them decides, two are refused, and values of different sources stand
// for themselves.
func TestTwoOwners(t *testing.T) {
	t.Parallel()
	table, err := idspace.Compile([]idspace.Rule{
		{Owner: "a", Bits: idspace.Prefix("a-")},
		{Owner: "b", Bits: idspace.Prefix("b-")},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPool(PoolConfig{
		Name: "app", Table: table, WhenOwnerDown: OwnerDownRefuse,
		Servers: []ServerConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cookie := func(source uint8, id string) Candidate {
		return Candidate{Field: idspace.FieldCookie, ID: []byte(id), Source: source}
	}
	for name, c := range map[string]struct {
		candidates []Candidate
		server     ServerName
		cause      Cause
	}{
		"one owner among three": {[]Candidate{cookie(1, "x"), cookie(1, "a-1"), cookie(1, "y")}, "a", CauseOwner},
		"one owner twice":       {[]Candidate{cookie(1, "a-1"), cookie(1, "a-2")}, "a", CauseOwner},
		"two owners":            {[]Candidate{cookie(1, "a-1"), cookie(1, "x"), cookie(1, "b-1")}, "", CauseTwoOwners},
		"of two sources":        {[]Candidate{cookie(1, "a-1"), cookie(2, "b-1")}, "a", CauseOwner},
		"second source only":    {[]Candidate{cookie(1, "x"), cookie(2, "b-1"), cookie(2, "")}, "b", CauseOwner},
		"without a source":      {[]Candidate{cookie(0, "a-1"), cookie(0, "b-1")}, "a", CauseOwner},
	} {
		d := p.Explain(c.candidates, &Facts{Precedence: PreferFirst})
		got := ServerName("")
		if d.Server != nil {
			got = d.Server.Config.Name
		}
		if got != c.server || d.Cause != c.cause {
			t.Errorf("%s: got server %q, cause %s; want %q, %s", name, got, d.Cause, c.server, c.cause)
		}
	}
	p.Server("a").State.Up.Store(false)
	d := p.Explain([]Candidate{cookie(1, "a-1"), cookie(2, "b-1")}, &Facts{Precedence: PreferFirst})
	if d.Server != nil || d.Cause != CauseOwnerDown {
		t.Errorf("the first owner is down: got %+v; want it to decide all the same", d)
	}
	if p.Assigned([]Candidate{cookie(1, "x"), cookie(1, "")}) || !p.Assigned([]Candidate{cookie(1, "x"), cookie(2, "b-1")}) {
		t.Error("Assigned is wrong")
	}
}

func TestPoolForHTTP(t *testing.T) {
	t.Parallel()
	pool := func(name PoolName) *Pool { return &Pool{Config: PoolConfig{Name: name}} }
	l := &Listener{Pool: pool("rest"), HTTPRoutes: []HTTPRoute{
		{Host: "api.shop.example", Path: "/v1", Pool: pool("v1")},
		{Host: "*.shop.example", Pool: pool("shop")},
		{Host: "[2001:db8::1]", Pool: pool("six")},
		{Path: "/static/", Pool: pool("static")},
	}}
	for _, c := range []struct {
		host, path string
		want       PoolName
	}{
		{"api.shop.example", "/v1", "v1"},
		{"API.Shop.Example.:443", "/v1/x", "v1"},
		{"api.shop.example", "/v11", "shop"},
		{"api.shop.example", "/V1", "shop"},
		{"a.b.shop.example", "/", "shop"},
		{"shop.example", "/", "rest"},
		{".shop.example", "/", "rest"},
		{"xshop.example", "/", "rest"},
		{"[2001:db8::1]:80", "/", "six"},
		{"[2001:DB8::1]", "/", "six"},
		{"", "/static", "static"},
		{"other", "/static/x", "static"},
		{"other", "/statics", "rest"},
		{"other", "", "rest"},
	} {
		if got := l.PoolForHTTP(c.host, c.path).Config.Name; got != c.want {
			t.Errorf("%s%s goes to %s; want %s", c.host, c.path, got, c.want)
		}
	}
}

func TestPoolForHTTPDoesNotAllocate(t *testing.T) {
	l := &Listener{HTTPRoutes: []HTTPRoute{{Host: "*.shop.example", Path: "/cart"}, {Path: "/static"}}}
	if n := testing.AllocsPerRun(100, func() { l.PoolForHTTP("A.B.shop.example.:443", "/static/x") }); n != 0 {
		t.Errorf("choosing a pool allocates %v times; want 0", n)
	}
}

func TestDotSegments(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/": false, "/a/b": false, "/a..b/.c/d.": false, "/...": false,
		"/.": true, "/..": true, "/a/./b": true, "/a/../b": true, "..": true, `/a/..\b`: true, `\..`: true,
	} {
		if got := DotSegments(path); got != want {
			t.Errorf("DotSegments(%q) = %v; want %v", path, got, want)
		}
	}
}
