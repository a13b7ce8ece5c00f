package httpid

// Hot file: each request goes through it. Budget: no allocation while all
// values of a message fit into the buffer, one pass over each cookie header,
// query and path.

import "strings"

const (
	// MaxValues is how many values a message may have for all sources
	// together. It bounds the lookups that one request can cause.
	MaxValues = 16
	// MaxValue is the longest value that is looked at, in bytes. A longer one
	// is no ID; it bounds what is copied and decoded.
	MaxValue = 4096
)

// A Value is what a message has for a source.
type Value struct {
	Source int    // index that Find was given
	ID     []byte // cut and decoded; valid until the next Reset
}

// Values collects the values of one message. Its zero value is ready; keep it
// for the next message, after Reset.
type Values struct {
	list   [MaxValues]Value
	n      int
	buf    []byte
	inline [512]byte // where buf begins
}

// Reset forgets all values.
func (v *Values) Reset() { v.n, v.buf = 0, v.inline[:0] }

// All returns the values in the order in which they were found.
func (v *Values) All() []Value { return v.list[:v.n] }

// A Message is what of a request or response is needed, as net/http has it.
type Message struct {
	Header map[string][]string // canonical names
	Query  string              // as on the wire
	Path   string              // as on the wire, with escapes
}

// Find adds the values that m has for s, whose index is at. For JSON see
// [Source.FindJSON].
func (s *Source) Find(m *Message, at int, v *Values) error {
	switch s.config.Kind {
	case Cookie:
		return s.findCookie(m.Header["Cookie"], at, v)
	case Header:
		return s.findHeader(m.Header[s.header], at, v)
	case Query:
		return s.findQuery(m.Query, at, v)
	case Path:
		segment, _, ok := s.match(m.Path)
		if !ok {
			return nil
		}
		return s.addEscaped(segment, false, at, v)
	default:
		return nil
	}
}

// findCookie goes through Cookie headers (RFC 6265, 4.2.1). All values of the
// name count.
func (s *Source) findCookie(lines []string, at int, v *Values) error {
	for _, line := range lines {
		for len(line) > 0 {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			name, value, ok := strings.Cut(pair, "=")
			if !ok || trim(name) != s.config.Name {
				continue
			}
			if err := s.add(unquote(trim(value)), at, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Source) findHeader(values []string, at int, v *Values) error {
	if len(values) == 0 {
		return nil
	}
	for _, other := range values[1:] {
		if other != values[0] {
			return ErrConflict
		}
	}
	value := values[0]
	if s.mcp {
		if coded, ok := mcpCoded(value); ok {
			return s.addBase64(coded, at, v)
		}
	}
	return s.add(value, at, v)
}

// mcpCoded returns the middle of =?base64?...?=.
func mcpCoded(value string) (string, bool) {
	const prefix, suffix = "=?base64?", "?="
	if len(value) < len(prefix)+len(suffix) || !strings.EqualFold(value[:len(prefix)], prefix) || !strings.HasSuffix(value, suffix) {
		return "", false
	}
	return value[len(prefix) : len(value)-len(suffix)], true
}

// findQuery goes through the parameters, which end with "&". To some servers
// they end with ";" too, so what stands between those counts as well.
func (s *Source) findQuery(query string, at int, v *Values) error {
	if err := s.findParameters(query, "&", at, v); err != nil || strings.IndexByte(query, ';') < 0 {
		return err
	}
	return s.findParameters(query, "&;", at, v)
}

func (s *Source) findParameters(query, separators string, at int, v *Values) error {
	for len(query) > 0 {
		pair := query
		if i := strings.IndexAny(query, separators); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			query = ""
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok || !equalEscaped(name, s.config.Name, true) {
			continue
		}
		if err := s.addEscaped(value, true, at, v); err != nil {
			return err
		}
	}
	return nil
}

// match returns the segment of an escaped path that the pattern calls the ID,
// and where in the path it begins.
func (s *Source) match(path string) (segment string, begin int, ok bool) {
	if path == "" || path[0] != '/' {
		return "", 0, false
	}
	pos := 1
	for _, want := range s.pattern {
		if pos > len(path) {
			return "", 0, false
		}
		end := len(path)
		if i := strings.IndexByte(path[pos:], '/'); i >= 0 {
			end = pos + i
		}
		got := path[pos:end]
		switch {
		case want == idSegment:
			segment, begin = got, pos
		case want == anySegment:
		case !equalEscaped(got, want, false):
			return "", 0, false
		}
		pos = end + 1
	}
	return segment, begin, segment != ""
}

// trim removes the white space that HTTP allows (RFC 9110, 5.6.3).
func trim(s string) string { return strings.Trim(s, " \t") }

// unquote removes the quotes that a cookie's value may stand in.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// masked stands for an ID where it must not be shown.
const masked = "***"

// Mask returns a path and a query, as they are on the wire, without the values
// that the source would find in them.
func (s *Source) Mask(path, query string) (maskedPath, maskedQuery string) {
	switch s.config.Kind {
	case Path:
		if segment, begin, ok := s.match(path); ok {
			path = path[:begin] + masked + path[begin+len(segment):]
		}
	case Query:
		var b strings.Builder
		for len(query) > 0 {
			end := strings.IndexAny(query, "&;") // as findQuery reads them
			if end < 0 {
				end = len(query)
			}
			name, _, ok := strings.Cut(query[:end], "=")
			if ok && equalEscaped(name, s.config.Name, true) {
				b.WriteString(name + "=" + masked)
			} else {
				b.WriteString(query[:end])
			}
			if end < len(query) {
				b.WriteByte(query[end])
				end++
			}
			query = query[end:]
		}
		query = b.String()
	default:
	}
	return path, query
}
