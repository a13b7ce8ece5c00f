package webui

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control/access"
)

// A visit is a request of somebody who has logged in.
type visit struct {
	id          access.Identity
	hasPassword bool
	secret      string
	api         mintmarkv1connect.ControlServiceClient
}

// admin reports whether the visitor may change things.
func (v *visit) admin() bool { return v.id.Role == access.RoleAdmin }

// cookieName is that of the session. With the prefix, browsers take it over
// TLS and for this host only.
func (u *UI) cookieName() string {
	if u.cfg.Plain {
		return "mintmark"
	}
	return "__Host-mintmark"
}

func (u *UI) setCookie(w http.ResponseWriter, secret string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: u.cookieName(), Value: secret, Path: "/", MaxAge: int(age.Seconds()),
		Secure: !u.cfg.Plain, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

// guarded lets people who have logged in through, and to some pages only admins.
func (u *UI) guarded(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie(u.cookieName())
		if err != nil {
			u.askLogIn(w, r, "")
			return
		}
		id, hasPassword, err := u.cfg.Access.Session(r.Context(), c.Value)
		if errors.Is(err, access.ErrNoSession) {
			u.askLogIn(w, r, "Your session is over.")
			return
		}
		v := &visit{id: id, hasPassword: hasPassword, secret: c.Value}
		if err != nil {
			u.fail(w, r, v, err)
			return
		}
		if rt.admin && !v.admin() {
			u.fail(w, r, v, &refusal{
				status: http.StatusForbidden, title: "Only an admin may do this",
				text: "You are logged in as " + v.id.Name + ", a viewer: you may look at everything and change nothing.",
				next: "Ask an admin to do it, or for a token of the role admin (People).",
			})
			return
		}
		v.api = u.cfg.Client(id)
		if !strings.HasPrefix(r.URL.Path, "/live/") {
			u.status.expire()
		}
		if err := rt.handle(w, r, v); err != nil {
			u.fail(w, r, v, err)
		}
	})
}

// askLogIn sends a person to the login page, and from there back to the page
// that was asked for.
func (u *UI) askLogIn(w http.ResponseWriter, r *http.Request, why string) {
	if r.Method != http.MethodGet || strings.HasPrefix(r.URL.Path, "/live/") {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	u.showLogIn(w, r, http.StatusUnauthorized, loginData{Why: why, Back: r.URL.RequestURI()})
}

type loginData struct {
	Why     string // what to tell the person
	Problem string // why it did not work
	Back    string // where to go then
	Name    string
	URL     string
	ByToken bool
}

func (u *UI) showLogIn(w http.ResponseWriter, r *http.Request, status int, d loginData) {
	d.URL = u.cfg.URL
	people, err := u.cfg.Access.People(r.Context())
	if err == nil {
		d.ByToken = d.ByToken || len(people) == 0
	}
	u.write(w, r, nil, status, "login", "Log in", d)
}

func (u *UI) loginForm(w http.ResponseWriter, r *http.Request) {
	u.showLogIn(w, r, http.StatusOK, loginData{Back: "/", ByToken: r.FormValue("with") == "token"})
}

// logIn takes a token, or a name and a password.
func (u *UI) logIn(w http.ResponseWriter, r *http.Request) {
	token, name := r.PostFormValue("token"), r.PostFormValue("name")
	d := loginData{Back: local(r.PostFormValue("back")), Name: name, ByToken: token != "" || name == ""}
	if wait := u.limiter.attempt(peer(r)); wait > 0 {
		d.Problem = "Too many attempts from your address. Wait " + wait.Round(time.Second).String() + ", then try again."
		u.showLogIn(w, r, http.StatusTooManyRequests, d)
		return
	}
	var secret string
	var err error
	if token != "" {
		secret, _, err = u.cfg.Access.LogIn(r.Context(), token)
	} else {
		secret, _, err = u.cfg.Access.LogInWithPassword(r.Context(), name, r.PostFormValue("password"))
	}
	if err != nil {
		u.log.Warn("refusing a login", "peer", r.RemoteAddr, "error", err)
		d.Problem = sentence(err.Error())
		u.showLogIn(w, r, http.StatusUnauthorized, d)
		return
	}
	u.limiter.forgive(peer(r))
	u.setCookie(w, secret, access.SessionLifetime)
	if _, hasPassword, err := u.cfg.Access.Session(r.Context(), secret); err == nil && !hasPassword {
		d.Back = "/account?first=1"
	}
	http.Redirect(w, r, d.Back, http.StatusSeeOther)
}

// local returns where to go after logging in: a path of ours, never another
// site.
func local(back string) string {
	if !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") || strings.ContainsAny(back, "\\\r\n") {
		return "/"
	}
	return back
}

