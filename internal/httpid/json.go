package httpid

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep a JSON body may be nested, so that one of brackets
// alone keeps nothing but this many bits.
const maxDepth = 1024

// Errors of a body.
var (
	// ErrNotJSON is a body that does not begin as a JSON object. It has no ID.
	ErrNotJSON = errors.New("httpid: the body is not a JSON object")
	// ErrMalformed is a body that begins as a JSON object and is not one, or is
	// nested deeper than is followed. It is an ErrNotJSON too. A reader that looks less closely could
	// find an ID in it.
	ErrMalformed = fmt.Errorf("%w, although it begins as one", ErrNotJSON)
)

// FindJSON adds the string that the JSON object body has for s at its top
// level. The whole of body is read, because a key may come twice, and readers
// differ in which one they take: that is ErrConflict when the values differ.
func (s *Source) FindJSON(body []byte, at int, v *Values) error {
	return s.findKey(body, s.config.Name, at, v)
}

// FindAssigned is FindJSON for a response: the key is the one that a server
// assigns the ID in.
func (s *Source) FindAssigned(body []byte, at int, v *Values) error {
	key := s.config.Response
	if key == "" {
		key = s.config.Name
	}
	return s.findKey(body, key, at, v)
}

func (s *Source) findKey(body []byte, key string, at int, v *Values) error {
	p := jsonReader{b: bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF"))}
	raw, isString, found, err := p.member(key)
	if err != nil || !found || !isString {
		return err
	}
	if len(raw) > MaxValue {
		return nil
	}
	return s.add(string(unescapeString(raw)), at, v) // alloc: beside reading a body
}

// A jsonReader reads JSON (RFC 8259) from the front of b.
type jsonReader struct{ b []byte }

// member reads one object, whole, and returns the value of a key at its top
// level: for a string what stands between the quotes, else the value's text.
func (p *jsonReader) member(key string) (value []byte, isString, found bool, err error) {
	p.space()
	if !p.take('{') {
		return nil, false, false, ErrNotJSON
	}
	conflict := false // what comes after may still show that this is no JSON
	for first := true; ; first = false {
		p.space()
		if first && p.take('}') {
			break
		}
		name, ok := p.str()
		p.space()
		if !ok || !p.take(':') {
			return nil, false, false, ErrMalformed
		}
		p.space()
		got, str, ok := p.value()
		if !ok {
			return nil, false, false, ErrMalformed
		}
		if equalUnescaped(name, key) {
			if found && (str != isString || !sameValue(got, value, str)) {
				conflict = true
			}
			value, isString, found = got, str, true
		}
		p.space()
		if p.take('}') {
			break
		}
		if !p.take(',') {
			return nil, false, false, ErrMalformed
		}
	}
	p.space()
	if len(p.b) > 0 {
		return nil, false, false, ErrMalformed
	}
	if conflict {
		return nil, false, false, ErrConflict
	}
	return value, isString, found, nil
}

func sameValue(a, b []byte, isString bool) bool {
	if bytes.Equal(a, b) {
		return true
	}
	return isString && bytes.Equal(unescapeString(a), unescapeString(b))
}

func (p *jsonReader) space() {
	for len(p.b) > 0 {
		switch p.b[0] {
		case ' ', '\t', '\n', '\r':
			p.b = p.b[1:]
		default:
			return
		}
	}
}

func (p *jsonReader) take(c byte) bool {
	if len(p.b) == 0 || p.b[0] != c {
		return false
	}
	p.b = p.b[1:]
	return true
}

// value reads a value of any kind.
func (p *jsonReader) value() (text []byte, isString, ok bool) {
	if len(p.b) == 0 {
		return nil, false, false
	}
	switch p.b[0] {
	case '"':
		text, ok = p.str()
		return text, true, ok
	case '{', '[':
		begin := p.b
		if !p.nested() {
			return nil, false, false
		}
		return begin[:len(begin)-len(p.b)], false, true
	default:
		text, ok = p.word()
		return text, false, ok
	}
}

// str reads a string and returns what stands between its quotes.
func (p *jsonReader) str() ([]byte, bool) {
	if !p.take('"') {
		return nil, false
	}
	for i := 0; i < len(p.b); i++ {
		switch c := p.b[i]; {
		case c == '"':
			text := p.b[:i]
			p.b = p.b[i+1:]
			return text, true
		case c < ' ':
			return nil, false
		case c == '\\':
			n := escapeLength(p.b[i:])
			if n == 0 {
				return nil, false
			}
			i += n - 1
		}
	}
	return nil, false
}

// escapeLength returns the length of the escape that b begins with, 0 if it is
// none.
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if nibble(c) > 15 {
				return 0
			}
		}
		return 6
	}
	return 0
}

