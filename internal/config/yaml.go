package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parseYAML turns a file into a tree. It returns a nil tree when the problems
// are such that nothing of the file can be trusted.
func parseYAML(data []byte) (*node, *report) {
	r := &report{}
	data = bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF")) // byte order mark
	if !checkText(data, r) {
		return nil, r
	}
	// The YAML parser loses count of lines that end in CR LF.
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
	file := parseTokens(text, r)
	if file == nil {
		return nil, r
	}
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		b := &builder{report: r, anchors: map[string]*node{}}
		root := b.node(d.Body, nil)
		return root, r
	}
	r.add(1, nil, "is empty", `write at least "version: 1", a listener and a pool`)
	return nil, r
}

// parseTokens runs the YAML parser; it returns nil when that finds a problem.
//
// A panic of the parser is a problem of the file, too: a running balancer
// reads files again, and must not die of one. No panic is known, and fuzzing
// fails at this message.
func parseTokens(text string, r *report) (file *ast.File) {
	defer func() {
		if v := recover(); v != nil {
			file = nil
			r.add(1, nil, "makes the YAML parser fail: "+quote(fmt.Sprint(v)),
				"write it in a plainer style, and please report the file as a bug")
		}
	}()
	tokens, ok := checkTokens(lexer.Tokenize(text), r)
	if !ok {
		return nil
	}
	// Duplicate keys are found while the tree is built: all of them, and with
	// both lines.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	return file
}

// syntax reports what the YAML parser found. Its error is not formatted by
// itself, because that quotes the source, in time that grows with the square
// of the file.
func (r *report) syntax(err error) {
	var at interface {
		GetToken() *token.Token
		GetMessage() string
	}
	line, message := 1, "it cannot be read"
	if errors.As(err, &at) {
		message = at.GetMessage()
		line = tokenLine(at.GetToken())
	}
	message = strings.ReplaceAll(message, "\t", "<tab>")
	r.add(line, nil, "is not valid YAML: "+message, syntaxRemedy(message))
}

func syntaxRemedy(message string) string {
	switch {
	case strings.Contains(message, "reserved character"):
		return "put the value in quotes"
	case strings.Contains(message, "tab"):
		return "indent with spaces"
	case strings.Contains(message, "end token"), strings.Contains(message, "must be specified"):
		return "look for the bracket, comma or quote that is missing on this line or below"
	case strings.Contains(message, "quot"), strings.Contains(message, "end character"):
		return "close the quote"
	}
	return "compare the indentation, the colons and the quotes with the lines around it"
}

func tokenLine(t *token.Token) int {
	if t == nil || t.Position == nil || t.Position.Line < 1 {
		return 1
	}
	return t.Position.Line
}

// checkText refuses what is no text. The YAML parser would take control
// characters for text, and a person would not see them.
func checkText(data []byte, r *report) bool {
	line := 1
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			r.add(line, nil, fmt.Sprintf("has a byte %#02x that is not UTF-8", data[i]), "save the file as UTF-8")
			return false
		case c == '\n':
			line++
		case c == '\t', c == '\r':
		case c < ' ', c == 0x7F:
			r.add(line, nil, fmt.Sprintf("has a control character %U", c), "remove it; is this the right file?")
			return false
		}
		i += size
	}
	return true
}

// checkTokens bounds how deep and how wide the document is before the parser,
// which recurses, gets to see it, and refuses the parts of YAML that a
// configuration does not need. It returns the tokens of the first document.
func checkTokens(tokens token.Tokens, r *report) (token.Tokens, bool) {
	var s shape
	for i, t := range tokens {
		if t.Type == token.InvalidType {
			continue // the parser says what is wrong
		}
		switch t.Type {
		case token.DocumentHeaderType, token.DocumentEndType:
			if s.content {
				if hasContent(tokens[i+1:]) {
					r.add(tokenLine(t), nil, "has a second document",
						"keep one document: remove "+quote(t.Value)+" and what does not belong to this configuration")
				}
				return tokens[:i], true
			}
		case token.DirectiveType:
			if s.content {
				r.add(tokenLine(t), nil, "has a value that begins with %", "put the value in quotes")
			} else {
				r.add(tokenLine(t), nil, "has a YAML directive", "remove the line that begins with %")
			}
			return nil, false
		case token.TagType:
			r.add(tokenLine(t), nil, "has the YAML tag "+quote(t.Value),
				"remove the tag; put the value in quotes if it must be text")
			return nil, false
		case token.MappingKeyType:
			r.add(tokenLine(t), nil, `has a complex key ("?")`, `write "name: value"`)
			return nil, false
		case token.CommentType:
		default:
			s.content = true
			if f := s.add(tokens[i:]); f != nil {
				r.add(tokenLine(t), nil, f.reason, f.remedy)
				return nil, false
			}
		}
	}
	return tokens, true
}

func hasContent(tokens token.Tokens) bool {
	for _, t := range tokens {
		switch t.Type {
		case token.DocumentHeaderType, token.DocumentEndType, token.CommentType:
		default:
			return true
		}
	}
	return false
}
