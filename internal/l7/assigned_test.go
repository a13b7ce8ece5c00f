package l7_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/httpid"
	"github.com/mintmark/mintmark/internal/l7"
	"github.com/mintmark/mintmark/internal/learn"
	"github.com/mintmark/mintmark/internal/route"
)

// A witness writes down what it hears.
type witness struct {
	mu    sync.Mutex
	heard []string
}

func (*witness) Watches(*route.Pool) bool { return true }

func (w *witness) Minted(s *route.Server, field idspace.Field, id []byte, whole bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, fmt.Sprintf("%s %v %s %v", s.Config.Name, field, id, whole))
}

func (w *witness) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.heard)
	heard := w.heard
	w.heard = nil
	return heard
}

// TestWitness has a server assign IDs in every way that there is.
func TestWitness(t *testing.T) {
	t.Parallel()
	w := new(witness)
	ids := everyID(t)[:4]
	id := source(t, httpid.Config{Kind: httpid.JSON, Name: "previous_response_id", Response: "id"})
	id.Limit = 1000
	ids = append(ids, id)
	r := newRig(t, rigConfig{ids: ids, settings: func(s *l7.Settings) { s.Witness = w }}, func(w http.ResponseWriter, r *http.Request) {
		for i, v := range r.Header["Set"] {
			name, value, _ := strings.Cut(v, "=")
			w.Header().Add(name, value)
			_ = i
		}
		_, _ = io.Copy(w, r.Body)
	})
	for name, c := range map[string]struct {
		headers []string
		body    string
		want    []string
	}{
		"nothing":            {nil, "{}", nil},
		"cookies":            {[]string{"Set: Set-Cookie=JSESSIONID=0A1B.a-1; Path=/; HttpOnly", "Set: Set-Cookie=x=y"}, "", []string{"a cookie a-1 true"}},
		"cookie, unroutable": {[]string{"Set: Set-Cookie=JSESSIONID=0A1B; Path=/"}, "", []string{"a cookie 0A1B false"}},
		"cookie, deleted":    {[]string{"Set: Set-Cookie=JSESSIONID=0A1B.a-1; Max-Age=0", "Set: Set-Cookie=JSESSIONID="}, "", nil},
		"header":             {[]string{"Set: Mcp-Session-Id=a-2"}, "", []string{"a header a-2 true"}},
		"location":           {[]string{"Set: Location=https://x/whip/a-3?y"}, "", []string{"a path a-3 true"}},
		"json":               {[]string{"Set: Content-Type=application/json; charset=utf-8"}, `{"id":"a-4","previous_response_id":"no"}`, []string{"a json a-4 true"}},
		"json, but text":     {[]string{"Set: Content-Type=text/plain"}, `{"id":"a-4"}`, nil},
		"json, long":         {[]string{"Set: Content-Type=application/json"}, `{"id":"a-4","x":"` + strings.Repeat("y", 1000) + `"}`, nil},
	} {
		r.do(r.request("POST", "/", c.body, append(c.headers, "Content-Type: text/plain")...))
		if got := w.take(); !slices.Equal(got, c.want) {
			t.Errorf("%s: the witness heard %q; want %q", name, got, c.want)
		}
	}
}

// TestLearning routes by IDs that servers were seen to assign.
func TestLearning(t *testing.T) {
	t.Parallel()
	var foreign atomic.Int32
	watch := learn.NewWatch(learn.WatchConfig{Foreign: func(*route.Server, idspace.Field) { foreign.Add(1) }})
	assign := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if v := r.Header.Get("Assign"); v != "" {
				w.Header().Set("Mcp-Session-Id", v)
			}
			echo(name)(w, r)
		}
	}
	r := newRig(t, rigConfig{
		ids:      everyID(t),
		pool:     func(p *route.PoolConfig) { p.Learned = learn.New(learn.Config{MaxEntries: 100, Lifetime: 1e12}) },
		settings: func(s *l7.Settings) { s.Witness = watch },
	}, assign("a"), assign("b"))
	first := r.get("/", "Assign: 5f3e")
	for range 4 {
		if got := r.get("/", "Mcp-Session-Id: 5f3e"); got.server != first.server {
			t.Fatalf("an ID that %q assigned went to %q", first.server, got.server)
		}
	}
	if foreign.Load() != 1 {
		t.Errorf("%d foreign mints; want 1, the ID outside of the server's space", foreign.Load())
	}
	r.get("/", "Assign: a-9", "Mcp-Session-Id: b-1")
	if foreign.Load() != 2 {
		t.Errorf("%d foreign mints; want 2, with a name of another server", foreign.Load())
	}
}
