package l7

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// expectTimeout is how long a server may take to answer an Expect:
// 100-continue before the body is sent all the same (RFC 9110, 10.1.1).
const expectTimeout = time.Second

// A refusal is an error for which the client gets a response of ours.
type refusal struct{ cause route.Cause }

func (r *refusal) Error() string { return "refused: " + string(r.cause) }

// forward sends the request to a server and the response back.
func (x *exchange) forward() {
	if x.request.ProtoMajor == 1 {
		// Servers may answer before they have read everything.
		_ = http.NewResponseController(x.writer).EnableFullDuplex() // HTTP/1 has it
	}
	defer x.release()
	if protocol := upgradeOf(x.request); protocol != "" {
		x.tunnel(protocol)
		return
	}
	rp := httputil.ReverseProxy{
		Rewrite:        x.rewrite,
		Transport:      roundTripper(x.roundTrip),
		FlushInterval:  -1,
		BufferPool:     &x.proxy.copies,
		ModifyResponse: x.answered,
		ErrorHandler:   x.failed,
		ErrorLog:       slog.NewLogLogger(x.proxy.log.Handler(), slog.LevelDebug),
	}
	rp.ServeHTTP(&responseWriter{ResponseWriter: x.writer, x: x}, x.request)
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// rewrite makes the outbound request of the inbound one, from which hop-by-hop
// and forwarding headers are removed already.
func (x *exchange) rewrite(p *httputil.ProxyRequest) {
	p.Out.Host = p.In.Host
	// What upgradeOf did not take goes on as HTTP.
	p.Out.Header.Del("Connection")
	p.Out.Header.Del("Upgrade")
	p.Out.Header.Del("Http2-Settings")
	// As it came: servers may sign it, and IDs may be in it.
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	// The values come when the body has ended; the map must be the same.
	x.cleanTrailer()
	p.Out.Trailer = p.In.Trailer
	x.setForwarded(p.Out.Header)
	x.setBody(p.Out)
}

// roundTrip picks servers until one is connected to. Only connecting is tried
// again, so no server has seen a byte of the request; where a second server
// would be wrong, Pick refuses.
func (x *exchange) roundTrip(r *http.Request) (*http.Response, error) {
	res, cause, err := x.attempts(r, x.send)
	by := x.decision.RoutedBy
	if cause != "" {
		by, x.cause = route.ByRefused, cause
		err = &refusal{cause}
	}
	x.poolMetrics.Decided(0, x.decision.Field, by)
	return res, err
}

// attempts returns the response, or why there is no server for the request, or
// what went wrong with the one that there was.
func (x *exchange) attempts(r *http.Request, send func(*http.Request, *route.Server) (*http.Response, error)) (*http.Response, route.Cause, error) {
	last := CauseConnectFailed
	for range MaxAttempts {
		d := x.pool.Pick(x.candidates, &x.facts)
		x.decision, x.cause = d, d.Cause
		if d.Server == nil {
			if len(x.facts.Exclude) > 0 {
				return nil, last, nil // the reason why there was no better choice
			}
			return nil, d.Cause, nil
		}
		x.server = d.Server.Config.Name
		res, err := send(r, d.Server)
		de, ok := errors.AsType[*dialError](err)
		if !ok {
			return res, "", err
		}
		x.proxy.log.Debug("connecting to a server", "pool", string(x.pool.Config.Name), "server", string(d.Server.Config.Name), "error", de.err)
		if isTimeout(de.err) {
			last = CauseConnectTimeout
		}
		x.facts.Exclude = append(x.facts.Exclude, d.Server)
		x.server = ""
		x.release()
		if x.request.Context().Err() != nil {
			return nil, "", context.Cause(x.request.Context())
		}
	}
	return nil, last, nil
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// send sends the request to s.
func (x *exchange) send(r *http.Request, s *route.Server) (*http.Response, error) {
	u := x.proxy.upstreamOf(s)
	r.URL.Scheme, r.URL.Host = u.scheme(), string(s.Config.Name)
	if t := x.settings.ResponseTimeout; t > 0 {
		timer := time.AfterFunc(t, func() { x.cancel(errResponseTimeout) })
		defer timer.Stop()
	}
	return u.transport.RoundTrip(r)
}

var errResponseTimeout = errors.New("the server did not answer in time")

// failed answers when there is no response of a server.
func (x *exchange) failed(_ http.ResponseWriter, r *http.Request, err error) {
	if refused, ok := errors.AsType[*refusal](err); ok {
		x.refuse(refused.cause)
		return
	}
	cause := CauseServerFailed
	switch {
	case x.ended(errShutdown):
		cause = CauseShutdown
	case x.ended(errIdle):
		cause = CauseIdle
	case x.ended(errResponseTimeout):
		cause = CauseResponseTimeout
	case errors.Is(err, errBodyTooLarge):
		cause = CauseBodyTooLarge
	case x.broken != nil:
		cause = CauseBadBody
	case r.Context().Err() != nil:
		cause = CauseClientClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		cause = CauseResponseTimeout
	}
	x.proxy.log.Debug("forwarding a request", "pool", string(x.pool.Config.Name), "cause", string(cause), "error", err)
	x.refuse(cause)
}

// A responseWriter watches the response pass.
type responseWriter struct {
	http.ResponseWriter
	x *exchange
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.x.status = status
		w.x.begun.Store(true)
	}
	w.x.idle.touch()
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *responseWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.x.sent += int64(n)
	w.x.idle.touch()
	return n, err
}
