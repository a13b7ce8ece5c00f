package web

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A field is a header field of HTTP/2, as it is on the wire.
type field struct{ name, value string }

// A smuggle is a case of the corpus: what is sent, and what may become of it.
type smuggle struct {
	name string // with the file's
	// want is "refuse", "forward" or "either".
	want string
	// server and target are what the backend must have seen; "": not checked.
	server, target string
	// responses is how many come back when it is forwarded.
	responses int
	// ends says that the client ends its stream behind the case, which the
	// balancer would wait on otherwise.
	ends bool
	// raw is what is sent with HTTP/1.1.
	raw string
	// fields, data and trailers are what is sent with HTTP/2.
	fields, trailers []field
	data             []string
}

// readCorpus reads testdata/smuggling/*.txt. A case is lines of a keyword and
// its values, which are quoted as in Go:
//
//	case NAME              begins one
//	want refuse            or forward, or either
//	server a               the server that it must reach
//	target "/path"         what that must have been asked for
//	responses 2            how many requests it is, one without this line
//	ends                   the client ends its stream behind it
//	send "..."             bytes of HTTP/1.1
//	repeat 70000 "..."     bytes again and again
//	h2 "name" "value"      a field of an HTTP/2 request
//	data "..."             a DATA frame behind it
//	trailer "name" "value" a field of a HEADERS frame behind that
//
// Lines that begin with # say why.
func readCorpus(t *testing.T) []smuggle {
	t.Helper()
	files, err := filepath.Glob("testdata/smuggling/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []smuggle
	seen := map[string]bool{}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		group := strings.TrimSuffix(filepath.Base(file), ".txt")
		lines := bufio.NewScanner(f)
		for n := 1; lines.Scan(); n++ {
			if all, err = addLine(all, group, lines.Text()); err != nil {
				t.Fatalf("%s:%d: %v", file, n, err)
			}
		}
		f.Close()
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range all {
		if seen[c.name] || c.want == "" || (c.raw == "") == (len(c.fields) == 0) {
			t.Fatalf("case %q is there twice, or lacks something", c.name)
		}
		seen[c.name] = true
	}
	return all
}

func addLine(all []smuggle, group, line string) ([]smuggle, error) {
	keyword, rest, _ := strings.Cut(line, " ")
	if keyword == "" || keyword[0] == '#' {
		return all, nil
	}
	if keyword == "case" {
		return append(all, smuggle{name: group + ": " + rest, responses: 1}), nil
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%q stands before any case", line)
	}
	c := &all[len(all)-1]
	var err error
	switch keyword {
	case "want":
		c.want = rest
	case "server":
		c.server = rest
	case "ends":
		c.ends = true
	case "responses":
		c.responses, err = strconv.Atoi(rest)
	case "repeat":
		count, text, _ := strings.Cut(rest, " ")
		var n int
		if n, err = strconv.Atoi(count); err == nil {
			text, err = strconv.Unquote(text)
			c.raw += strings.Repeat(text, n)
		}
	case "target", "send", "data":
		var text string
		text, err = strconv.Unquote(rest)
		switch keyword {
		case "target":
			c.target = text
		case "send":
			c.raw += text
		default:
			c.data = append(c.data, text)
		}
	case "h2", "trailer":
		var name, value string
		if name, value, err = unquoteTwo(rest); keyword == "h2" {
			c.fields = append(c.fields, field{name, value})
		} else {
			c.trailers = append(c.trailers, field{name, value})
		}
	default:
		err = fmt.Errorf("there is no keyword %q", keyword)
	}
	return all, err
}

func unquoteTwo(s string) (first, second string, err error) {
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", s, err)
	}
	if first, err = strconv.Unquote(quoted); err != nil {
		return "", "", err
	}
	second, err = strconv.Unquote(strings.TrimSpace(s[len(quoted):]))
	return first, second, err
}
