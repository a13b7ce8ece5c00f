package l7

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/httpid"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
)

// An exchange is one request and its response.
type exchange struct {
	proxy    *Proxy
	settings *settings
	began    time.Time
	writer   http.ResponseWriter // of net/http
	request  *http.Request       // as it came in, with a context of ours
	cancel   context.CancelCauseFunc
	idle     idleWatch
	begun    atomic.Bool // a response is on its way to the client

	pool        *route.Pool
	poolMetrics *metrics.Pool
	facts       route.Facts
	values      httpid.Values
	candidates  []route.Candidate
	list        [httpid.MaxValues]route.Candidate // where candidates stand
	decision    route.Decision                    // Server is nil until a server is chosen
	body        *heldBody                         // what was read for an ID; nil: nothing

	server route.ServerName // of the last server that was chosen
	cause  route.Cause      // why refused, or decision.Cause
	broken error            // why the body cannot be read; nil: it can
	status int              // of the response; 0: none yet
	sent   int64            // bytes of the response's body
}

// ServeHTTP implements http.Handler: it is called by net/http for each request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	now := time.Now()
	x := &exchange{
		proxy: p, settings: p.settings.Load(), began: now, cancel: cancel,
		writer: w, request: r.WithContext(ctx), idle: idleWatch{began: now},
	}
	p.requests.enter(x, cancel)
	defer p.requests.leave(x)
	defer x.finish()
	defer x.guard()
	x.watchIdle()
	defer x.idle.stop()
	x.serve()
}

// guard ends the request, and nothing else, when its goroutine panics. A
// response that has begun cannot be ended but by closing its connection or
// stream, for which net/http has a panic of its own.
func (x *exchange) guard() {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
		x.proxy.metrics.Panics.Inc()
		x.cause = CausePanic
		x.proxy.log.Error("ending a request because of a fault in this program, please report it",
			"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	} else {
		x.cause = x.aborted()
	}
	// Deferred calls of ServeHTTP still run.
	panic(http.ErrAbortHandler)
}

// serve does everything for the request.
func (x *exchange) serve() {
	defer x.releaseBody()
	r := x.request
	if cause := x.check(); cause != "" {
		x.refuse(cause)
		return
	}
	x.pool = x.settings.Listener.PoolForHTTP(r.Host, r.URL.Path)
	if x.pool == nil {
		x.refuse(route.CauseNoRoute)
		return
	}
	x.poolMetrics = x.settings.pools[x.pool]
	x.facts = route.Facts{Now: x.began, Precedence: route.PreferFirst}
	if client, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		x.facts.Client = client
	}
	if cause := x.findIDs(); cause != "" {
		x.poolMetrics.Decided(0, x.firstField(), route.ByRefused)
		x.refuse(cause)
		return
	}
	x.forward()
}

// check returns why a request is refused before anything is decided.
func (x *exchange) check() route.Cause {
	r, st := x.request, x.settings
	if cause := x.ambiguous(); cause != "" {
		return cause
	}
	switch {
	case st.byPath && route.DotSegments(r.URL.Path):
		// What decides must mean the same to the server.
		return CauseBadPath
	case st.MaxBody > 0 && r.ContentLength > st.MaxBody:
		return CauseBodyTooLarge
	}
	// A header that is named in Connection ends here (RFC 9110, 7.6.1). If an
	// ID could be among them, we would read one and the server none.
	for _, line := range r.Header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if x.carriesID(strings.TrimSpace(name)) {
				return CauseHopByHopID
			}
		}
	}
	return ""
}

// carriesID reports whether IDs may stand in the header of that name.
func (x *exchange) carriesID(name string) bool {
	for i := range x.settings.IDs {
		if h := x.settings.IDs[i].Source.Header(); h != "" && strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}

// release gives back the slot of the server that was chosen.
func (x *exchange) release() {
	if s := x.decision.Server; s != nil {
		x.decision.Server = nil
		s.Release()
	}
}

// firstField is the field that a refusal before the decision is counted under.
func (x *exchange) firstField() idspace.Field {
	if len(x.candidates) > 0 {
		return x.candidates[0].Field
	}
	return idspace.FieldNone
}
