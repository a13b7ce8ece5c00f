package l7

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

// An entry is a line of the access log. Session IDs are not in it: whoever
// reads the log must not be able to take over a session.
type entry struct {
	began              time.Time
	duration           time.Duration
	listener           route.ListenerName
	client             netip.AddrPort // zero: a unix socket
	method, host       string
	target, protocol   string // target without IDs
	status             int
	sent               int64
	referer, userAgent string
	field              idspace.Field
	routedBy           route.RoutedBy
	pool               route.PoolName
	server             route.ServerName
	cause              route.Cause
}

const (
	// combinedTime is that of the common log format.
	combinedTime = "02/Jan/2006:15:04:05 -0700"
	// jsonTime is RFC 3339 with milliseconds.
	jsonTime = "2006-01-02T15:04:05.000Z07:00"
	// maxLogged is how much of a value that a client sent is logged, so that
	// lines stay lines.
	maxLogged = 2048
)

// appendTo appends the line, with its newline, to b. Keys are a contract: add,
// do not rename.
func (e *entry) appendTo(b []byte, json bool) []byte {
	if json {
		return e.appendJSON(b)
	}
	return e.appendCombined(b)
}

// appendCombined writes the combined form of Apache and nginx, and behind it
// key=value pairs, which its readers pass over.
func (e *entry) appendCombined(b []byte) []byte {
	b = append(b, e.clientText()...)
	b = append(b, " - - ["...)
	b = e.began.AppendFormat(b, combinedTime)
	b = append(b, "] "...)
	b = appendQuoted(b, e.method+" "+e.target+" "+e.protocol)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(e.status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.sent, 10)
	for _, v := range []string{e.referer, e.userAgent} {
		if v == "" {
			v = "-"
		}
		b = appendQuoted(append(b, ' '), v)
	}
	b = append(b, " host="...)
	b = appendQuoted(b, e.host)
	for _, kv := range [...][2]string{
		{"listener", string(e.listener)},
		{"field", e.field.String()},
		{"routed_by", e.routedBy.String()},
		{"pool", string(e.pool)},
		{"server", string(e.server)},
		{"cause", string(e.cause)},
	} {
		if kv[1] == "" {
			kv[1] = "-"
		}
		b = append(append(append(append(b, ' '), kv[0]...), '='), kv[1]...)
	}
	b = append(b, " duration="...)
	b = strconv.AppendFloat(b, e.duration.Seconds(), 'f', 6, 64)
	return append(b, '\n')
}

func (e *entry) appendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = e.began.UTC().AppendFormat(b, jsonTime)
	b = append(b, '"')
	for _, kv := range [...][2]string{
		{"listener", string(e.listener)},
		{"client", e.clientText()},
		{"method", e.method},
		{"host", e.host},
		{"target", e.target},
		{"protocol", e.protocol},
		{"referer", e.referer},
		{"user_agent", e.userAgent},
		{"field", e.field.String()},
		{"routed_by", e.routedBy.String()},
		{"pool", string(e.pool)},
		{"server", string(e.server)},
		{"cause", string(e.cause)},
	} {
		b = append(append(append(b, `,"`...), kv[0]...), `":`...)
		b = appendQuoted(b, kv[1])
	}
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.status), 10)
	b = append(b, `,"bytes_out":`...)
	b = strconv.AppendInt(b, e.sent, 10)
	b = append(b, `,"duration":`...)
	b = strconv.AppendFloat(b, e.duration.Seconds(), 'f', 6, 64)
	return append(b, '}', '\n')
}

func (e *entry) clientText() string {
	if !e.client.IsValid() {
		return "unix"
	}
	return e.client.Addr().Unmap().String()
}

// appendQuoted appends v as a JSON string (RFC 8259, 7) of printable ASCII
// alone: what a client sent must not steer the terminal or the parser of who
// reads the log.
func appendQuoted(b []byte, v string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range v[:min(len(v), maxLogged)] {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case ' ' <= r && r < 0x7f:
			b = append(b, byte(r))
		case r > 0xffff:
			r -= 0x10000
			for _, u := range [2]rune{0xd800 + r>>10, 0xdc00 + r&0x3ff} {
				b = append(b, '\\', 'u', digits[u>>12], digits[u>>8&15], digits[u>>4&15], digits[u&15])
			}
		default:
			b = append(b, '\\', 'u', digits[r>>12], digits[r>>8&15], digits[r>>4&15], digits[r&15])
		}
	}
	return append(b, '"')
}

// finish counts the request and writes its line.
func (x *exchange) finish() {
	x.proxy.metrics.Requested(x.status, time.Since(x.began))
	// The log of today, not the one of when the request began: that one may be
	// closed.
	st := x.proxy.settings.Load()
	if st.AccessLog == nil {
		return
	}
	r := x.request
	e := entry{
		began: x.began, duration: time.Since(x.began), listener: st.Listener.Name, client: x.facts.Client,
		method: r.Method, host: r.Host, target: x.target(), protocol: r.Proto,
		status: x.status, sent: x.sent, referer: r.Referer(), userAgent: r.UserAgent(),
		field: x.decision.Field, routedBy: x.decision.RoutedBy, cause: x.cause, server: x.server,
	}
	if x.settings.secret {
		e.referer, _, _ = strings.Cut(e.referer, "?") // a page's own query has the ID, too
	}
	if x.pool != nil {
		e.pool = x.pool.Config.Name
	}
	if !e.client.IsValid() {
		e.client, _ = netip.ParseAddrPort(r.RemoteAddr) // of a unix socket it is none
	}
	if _, err := st.AccessLog.Write(e.appendTo(make([]byte, 0, 512), st.json)); err != nil {
		x.proxy.metrics.LogDropped.Inc()
	}
}

// target is what was asked for, without the IDs in it.
func (x *exchange) target() string {
	path, query := x.request.URL.EscapedPath(), x.request.URL.RawQuery
	if x.settings.secret {
		for i := range x.settings.IDs {
			path, query = x.settings.IDs[i].Source.Mask(path, query)
		}
	}
	if query != "" {
		path += "?" + query
	}
	return path
}

// aborted says why a response ended before its end.
func (x *exchange) aborted() route.Cause {
	switch {
	case x.ended(errShutdown):
		return CauseShutdown
	case x.ended(errIdle):
		return CauseIdle
	case errors.Is(context.Cause(x.request.Context()), context.Canceled):
		return CauseClientClosed
	}
	return CauseServerFailed
}
