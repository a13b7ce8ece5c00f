package httpid

// Hot file: see find.go.

import (
	"encoding/base64"
	"strings"
)

// add cuts and decodes a value and adds it. What cannot be decoded is no ID.
func (s *Source) add(value string, at int, v *Values) error {
	if len(value) > MaxValue {
		return nil
	}
	if after := s.config.After; after != "" {
		_, rest, ok := strings.Cut(value, after)
		if !ok {
			return nil
		}
		value = rest
	}
	start := len(v.buf)
	var ok bool
	switch s.config.Encoding {
	case Hex:
		v.buf, ok = appendHex(v.buf, value)
	case Base64URL:
		v.buf, ok = appendBase64(v.buf, value)
	case UUID:
		v.buf, ok = appendUUID(v.buf, value)
	default:
		v.buf, ok = append(v.buf, value...), true
	}
	if !ok {
		v.buf = v.buf[:start]
		return nil
	}
	return v.keep(start, at)
}

// keep makes what was written from start on a value.
func (v *Values) keep(start, at int) error {
	if len(v.buf) == start {
		return nil
	}
	if v.n == len(v.list) {
		return ErrTooMany
	}
	v.list[v.n] = Value{Source: at, ID: v.buf[start:len(v.buf):len(v.buf)]}
	v.n++
	return nil
}

// addEscaped adds a value with percent escapes; plus says that + is a space.
func (s *Source) addEscaped(value string, plus bool, at int, v *Values) error {
	if len(value) > MaxValue {
		return nil
	}
	if strings.IndexByte(value, '%') < 0 && !(plus && strings.IndexByte(value, '+') >= 0) {
		return s.add(value, at, v)
	}
	var buf [MaxValue]byte
	n := 0
	for i := 0; i < len(value); i++ {
		c, width, ok := unescape(value[i:], plus)
		if !ok {
			return nil
		}
		buf[n] = c
		n++
		i += width - 1
	}
	return s.add(string(buf[:n]), at, v) // alloc: escapes are rare in IDs
}

// addBase64 adds a value in base64 (RFC 4648, 4).
func (s *Source) addBase64(coded string, at int, v *Values) error {
	if len(coded) > MaxValue {
		return nil
	}
	text, err := base64.StdEncoding.Strict().DecodeString(coded) // alloc: the form is rare
	if err != nil {
		return nil //nolint:nilerr // what cannot be decoded is no ID
	}
	return s.add(string(text), at, v)
}

// unescape returns the first byte of a value with percent escapes, and how
// many characters it takes.
func unescape(s string, plus bool) (c byte, width int, ok bool) {
	switch {
	case s[0] == '+' && plus:
		return ' ', 1, true
	case s[0] != '%':
		return s[0], 1, true
	case len(s) < 3:
		return 0, 0, false
	}
	hi, lo := nibble(s[1]), nibble(s[2])
	return hi<<4 | lo&15, 3, hi < 16 && lo < 16
}

// nibble returns the value of a hexadecimal digit, 255 for other bytes.
func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// equalEscaped reports whether escaped stands for plain.
func equalEscaped(escaped, plain string, plus bool) bool {
	if escaped == plain {
		return true
	}
	for len(escaped) > 0 {
		c, width, ok := unescape(escaped, plus)
		if !ok || plain == "" || c != plain[0] {
			return false
		}
		escaped, plain = escaped[width:], plain[1:]
	}
	return plain == ""
}

func appendHex(b []byte, s string) ([]byte, bool) {
	if len(s)%2 != 0 {
		return b, false
	}
	for i := 0; i < len(s); i += 2 {
		hi, lo := nibble(s[i]), nibble(s[i+1])
		if hi > 15 || lo > 15 {
			return b, false
		}
		b = append(b, hi<<4|lo)
	}
	return b, true
}

// appendBase64 appends what s stands for. Only the canonical form is taken: a
// second spelling of an ID would be an ID of its own to whoever compares text.
func appendBase64(b []byte, s string) ([]byte, bool) {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if s[i] == '\r' || s[i] == '\n' {
			return b, false // the standard library skips them
		}
	}
	b, err := base64.RawURLEncoding.Strict().AppendDecode(b, []byte(s))
	return b, err == nil
}

func appendUUID(b []byte, s string) ([]byte, bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return b, false
	}
	ok := true
	for _, part := range [...]string{s[:8], s[9:13], s[14:18], s[19:23], s[24:]} {
		if ok {
			b, ok = appendHex(b, part)
		}
	}
	return b, ok
}

// FindValue adds what a value that stands in the source's place comes to: it
// is cut and decoded. It is for values that somebody already has.
func (s *Source) FindValue(value string, at int, v *Values) error {
	switch s.config.Kind {
	case Header:
		return s.findHeader([]string{value}, at, v)
	case Cookie:
		return s.add(unquote(trim(value)), at, v)
	case Query, Path:
		return s.addEscaped(value, s.config.Kind == Query, at, v)
	default:
		return s.add(value, at, v)
	}
}