// word reads a number, true, false or null.
func (p *jsonReader) word() ([]byte, bool) {
	n := 0
	for n < len(p.b) {
		c := p.b[n]
		if c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != 'E' {
			break
		}
		n++
	}
	text := p.b[:n]
	p.b = p.b[n:]
	switch string(text) {
	case "true", "false", "null":
		return text, true
	}
	return text, isNumber(text)
}

// isNumber says whether b is a number (RFC 8259, 6).
func isNumber(b []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(b) && '0' <= b[n] && b[n] <= '9' {
			n++
		}
		b = b[n:]
		return n > 0
	}
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	if len(b) > 1 && b[0] == '0' && '0' <= b[1] && b[1] <= '9' {
		return false
	}
	if !digits() {
		return false
	}
	if len(b) > 0 && b[0] == '.' {
		b = b[1:]
		if !digits() {
			return false
		}
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		b = b[1:]
		if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(b) == 0
}

// nested reads an array or object with all that is in it. It does not recurse:
// one bit a level says which of the two it is.
func (p *jsonReader) nested() bool {
	var objects [maxDepth / 64]uint64
	depth := 0
	push := func() bool {
		if depth == maxDepth {
			return false
		}
		if p.b[0] == '{' {
			objects[depth/64] |= 1 << (depth % 64)
		} else {
			objects[depth/64] &^= 1 << (depth % 64)
		}
		depth++
		p.b = p.b[1:]
		return true
	}
	if !push() {
		return false
	}
	opened := true // nothing was read yet of the innermost one
	for depth > 0 {
		object := objects[(depth-1)/64]&(1<<((depth-1)%64)) != 0
		p.space()
		if p.closes(object) {
			depth--
			opened = false
			continue
		}
		if !opened && !p.take(',') {
			return false
		}
		p.space()
		if object {
			_, ok := p.str()
			p.space()
			if !ok || !p.take(':') {
				return false
			}
			p.space()
		}
		opened = false
		if len(p.b) == 0 {
			return false
		}
		if p.b[0] == '{' || p.b[0] == '[' {
			if !push() {
				return false
			}
			opened = true
			continue
		}
		if _, _, ok := p.value(); !ok {
			return false
		}
	}
	return true
}

func (p *jsonReader) closes(object bool) bool {
	if object {
		return p.take('}')
	}
	return p.take(']')
}

// equalUnescaped reports whether raw, the inside of a string, stands for want.
func equalUnescaped(raw []byte, want string) bool {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw) == want
	}
	return string(unescapeString(raw)) == want
}

// unescapeString returns what raw, the inside of a string, stands for.
func unescapeString(raw []byte) []byte {
	b := make([]byte, 0, len(raw)) // an escape is never shorter than what it stands for
	for len(raw) > 0 {
		if raw[0] != '\\' {
			b = append(b, raw[0])
			raw = raw[1:]
			continue
		}
		n := escapeLength(raw)
		if n == 2 {
			b = append(b, unescaped(raw[1]))
			raw = raw[2:]
			continue
		}
		r := rune(unit(raw))
		raw = raw[6:]
		if utf16.IsSurrogate(r) {
			low := rune(utf8.RuneError)
			if escapeLength(raw) == 6 {
				low = rune(unit(raw))
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				raw = raw[6:]
			}
		}
		b = utf8.AppendRune(b, r)
	}
	return b
}

// unescaped returns what a backslash and c stand for.
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// unit returns the number of an escape of six characters.
func unit(b []byte) uint16 {
	var u uint16
	for _, c := range b[2:6] {
		u = u<<4 | uint16(nibble(c))
	}
	return u
}
