package httpid

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"
)

// A Kind is where in a message an ID stands.
type Kind uint8

// The kinds.
const (
	Cookie Kind = iota // the value of a cookie
	Header             // the value of a header field
	Query              // the value of a parameter of the query
	Path               // a segment of the path
	JSON               // a string at the top level of a JSON body
)

// String returns the name of k in the configuration file.
func (k Kind) String() string {
	return [...]string{"cookie", "header", "query", "path", "json"}[k]
}

// An Encoding is how a value writes the bytes of its ID.
type Encoding uint8

// The encodings.
const (
	Text      Encoding = iota // the value is the ID
	Hex                       // two hexadecimal digits for each byte
	Base64URL                 // RFC 4648, 5, with or without padding
	UUID                      // 8-4-4-4-12 hexadecimal digits (RFC 9562, 4): 16 bytes
)

// Config says where an ID stands.
type Config struct {
	Kind Kind
	// Name is that of the cookie, header, parameter or JSON key; for a path,
	// the pattern: see [CheckPattern].
	Name string
	// After cuts the value: the ID is what comes after the first occurrence.
	// A value without one has no ID. "": the whole value.
	After    string
	Encoding Encoding
	// Response is the key of a JSON response that the server assigns the ID
	// in. "": the key that requests have.
	Response string
}

// A Source is one place where an ID may stand. It is immutable.
type Source struct {
	config  Config
	header  string   // canonical name of the field to look in
	pattern []string // segments of a path pattern
	mcp     bool     // the value may be in MCP's base64 form
}

// mcpPrefix is that of the headers in which MCP mirrors parameters, whose
// values have a form for what a header cannot hold.
const mcpPrefix = "Mcp-Param-"

// New returns the source that c describes.
func New(c Config) (*Source, error) {
	s := &Source{config: c}
	if c.Name == "" {
		return nil, fmt.Errorf("the %v has no name", c.Kind)
	}
	switch c.Kind {
	case Cookie:
		s.header = "Cookie"
		if !isToken(c.Name) {
			return nil, fmt.Errorf("%q is not the name of a cookie", c.Name)
		}
	case Header:
		if !isToken(c.Name) {
			return nil, fmt.Errorf("%q is not the name of a header", c.Name)
		}
		s.header = textproto.CanonicalMIMEHeaderKey(c.Name)
		s.mcp = strings.HasPrefix(s.header, mcpPrefix)
	case Path:
		if err := CheckPattern(c.Name); err != nil {
			return nil, err
		}
		s.pattern = strings.Split(c.Name[1:], "/")
	case Query, JSON:
	}
	return s, nil
}

// Kind returns where the source looks.
func (s *Source) Kind() Kind { return s.config.Kind }

// Name returns the name that the source was made with.
func (s *Source) Name() string { return s.config.Name }

// Header returns the canonical name of the header that the source reads, ""
// when it reads none.
func (s *Source) Header() string { return s.header }

// String returns the source as the configuration file writes it.
func (s *Source) String() string { return s.config.Kind.String() + " " + s.config.Name }

// idSegment is how a pattern writes the segment that is the ID, anySegment one
// that may be anything.
const (
	idSegment  = "{id}"
	anySegment = "*"
)

// CheckPattern returns what is wrong with the pattern of a path, and what to
// write instead. A pattern begins with a slash. Of its segments one is {id},
// and others may be *, which stands for anything; it matches a path that
// begins with such segments, so /whip/{id} takes /whip/7 and /whip/7/ice.
func CheckPattern(pattern string) error {
	rest, ok := strings.CutPrefix(pattern, "/")
	if !ok {
		return fmt.Errorf("%q does not begin with a slash; write a pattern such as /whip/{id}", pattern)
	}
	ids := 0
	for segment := range strings.SplitSeq(rest, "/") {
		switch {
		case segment == idSegment:
			ids++
		case segment == anySegment:
		case segment == "", segment == ".", segment == "..":
			return fmt.Errorf("%q has the segment %q; write a pattern such as /whip/{id}", pattern, segment)
		case strings.ContainsAny(segment, "{}*?#%"):
			return fmt.Errorf("%q has the segment %q; write {id} or * as a whole segment, and others as they are without escapes", pattern, segment)
		}
	}
	if ids != 1 {
		return fmt.Errorf("%q has %d segments {id}; write one, as in /whip/{id}", pattern, ids)
	}
	return nil
}

// isToken reports whether s is a token (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// Errors of a message that must be refused, because two readers could take it
// in two ways.
var (
	// ErrConflict is a header or a JSON key that is there twice with different
	// values.
	ErrConflict = errors.New("httpid: the ID is there twice, with different values")
	// ErrTooMany is a message with more values than MaxValues.
	ErrTooMany = errors.New("httpid: too many values that may be the ID")
)
