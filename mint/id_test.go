package mint_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"

	"github.com/mintmark/mintmark/idspace/sealed"
	"github.com/mintmark/mintmark/mint"
)

// assigned returns a client that mints with the keys given.
func assigned(t *testing.T, keys ...mint.Key) *mint.Client {
	t.Helper()
	src := newSource()
	c := open(t, filepath.Join(t.TempDir(), "mint.json"), src)
	if len(keys) > 0 {
		src.assign(assignment(1, keys...))
	}
	return c
}

func TestMarksOfTokens(t *testing.T) {
	t.Parallel()
	const token = "the application's own"
	before := assigned(t)
	if id := before.ID(); len(id) < 26 || before.Owns(id) || id == before.ID() {
		t.Errorf("before an assignment: %q", id)
	}
	if id, err := before.AddMark(token); err == nil {
		t.Errorf("before an assignment, AddMark returns %q and no error", id)
	}
	mark := sealed.NewKey()
	for name, c := range map[string]*mint.Client{
		"constant": assigned(t, key(1, true), key(0, false)),
		"sealed":   assigned(t, sealedKey(1, true, mark), sealedKey(0, false, sealed.NewKey())),
	} {
		if id := c.ID(); !c.Owns(id) {
			t.Errorf("%s: ID returns %q, which is not its own", name, id)
		}
		id, err := c.AddMark(token)
		if err != nil || id == token || !strings.HasSuffix(id, token) {
			t.Fatalf("%s: AddMark returns %q, %v", name, id, err)
		}
		if own, ok := c.CutMark(id); !ok || own != token {
			t.Errorf("%s: CutMark returns %q, %v", name, own, ok)
		}
		for _, none := range []string{"", token, id[:5], "x" + id} {
			if own, ok := c.CutMark(none); ok || own != none {
				t.Errorf("%s: CutMark(%q) returns %q, %v", name, none, own, ok)
			}
		}
	}
	old := assigned(t, key(0, true))
	if own, ok := assigned(t, key(1, true), key(0, false)).CutMark(old.ID()); !ok || len(own) != 32 {
		t.Errorf("an ID of the generation before: %q, %v", own, ok)
	}
}

// A browser is a client that keeps cookies by hand, so that a test sees them.
type browser struct {
	handler http.Handler
	cookies map[string]string
}

func (b *browser) get(t *testing.T, path string) string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.AddCookie(&http.Cookie{Name: "theme", Value: "dark"})
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookies[c.Name] = c.Value
	}
	return w.Body.String()
}

// A session library without a hook keeps its sessions, and its cookie can be
// routed; a token of before the marks is as good as one behind a mark.
func TestCookieHandlerWithSCS(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*mint.Client{
		"constant":    assigned(t, key(1, true)),
		"sealed":      assigned(t, sealedKey(1, true, sealed.NewKey())),
		"no mark yet": assigned(t),
	} {
		sessions := scs.New()
		mux := http.NewServeMux()
		mux.HandleFunc("/put", func(_ http.ResponseWriter, r *http.Request) { sessions.Put(r.Context(), "who", "Ada") })
		mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(sessions.GetString(r.Context(), "who") + " " + cookie(r, "theme")))
		})
		mux.HandleFunc("/renew", func(_ http.ResponseWriter, r *http.Request) { _ = sessions.RenewToken(r.Context()) })
		mux.HandleFunc("/end", func(_ http.ResponseWriter, r *http.Request) { _ = sessions.Destroy(r.Context()) })
		inside := sessions.LoadAndSave(mux)
		b := &browser{c.CookieHandler("session", inside), map[string]string{}}

		b.get(t, "/put")
		first := b.cookies["session"]
		if first == "" || c.Owns(first) != c.Ready() {
			t.Fatalf("%s: the cookie is %q; marked %v, want %v", name, first, c.Owns(first), c.Ready())
		}
		b.get(t, "/renew")
		if second := b.cookies["session"]; second == first || c.Owns(second) != c.Ready() {
			t.Errorf("%s: the renewed cookie is %q", name, second)
		}
		if got := b.get(t, "/get"); got != "Ada dark" {
			t.Errorf("%s: behind the mark: got %q", name, got)
		}
		bare, _ := c.CutMark(b.cookies["session"])
		if got := (&browser{b.handler, map[string]string{"session": bare}}).get(t, "/get"); got != "Ada dark" {
			t.Errorf("%s: a token of before the marks: got %q", name, got)
		}
		if got := (&browser{inside, b.cookies}).get(t, "/get"); (got == "Ada dark") == c.Ready() {
			t.Errorf("%s: without the handler the library takes the marked cookie: %q", name, got)
		}
		b.get(t, "/end")
		if got := b.cookies["session"]; got != "" {
			t.Errorf("%s: the session has ended, and the cookie is %q", name, got)
		}
	}
}

func cookie(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return err.Error()
	}
	return c.Value
}

// Streams, WebSockets and early hints go through the handler, and the cookie is
// marked once, however the header leaves.
func TestCookieHandlerPassesOn(t *testing.T) {
	t.Parallel()
	c := assigned(t, key(1, true))
	set := func(w http.ResponseWriter) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "token", Path: "/"})
		http.SetCookie(w, &http.Cookie{Name: "session2", Value: "another"})
	}
	server := httptest.NewServer(c.CookieHandler("session", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/flush":
			set(w)
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte("x"))
		case "/hints":
			w.WriteHeader(http.StatusEarlyHints)
			set(w)
			w.WriteHeader(http.StatusAccepted)
		case "/nothing":
			set(w)
		case "/hijack":
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: session=4d000001token\r\nConnection: close\r\n\r\n")
			_ = rw.Flush()
		}
	})))
	t.Cleanup(server.Close)
	for _, path := range []string{"/flush", "/hints", "/nothing", "/hijack"} {
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		cookies := resp.Cookies()
		if len(cookies) == 0 || cookies[0].Value != "4d000001token" {
			t.Errorf("%s: got %v", path, cookies)
		}
		if len(cookies) > 1 && cookies[1].Value != "another" {
			t.Errorf("%s: another cookie was changed: %v", path, cookies[1])
		}
	}
}
