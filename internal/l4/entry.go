package l4

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// An entry is a line of the access log. Session IDs are not in it: whoever
// reads the log must not be able to resume a session.
type entry struct {
	id       connID
	accepted time.Time
	duration time.Duration
	listener route.ListenerName
	client   netip.AddrPort // zero: a unix socket
	sni      string         // as the client wrote it: anything
	field    idspace.Field
	routedBy route.RoutedBy
	pool     route.PoolName
	server   route.ServerName
	outcome  tlshello.Outcome
	in, out  int64 // bytes from and to the client
	cause    route.Cause
	end      end
}

// timeFormat is RFC 3339 with milliseconds, in UTC.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// appendTo appends the line, with its newline, to b. Keys are a contract: add,
// do not rename. A text line is key=value with a space between; a value that
// is unknown is "-", one with bytes that could be mistaken is quoted.
func (e *entry) appendTo(b []byte, json bool) []byte {
	l := line{b: b, json: json}
	if json {
		l.b = append(l.b, '{')
	}
	id := e.id.bytes()
	l.key("time").raw(e.accepted.UTC().AppendFormat(l.scratch[:0], timeFormat), true)
	l.key("listener").text(string(e.listener))
	l.key("conn").raw(hex.AppendEncode(l.scratch[:0], id[:]), true)
	if e.client.IsValid() {
		l.key("client").raw(e.client.AppendTo(l.scratch[:0]), true)
	} else {
		l.key("client").text("unix")
	}
	l.key("sni").text(e.sni)
	l.key("field").text(e.field.String())
	l.key("routed_by").text(e.routedBy.String())
	l.key("pool").text(string(e.pool))
	l.key("server").text(string(e.server))
	l.key("resumed").text(resumed(e.outcome))
	l.key("bytes_in").raw(strconv.AppendInt(l.scratch[:0], e.in, 10), false)
	l.key("bytes_out").raw(strconv.AppendInt(l.scratch[:0], e.out, 10), false)
	l.key("duration").raw(strconv.AppendFloat(l.scratch[:0], e.duration.Seconds(), 'f', 6, 64), false)
	l.key("cause").text(string(e.cause))
	l.key("end").text(e.end.String())
	if json {
		l.b = append(l.b, '}')
	}
	return append(l.b, '\n')
}

// resumed says whether the server accepted the session that the client
// offered; "" when it offered none, or the answer was not seen.
func resumed(o tlshello.Outcome) string {
	switch o {
	case tlshello.OutcomeAccepted:
		return "yes"
	case tlshello.OutcomeDeclined:
		return "no"
	default:
		return ""
	}
}

// A line is a log line in the making.
type line struct {
	b       []byte
	json    bool
	fields  int
	scratch [64]byte
}

func (l *line) key(name string) *line {
	switch {
	case l.json && l.fields > 0:
		l.b = append(l.b, ',')
	case l.fields > 0:
		l.b = append(l.b, ' ')
	}
	l.fields++
	if l.json {
		l.b = append(append(append(l.b, '"'), name...), '"', ':')
		return l
	}
	l.b = append(append(l.b, name...), '=')
	return l
}

// raw appends a value of letters, digits and harmless signs.
func (l *line) raw(v []byte, quote bool) {
	if l.json && quote {
		l.b = append(append(append(l.b, '"'), v...), '"')
		return
	}
	l.b = append(l.b, v...)
}

// text appends any value.
func (l *line) text(v string) {
	switch {
	case l.json:
		l.b = appendQuoted(l.b, v)
	case v == "":
		l.b = append(l.b, '-')
	case plain(v):
		l.b = append(l.b, v...)
	default:
		l.b = appendQuoted(l.b, v)
	}
}

// plain reports whether v can stand in a text line as it is.
func plain(v string) bool {
	if v == "-" {
		return false
	}
	for i := range len(v) {
		if c := v[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\' {
			return false
		}
	}
	return true
}

// appendQuoted appends v as a JSON string (RFC 8259, 7) of printable ASCII
// alone: what a client sent must not steer the terminal or the parser of who
// reads the log. Bytes that are not UTF-8 become U+FFFD.
func appendQuoted(b []byte, v string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range v {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case ' ' <= r && r < 0x7f:
			b = append(b, byte(r))
		case r > 0xffff:
			// A pair of surrogates.
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
