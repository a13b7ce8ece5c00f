package l7

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// Causes for which this package refuses a request or connection, or ends it,
// besides those of package route. They label mintmark_refused_total and stand
// in the access log.
const (
	// CauseMaxConnections: the listener is at its limit.
	CauseMaxConnections route.Cause = "max_connections"
	// CauseMethod: CONNECT to anywhere is for forward proxies.
	CauseMethod route.Cause = "method"
	// CauseBadPath: the path has dot segments where the path decides.
	CauseBadPath route.Cause = "bad_path"
	// CauseBadHost: the host has what no host has.
	CauseBadHost route.Cause = "bad_host"
	// CauseBadBody: the body is not chunked as it says, or has not the length
	// that it says, or is JSON that ends in the middle.
	CauseBadBody route.Cause = "bad_body"
	// CauseConflictingIDs: a header or JSON key is there twice, with different
	// values.
	CauseConflictingIDs route.Cause = "conflicting_ids"
	// CauseTooManyIDs: there are more values than are looked at.
	CauseTooManyIDs route.Cause = "too_many_ids"
	// CauseHopByHopID: Connection names a header that has the ID.
	CauseHopByHopID route.Cause = "hop_by_hop_id"
	// CauseBodyOverLimit: the ID may be in a body that is too long to be read
	// for it, or encoded.
	CauseBodyOverLimit route.Cause = "body_over_limit"
	// CauseBodyTooLarge: the body is larger than the listener takes.
	CauseBodyTooLarge route.Cause = "body_too_large"
	// CauseBodyBudget: bodies hold all the memory that they may.
	CauseBodyBudget route.Cause = "body_budget"
	// CauseConnectFailed: no server that the request may go to could be
	// connected to, and CauseConnectTimeout: one did not answer in time.
	CauseConnectFailed  route.Cause = "connect_failed"
	CauseConnectTimeout route.Cause = "connect_timeout"
	// CauseServerFailed: the server closed the connection, or did not speak
	// HTTP.
	CauseServerFailed route.Cause = "server_failed"
	// CauseResponseTimeout: the server did not answer in time.
	CauseResponseTimeout route.Cause = "response_timeout"
	// CauseIdle: no byte moved for the idle timeout.
	CauseIdle route.Cause = "idle_timeout"
	// CauseClientClosed: the client went away.
	CauseClientClosed route.Cause = "client_closed"
	// CauseShutdown: the drain ended before the request did.
	CauseShutdown route.Cause = "shutdown"
	// CausePanic: a fault in this program.
	CausePanic route.Cause = "panic"
)

// statusClientClosed is what the access log says when the client went away
// before there was a response. It is never sent.
const statusClientClosed = 499

// statusOf returns the status of the response for a cause.
func statusOf(cause route.Cause) int {
	switch cause {
	case CauseBadPath, CauseBadHost, CauseBadBody, CauseConflictingIDs, CauseTooManyIDs, CauseHopByHopID, route.CauseTwoOwners:
		return http.StatusBadRequest
	case route.CauseUnknownID, route.CauseNoID:
		return http.StatusForbidden
	case route.CauseNoRoute:
		return http.StatusNotFound
	case CauseMethod:
		return http.StatusMethodNotAllowed
	case CauseBodyOverLimit, CauseBodyTooLarge:
		return http.StatusRequestEntityTooLarge
	case CauseConnectFailed, CauseServerFailed:
		return http.StatusBadGateway
	case CauseConnectTimeout, CauseResponseTimeout, CauseIdle:
		return http.StatusGatewayTimeout
	case CauseClientClosed:
		return statusClientClosed
	case CausePanic:
		return http.StatusInternalServerError
	default:
		return http.StatusServiceUnavailable
	}
}

// refuse answers the request with a response of ours, unless one has begun.
func (x *exchange) refuse(cause route.Cause) {
	x.cause = cause
	x.proxy.metrics.Refused(string(cause))
	x.decision.RoutedBy = route.ByRefused
	if x.status != 0 {
		return
	}
	x.status = statusOf(cause)
	h := x.writer.Header()
	clear(h)
	if x.status == statusClientClosed {
		// It may hear us all the same, when it has closed one direction only;
		// without this net/http would say 200.
		x.writer.WriteHeader(http.StatusBadRequest)
		return
	}
	if x.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", strconv.Itoa(x.retryAfter()))
	}
	if cause == CauseIdle && x.request.ProtoMajor == 1 {
		h.Set("Connection", "close") // nothing can be read from it any more
	}
	if x.status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	kind, body := x.settings.ErrorType, x.settings.ErrorText
	if kind == "" {
		kind, body = "text/plain; charset=utf-8", fmt.Sprintf("%d %s\n", x.status, http.StatusText(x.status))
	} else {
		body = strings.NewReplacer("{status}", strconv.Itoa(x.status), "{cause}", string(cause)).Replace(body)
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	x.writer.WriteHeader(x.status)
	if x.request.Method != http.MethodHead {
		n, _ := x.writer.Write([]byte(body)) // the client may have gone
		x.sent = int64(n)
	}
}

// retryAfter is in how many seconds it is worth trying again: by then a server
// that has come back has been seen.
func (x *exchange) retryAfter() int {
	wait := time.Second
	if x.pool != nil {
		wait = max(wait, x.pool.Config.Health.Interval)
	}
	return int((wait + time.Second - 1) / time.Second)
}
