package webui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"connectrpc.com/connect"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/*
var assetFiles embed.FS

// pages are the parsed templates and the assets.
type pages struct {
	all       map[string]*template.Template // by the file's name without .html
	hash      string                        // of all assets: a new one is another path
	fragments *template.Template            // what streams draw
}

func loadPages() (*pages, error) {
	p := &pages{all: make(map[string]*template.Template)}
	h := sha256.New()
	files, err := fs.Glob(assetFiles, "assets/*")
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		b, err := assetFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		h.Write(b)
	}
	p.hash = hex.EncodeToString(h.Sum(nil)[:8])
	base := template.New("base").Funcs(p.functions())
	if base, err = base.ParseFS(templateFiles, "templates/_*.html"); err != nil {
		return nil, err
	}
	p.fragments = base
	names, err := fs.Glob(templateFiles, "templates/[a-z]*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(templateFiles, name)
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		p.all[strings.TrimSuffix(path.Base(name), ".html")] = t
	}
	return p, nil
}

// assets serves what pages load, by a path that changes with the content.
func (p *pages) assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "assets/" + path.Base(r.PathValue("name"))
		b, err := assetFiles.ReadFile(name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
		w.Header().Set("Content-Type", types[path.Ext(name)])
		if r.PathValue("hash") == p.hash {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		_, _ = w.Write(b) // the browser may have gone
	})
}

// functions are for templates.
func (p *pages) functions() template.FuncMap {
	return template.FuncMap{
		"asset":   func(name string) string { return "/assets/" + p.hash + "/" + name },
		"ago":     func(at time.Time) string { return ago(time.Since(at)) },
		"percent": percent,
		"number":  number,
		"plural":  plural,
		"clock":   func(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") },
		"nav": func(f frame, section, href, text string) navItem {
			return navItem{href, text, f.Section == section}
		},
		"sub":       func(f frame, data any) frame { f.Data = data; return f },
		"phase":     phase,
		"reversed":  func(all []healthChange) []healthChange { slices.Reverse(all); return all },
		"head":      head,
		"deref":     func(s *string) string { return *s },
		"half":      func(n int) int { return n / 2 },
		"agentFile": agentFile,
		"list":      func(s []string) string { return strings.Join(s, ", ") },
	}
}

// A navItem is a link of the navigation.
type navItem struct {
	Href, Text string
	Current    bool
}

// agentFile is a configuration of an agent to start from.
func agentFile(t *tokenData) string {
	return fmt.Sprintf(`control: {connect: [%q], token_file: join.token}
server: {address: %q}
adapter:
  kind: nginx
  dir: /etc/nginx/mintmark
  pid_file: /run/nginx.pid
  test: [nginx, -t]
  reload: [nginx, -s, reload]`, t.URL, t.Address)
}

// head is the beginning of a mark, enough to tell it from others.
func head(mark string) string {
	const most = 16
	if len(mark) > most {
		return mark[:most] + "…"
	}
	return mark
}

// ago says how long something lasts, in one unit.
func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "a moment"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func percent(f float64) string {
	switch p := 100 * f; {
	case p == 0 || p >= 99.95:
		return fmt.Sprintf("%.0f %%", p)
	case p < 0.01:
		return fmt.Sprintf("%.2g %%", p)
	case p < 1:
		return fmt.Sprintf("%.2f %%", p)
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

// number writes a rate for people: as many digits as one reads.
func number(f float64) string {
	switch {
	case f >= 9_999_500:
		return fmt.Sprintf("%.1f M", f/1e6)
	case f >= 9_999.5:
		return fmt.Sprintf("%.1f k", f/1e3)
	case f >= 9.95 || f == float64(int64(f)):
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%.1f", f)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// sentence writes an error as people are shown it.
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	s = string(unicode.ToUpper(r)) + s[n:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// frame is what every page has.
type frame struct {
	Title   string
	Section string // of the navigation
	Visit   *visit
	Version string
	Data    any
}

// Admin reports whether to show what only admins may do.
func (f frame) Admin() bool { return f.Visit != nil && f.Visit.admin() }

// User is who has logged in.
func (f frame) User() string {
	if f.Visit == nil {
		return ""
	}
	return f.Visit.id.Name
}

// Role is what the user may do.
func (f frame) Role() string {
	if f.Visit == nil {
		return ""
	}
	return string(f.Visit.id.Role)
}

// sections says where in the navigation a page is.
func section(page string) string {
	switch page {
	case "server", "confirm":
		return "servers"
	case "newpool", "pool", "addserver", "rotate", "restore", "advance", "preview", "deletepool":
		return "pools"
	case "token":
		return "people"
	}
	return page
}

// write shows a page.
func (u *UI) write(w http.ResponseWriter, r *http.Request, v *visit, status int, page, title string, data any) {
	var b bytes.Buffer
	f := frame{Title: title, Section: section(page), Visit: v, Version: u.cfg.Version, Data: data}
	if err := u.pages.all[page].ExecuteTemplate(&b, "page", f); err != nil {
		u.log.Error("a page was not drawn", "page", page, "error", err)
		http.Error(w, "the page could not be drawn; the log of the control plane says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes()) // the browser may have gone
	}
}

// A refusal is why something was not done, and what to do next.
type refusal struct {
	status            int
	title, text, next string
}

// Error implements error.
func (r *refusal) Error() string { return r.text }

type errorData struct{ Title, Text, Next, Back string }

// fail shows an error as a page.
func (u *UI) fail(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	ref := asRefusal(err)
	if ref.status >= http.StatusInternalServerError {
		u.log.Error("a request failed", "path", r.URL.Path, "error", err)
	}
	u.write(w, r, v, ref.status, "error", ref.title, errorData{ref.title, ref.text, ref.next, local(refererPath(r))})
}

// refererPath is the page that a request came from.
func refererPath(r *http.Request) string {
	_, rest, ok := strings.Cut(r.Referer(), "://"+r.Host)
	if !ok {
		return "/"
	}
	return rest
}

// asRefusal says what to do about an error of the API.
func asRefusal(err error) *refusal {
	if ref, ok := errors.AsType[*refusal](err); ok {
		return ref
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &refusal{http.StatusRequestEntityTooLarge, "That is too long", "The form is larger than 1 MiB.", "Send less at once."}
	}
	ref := &refusal{http.StatusInternalServerError, "That did not work", sentence(err.Error()), "Try again. If it stays, the log of the control plane says more."}
	rpc, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return ref
	}
	ref.text = sentence(rpc.Message())
	switch rpc.Code() {
	case connect.CodeInvalidArgument:
		ref.status, ref.title, ref.next = http.StatusUnprocessableEntity, "That cannot be done as it is", "Go back, change what the message names, and send it again."
	case connect.CodeAborted:
		ref.status, ref.title, ref.next = http.StatusConflict, "Somebody else was faster", "Look at what it is now, then make your change again."
	case connect.CodeFailedPrecondition:
		ref.status, ref.title, ref.next = http.StatusConflict, "That would lose something", "Nothing was changed. Read what it costs, and accept it on the page before if you want it all the same."
	case connect.CodeNotFound:
		ref.status, ref.title, ref.next = http.StatusNotFound, "There is no such thing", "It may have been removed meanwhile: the log says by whom."
	case connect.CodeAlreadyExists:
		ref.status, ref.title, ref.next = http.StatusConflict, "It exists already", "Take another name."
	case connect.CodePermissionDenied:
		ref.status, ref.title, ref.next = http.StatusForbidden, "Only an admin may do this", "Ask an admin to do it."
	case connect.CodeUnavailable:
		ref.status, ref.next = http.StatusServiceUnavailable, "The store does not answer. Routing goes on; try again in a moment."
	default: // as it is
	}
	return ref
}

func (u *UI) notFound(w http.ResponseWriter, r *http.Request) {
	u.fail(w, r, nil, &refusal{http.StatusNotFound, "There is no such page", "Nothing is at " + r.URL.Path + ".", "Start from the overview."})
}
