package route

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func pools(names ...string) map[string]*Pool {
	m := make(map[string]*Pool)
	for _, n := range names {
		m[n] = &Pool{Config: PoolConfig{Name: PoolName(n)}}
	}
	return m
}

func TestPoolFor(t *testing.T) {
	t.Parallel()
	p := pools("exact", "wild", "late", "deep", "rest")
	routes := []SNIRoute{
		{Pattern: "www.shop.example", Pool: p["exact"]},
		{Pattern: "*.Shop.example.", Pool: p["wild"]},
		{Pattern: "api.shop.example", Pool: p["late"]}, // never: the route before it takes the name
		{Pattern: "*.deep.shop.example", Pool: p["late"]},
		{Pattern: "*.Tools.example", Pool: p["deep"]},
		{Pattern: "Tools.example", Pool: p["late"]},
	}
	many := append([]SNIRoute(nil), routes...)
	for i := range 20 {
		many = append(many, SNIRoute{Pattern: fmt.Sprintf("n%d.filler.example", i), Pool: p["late"]})
	}
	for _, c := range []struct{ name, sni, want string }{
		{"exact", "www.shop.example", "exact"},
		{"case of the name", "WWW.Shop.EXAMPLE", "exact"},
		{"dot at the end", "www.shop.example.", "exact"},
		{"one label under a wildcard", "static.shop.example", "wild"},
		{"several labels under a wildcard", "a.b.c.shop.example", "wild"},
		{"the first route wins", "api.shop.example", "wild"},
		{"even over a longer wildcard", "x.deep.shop.example", "wild"},
		{"case of the pattern", "x.tools.example", "deep"},
		{"a wildcard is not its own rest", "tools.example", "late"},
		{"another wildcard neither", "shop.example", "rest"},
		{"no label before the dot", ".shop.example", "rest"},
		{"the rest is whole labels", "myshop.example", "rest"},
		{"no name", "", "rest"},
		{"only a dot", ".", "rest"},
		{"a longer name", "www.shop.example.org", "rest"},
		{"not a host name", "www.shop.example\x00", "rest"},
		{"too long a name", strings.Repeat("a.", 200) + "shop.example", "rest"},
	} {
		for _, r := range [][]SNIRoute{routes, many} {
			l, err := NewListener("web", r, p["rest"])
			if err != nil {
				t.Fatal(err)
			}
			if got := l.PoolFor([]byte(c.sni)); got != p[c.want] {
				t.Errorf("%s: PoolFor(%q) with %d routes: got pool %q; want %q", c.name, c.sni, len(r), got.Config.Name, c.want)
			}
			literal := &Listener{Routes: r, Pool: p["rest"]}
			if got := literal.PoolFor([]byte(c.sni)); got != p[c.want] {
				t.Errorf("%s: PoolFor(%q) without NewListener: got pool %q; want %q", c.name, c.sni, got.Config.Name, c.want)
			}
		}
	}
	if got := (&Listener{Routes: routes}).PoolFor([]byte("elsewhere.example")); got != nil {
		t.Errorf("PoolFor without a pool for the rest: got %q; want nil", got.Config.Name)
	}
}

func TestCheckSNIPattern(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "shop.example", "*.shop.example", "SHOP.example.", "_dns.x", "xn--bcher-kva.example", "*.example"} {
		if err := CheckSNIPattern(good); err != nil {
			t.Errorf("CheckSNIPattern(%q): got %v; want none", good, err)
		}
	}
	for bad, says := range map[string]string{
		"":                             "write a host name",
		".":                            "write a host name",
		"*":                            "the listener's own pool",
		"*.":                           "the listener's own pool",
		"a..example":                   "empty label",
		"*..example":                   "empty label",
		"www*.example":                 "whole first label",
		"a.*.example":                  "whole first label",
		"**.example":                   "whole first label",
		"bücher.example":               "xn--",
		"a b":                          "no host name has",
		"a.example:443":                "no host name has",
		strings.Repeat("a.", 127) + "": "",
		strings.Repeat("a", 254):       "longer than any",
	} {
		err := CheckSNIPattern(bad)
		if says == "" {
			if err != nil {
				t.Errorf("CheckSNIPattern(%q): got %v; want none", bad, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("CheckSNIPattern(%q): got %v; want an error with %q", bad, err, says)
		}
		if _, err := NewListener("web", []SNIRoute{{Pattern: bad}}, nil); err == nil {
			t.Errorf("NewListener with pattern %q: got no error", bad)
		}
	}
}

// The index answers as a walk over the routes in their order does.
func TestPoolForIndexIsTheWalk(t *testing.T) {
	t.Parallel()
	label := rapid.SampledFrom([]string{"a", "b", "A", "c"})
	name := rapid.Custom(func(t *rapid.T) string {
		n := strings.Join(rapid.SliceOfN(label, 1, 4).Draw(t, "labels"), ".")
		return n + rapid.SampledFrom([]string{"", "", "."}).Draw(t, "end")
	})
	pattern := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "*."}).Draw(t, "kind") + name.Draw(t, "name")
	})
	rapid.Check(t, func(t *rapid.T) {
		var routes []SNIRoute
		for _, p := range rapid.SliceOfN(pattern, indexed, 30).Draw(t, "patterns") {
			routes = append(routes, SNIRoute{Pattern: p})
		}
		l, err := NewListener("web", routes, nil)
		if err != nil {
			t.Fatal(err)
		}
		if l.exact == nil {
			t.Fatalf("%d routes have no index", len(routes))
		}
		sni := rapid.OneOf(name, rapid.StringOfN(rapid.RuneFrom([]rune("abA.")), 0, 9, -1)).Draw(t, "sni")
		walk := (&Listener{Routes: routes}).routeFor([]byte(sni))
		if got := l.routeFor([]byte(sni)); got != walk {
			t.Fatalf("routeFor(%q): got route %d by index; want %d by walking", sni, got, walk)
		}
	})
}

func manyRoutes(n int) []SNIRoute {
	var routes []SNIRoute
	for i := range n {
		routes = append(routes, SNIRoute{Pattern: fmt.Sprintf("*.shop%d.example", i)})
	}
	return routes
}

func TestPoolForDoesNotAllocate(t *testing.T) {
	for _, n := range []int{indexed - 1, 100} {
		l, err := NewListener("web", manyRoutes(n), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, sni := range []string{"www.Shop5.example", "nobody.example", ""} {
			b := []byte(sni)
			if got := testing.AllocsPerRun(100, func() { l.PoolFor(b) }); got != 0 {
				t.Errorf("PoolFor(%q) with %d routes: got %v allocations; want 0", sni, n, got)
			}
		}
	}
}

func BenchmarkPoolFor(b *testing.B) {
	for _, n := range []int{1, 7, 8, 10000} {
		l, err := NewListener("web", manyRoutes(n), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sni := []byte("www.static.shop0.example")
			b.ReportAllocs()
			for b.Loop() {
				l.PoolFor(sni)
			}
		})
	}
	b.Run("hostile", func(b *testing.B) {
		l, err := NewListener("web", manyRoutes(10000), nil)
		if err != nil {
			b.Fatal(err)
		}
		sni := []byte(strings.Repeat("a.", 126) + "a")
		b.ReportAllocs()
		for b.Loop() {
			l.PoolFor(sni)
		}
	})
}
