package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/route"
)

// FuzzParse holds what must be so of any file: it is read in bounded time, and
// either every problem says where it is and what to write instead, or the
// balancer can be built from it.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		if len(data) > 64<<10 {
			return // what is large is slow, not different
		}
		start := time.Now()
		cfg, err := config.Parse("x.yaml", []byte(data), config.Options{})
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%d bytes took %v", len(data), d)
		}
		if err != nil {
			checkProblems(t, data, err)
			return
		}
		buildAll(t, cfg)
	})
}

func checkProblems(t *testing.T, data string, err error) {
	t.Helper()
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || len(problems) == 0 {
		t.Fatalf("got %T %v; want Problems", err, err)
	}
	lines := strings.Count(data, "\n") + strings.Count(data, "\r") + 1
	if len(problems) > config.MaxProblems+1 {
		t.Errorf("got %d problems", len(problems))
	}
	for _, p := range problems {
		if p.Line < 1 || p.Line > lines {
			t.Errorf("line %d of a file of %d lines: %s", p.Line, lines, p)
		}
		if strings.HasPrefix(p.Reason, "makes the YAML parser fail") {
			t.Errorf("%s", p)
		}
		if p.Reason == "" || p.Remedy == "" || p.File != "x.yaml" {
			t.Errorf("incomplete: %+v", p)
		}
		if s := p.String(); len(s) > 2000 || strings.ContainsFunc(s, unicode.IsControl) {
			t.Errorf("not a readable line: %q", s)
		}
	}
}

// buildAll checks that what config accepts, package route accepts.
func buildAll(t *testing.T, cfg *config.Config) {
	t.Helper()
	pools := map[route.PoolName]*route.Pool{}
	for _, pc := range cfg.Pools {
		p, err := route.NewPool(pc, nil)
		if err != nil {
			t.Fatalf("a pool that was accepted cannot be built: %v", err)
		}
		pools[pc.Name] = p
	}
	for _, l := range cfg.Listeners {
		if _, err := l.Route(pools); err != nil {
			t.Fatalf("a listener that was accepted cannot be built: %v", err)
		}
	}
}

// seeds returns the files of the golden archives and the examples.
func seeds(tb testing.TB) []string {
	tb.Helper()
	var out []string
	for _, name := range glob(tb, "testdata/golden/*.txtar") {
		a, err := txtar.ParseFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		for _, f := range a.Files {
			if strings.HasSuffix(f.Name, ".yaml") {
				out = append(out, expand(string(a.Comment), string(f.Data)))
			}
		}
	}
	for _, name := range glob(tb, "../../examples/*.yaml") {
		data, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, string(data))
	}
	return out
}

func glob(tb testing.TB, pattern string) []string {
	tb.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		tb.Fatalf("found no %s: %v", pattern, err)
	}
	return names
}