func (u *UI) logOut(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := u.cfg.Access.LogOut(r.Context(), v.secret); err != nil {
		return err
	}
	u.setCookie(w, "", -time.Second)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

type accountData struct {
	First   bool
	Problem string
	Done    bool
	Least   int
}

func (u *UI) account(w http.ResponseWriter, r *http.Request, v *visit) error {
	u.write(w, r, v, http.StatusOK, "account", "Your account", accountData{
		First: r.FormValue("first") != "", Done: r.FormValue("done") != "", Least: access.MinPasswordBytes,
	})
	return nil
}

func (u *UI) setPassword(w http.ResponseWriter, r *http.Request, v *visit) error {
	d := accountData{Least: access.MinPasswordBytes}
	password := r.PostFormValue("password")
	switch {
	case password != r.PostFormValue("again"):
		d.Problem = "The two passwords differ. Type the same twice."
	default:
		if err := u.cfg.Access.SetPassword(r.Context(), v.id.Name, password, v.secret); err != nil {
			d.Problem = sentence(err.Error())
		}
	}
	if d.Problem != "" {
		u.write(w, r, v, http.StatusUnprocessableEntity, "account", "Your account", d)
		return nil
	}
	to := "/account?done=1"
	if r.PostFormValue("first") != "" {
		to = "/"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// Bounds of logging in, against somebody who guesses passwords, and who makes
// the server hash them.
const (
	attemptsPerPeer = 10               // at once, from one address
	attemptsRefill  = 30 * time.Second // then one in that time
	attemptsForAll  = 60               // at once, from everywhere
	allRefill       = time.Second
	maxPeers        = 10_000 // addresses that are remembered
)

// A limiter counts attempts to log in.
type limiter struct {
	now func() time.Time

	mu    sync.Mutex
	peers map[string]bucket
	all   bucket
}

// A bucket is how many attempts were made, less those that time has forgiven.
type bucket struct {
	used float64
	at   time.Time
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, peers: make(map[string]bucket)}
}

// take returns the bucket after another attempt, or how long to wait.
func (b bucket) take(now time.Time, most int, refill time.Duration) (bucket, time.Duration) {
	b.used = max(0, b.used-float64(now.Sub(b.at))/float64(refill))
	b.at = now
	if b.used+1 > float64(most) {
		return b, time.Duration((b.used + 1 - float64(most)) * float64(refill))
	}
	b.used++
	return b, 0
}

// attempt counts an attempt from an address, and says how long to wait if it
// is one too many.
func (l *limiter) attempt(peer string) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.peers) >= maxPeers {
		clear(l.peers) // the bound for all holds
	}
	one, wait := l.peers[peer].take(l.now(), attemptsPerPeer, attemptsRefill)
	l.peers[peer] = one
	if wait > 0 {
		return wait
	}
	l.all, wait = l.all.take(l.now(), attemptsForAll, allRefill)
	return wait
}

// forgive forgets the attempts of an address from which somebody logged in.
func (l *limiter) forgive(peer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.peers, peer)
}

// peer is whose attempts count together: an IPv4 address, or an IPv6 network of
// 64 bits, which is what one host has.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}
