// Package webui is the web UI: pages for people, served at the control
// address beside the API.
//
// It is a client of the API like the command line: what a page shows comes
// from the calls of ControlService, made as the person who asked, and what a
// person may not do there he cannot do here. Only traffic does not come
// through the API: the balancer in the same process tells it (Source), because
// it is needed twice a second.
//
// Pages are templates, drawn on the server, pictures included. A small module
// (assets/app.js) replaces parts of a page by what the server sends it, and
// moves the focus in pictures; everything but that works without it. There is
// nothing to build, and nothing is asked of other hosts.
package webui

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control/access"
)

// Config is what a UI is made of.
type Config struct {
	// Client returns a client of the API that acts as id. Required.
	Client func(id access.Identity) mintmarkv1connect.ControlServiceClient
	// Revision returns that of the store: while it stays, so does what the API
	// says, but for the passing of time. Required.
	Revision func(ctx context.Context) (uint64, error)
	// Access knows who has logged in. Required.
	Access *access.Keeper
	// Source is the balancer in this process; nil: there is none.
	Source Source
	// URL is that of the control plane, for the commands that pages show.
	URL string
	// Plain is set when the UI is served without TLS, on a loopback address:
	// cookies are not marked Secure then, because some browsers drop those.
	Plain bool
	// Version is shown at the foot of each page.
	Version string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Logger receives what happens; nil discards it.
	Logger *slog.Logger
}

// A UI serves the pages. It is safe for concurrent use.
type UI struct {
	cfg     Config
	log     *slog.Logger
	pages   *pages
	limiter *limiter
	traffic *traffic
	status  *statusCache
	done    chan struct{} // closed when Run ends, for streams
	drawn   drawn
	streams atomic.Int64 // how many are open
}

// New returns a UI. It starts nothing: see Run and Handler.
func New(c Config) (*UI, error) {
	if c.Client == nil || c.Revision == nil || c.Access == nil {
		return nil, errors.New("a web UI needs a client of the API, the revision of its store, and an access keeper")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := loadPages()
	if err != nil {
		return nil, err
	}
	u := &UI{cfg: c, log: c.Logger, pages: p, limiter: newLimiter(c.Now), traffic: newTraffic(), done: make(chan struct{})}
	u.status = newStatusCache(u)
	return u, nil
}

// Run follows the traffic of the balancer in this process until ctx ends. It
// returns nil then, and every stream to a browser has been told to end.
func (u *UI) Run(ctx context.Context) error {
	defer close(u.done)
	if u.cfg.Source == nil {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(sampleInterval)
	defer t.Stop()
	for {
		u.traffic.add(u.cfg.Source.Sample())
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// A handler answers a request of somebody who has logged in. An error is shown
// as a page.
type handler func(w http.ResponseWriter, r *http.Request, v *visit) error

// A route is a path with who may go there.
type route struct {
	pattern string
	admin   bool // only an admin
	handle  handler
}

// routes lists the pages for people who have logged in.
func (u *UI) routes() []route {
	return []route{
		{"GET /{$}", false, u.overview},
		{"GET /spaces", false, u.spacesIndex},
		{"GET /spaces/{pool}", false, u.spaces},
		{"GET /servers", false, u.servers},
		{"GET /servers/{pool}/{server}", false, u.server},
		{"GET /servers/{pool}/{server}/{action}", true, u.confirmServer},
		{"POST /servers/{pool}/{server}/{action}", true, u.changeServer},
		{"GET /pools", false, u.poolsIndex},
		{"GET /pools/new", true, u.newPool},
		{"POST /pools/new", true, u.createPool},
		{"GET /pools/{pool}", false, u.pool},
		{"GET /pools/{pool}/add", true, u.addServerForm},
		{"POST /pools/{pool}/add", true, u.addServer},
		{"GET /pools/{pool}/rotate", true, u.rotateForm},
		{"POST /pools/{pool}/rotate", true, u.rotate},
		{"GET /pools/{pool}/delete", true, u.deleteForm},
		{"POST /pools/{pool}/delete", true, u.deletePool},
		{"GET /pools/{pool}/advance", true, u.advanceForm},
		{"POST /pools/{pool}/advance", true, u.advance},
		{"GET /pools/{pool}/restore/{revision}", true, u.restoreForm},
		{"POST /pools/{pool}/restore/{revision}", true, u.restore},
		{"GET /explain", false, u.explain},
		{"POST /explain", false, u.explain}, // changes nothing: values are long, and not for logs
		{"GET /log", false, u.auditLog},
		{"GET /people", false, u.people},
		{"POST /people/token", true, u.createToken},
		{"POST /people/remove", true, u.removeMember},
		{"GET /account", false, u.account},
		{"POST /account", false, u.setPassword}, // one's own password
		{"POST /logout", false, u.logOut},
		{"GET /live/{page}", false, u.live},
	}
}

// Handler serves the pages.
func (u *UI) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /assets/{hash}/{name}", u.pages.assets())
	mux.HandleFunc("GET /login", u.loginForm)
	mux.HandleFunc("POST /login", u.logIn)
	for _, r := range u.routes() {
		mux.Handle(r.pattern, u.guarded(r))
	}
	mux.HandleFunc("/", u.notFound)
	var crossOrigin http.CrossOriginProtection
	return secure(crossOrigin.Handler(bounded(mux)))
}

// maxFormBytes bounds a form: the largest is a list of servers, or a hello in
// hexadecimal.
const maxFormBytes = 1 << 20

func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
		next.ServeHTTP(w, r)
	})
}

// policy lets a page load its own styles, module and pictures, send forms to
// where it came from, and nothing else. There is no script and no style in any
// page, so an injected one does nothing.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
