package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/explain"
	"github.com/mintmark/mintmark/internal/httpid"
	"github.com/mintmark/mintmark/internal/l7"
	"github.com/mintmark/mintmark/internal/route"
)

// readHTTP reads the operand for a listener of protocol http: a value as it
// stands in one of the listener's places for IDs, or a whole request, as text.
func readHTTP(stdin io.Reader, operand string, field idspace.Field, lc *config.Listener) (*explain.Message, error) {
	data, _, err := readOperand(stdin, operand)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, usagef("the value is empty")
	}
	m := &explain.Message{HTTP: true}
	var sources []*httpid.Source
	for _, id := range lc.HTTP.IDs {
		s, err := httpid.New(id.Source)
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	find := func(s *httpid.Source, at int, v *httpid.Values) error {
		if field != idspace.FieldNone && l7.FieldOf(s) != field {
			return nil
		}
		return s.FindValue(string(bytes.TrimRight(data, "\r\n")), at, v)
	}
	if r, body := parseRequest(data); r != nil {
		m.Host, m.Path = r.Host, r.URL.Path
		in := httpid.Message{Header: r.Header, Query: r.URL.RawQuery, Path: r.URL.EscapedPath()}
		find = func(s *httpid.Source, at int, v *httpid.Values) error {
			if s.Kind() == httpid.JSON {
				if int64(len(body)) > lc.HTTP.IDs[at].Limit {
					m.Notes = append(m.Notes, "the body is longer than the limit of "+s.String()+", and over_limit applies")
					return nil
				}
				return s.FindJSON(body, at, v)
			}
			return s.Find(&in, at, v)
		}
	}
	var v httpid.Values
	v.Reset()
	for at, s := range sources {
		if err := find(s, at, &v); errors.Is(err, httpid.ErrConflict) || errors.Is(err, httpid.ErrTooMany) {
			return nil, withHint(err, "the balancer refuses such a request with 400")
		}
	}
	for _, found := range v.All() {
		m.Candidates = append(m.Candidates, route.Candidate{
			Field: l7.FieldOf(sources[found.Source]), ID: found.ID, Source: uint8(found.Source + 1),
		})
	}
	return m, nil
}

// parseRequest reads an HTTP/1.1 request; nil when it is none.
func parseRequest(data []byte) (*http.Request, []byte) {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	if !strings.Contains(string(line), " HTTP/1.") {
		return nil, nil
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		return nil, nil
	}
	_, body, ok := bytes.Cut(data, []byte("\r\n\r\n"))
	if !ok {
		_, body, _ = bytes.Cut(data, []byte("\n\n"))
	}
	return r, body
}
