package l7

import (
	"errors"
	"net/http"
	"strings"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/httpid"
	"github.com/mintmark/mintmark/internal/route"
)

const (
	fieldPath  = idspace.FieldPath
	fieldQuery = idspace.FieldQuery
)

// fieldOf returns the field that a source's IDs stand in.
func fieldOf(s *httpid.Source) idspace.Field {
	return [...]idspace.Field{
		httpid.Cookie: idspace.FieldCookie,
		httpid.Header: idspace.FieldHeader,
		httpid.Query:  idspace.FieldQuery,
		httpid.Path:   idspace.FieldPath,
		httpid.JSON:   idspace.FieldJSON,
	}[s.Kind()]
}

// FieldOf returns the field that a source's IDs stand in.
func FieldOf(s *httpid.Source) idspace.Field { return fieldOf(s) }

// findIDs collects the candidates of the request, in order, up to the first
// that decides: a body is not read for an ID that would not count. It returns
// why the request is refused.
func (x *exchange) findIDs() route.Cause {
	x.values.Reset()
	m := httpid.Message{Header: x.request.Header, Query: x.request.URL.RawQuery, Path: x.request.URL.EscapedPath()}
	for i := range x.settings.IDs {
		id := &x.settings.IDs[i]
		var err error
		if fieldOf(id.Source) == idspace.FieldJSON {
			if x.pool.Assigned(x.candidates) {
				return ""
			}
			body, cause := x.readBody(id)
			if cause != "" {
				return cause
			}
			if body == nil {
				continue
			}
			err = id.Source.FindJSON(body, i, &x.values)
		} else {
			err = id.Source.Find(&m, i, &x.values)
		}
		x.collect()
		switch {
		case errors.Is(err, httpid.ErrConflict):
			return CauseConflictingIDs
		case errors.Is(err, httpid.ErrTooMany):
			return CauseTooManyIDs
		case errors.Is(err, httpid.ErrMalformed):
			return CauseBadBody
		default:
			// What is no JSON has no ID.
		}
	}
	return ""
}

// collect makes candidates of the values found so far.
func (x *exchange) collect() {
	all := x.values.All()
	x.candidates = x.list[:len(all)]
	for i, v := range all {
		x.list[i] = route.Candidate{
			Field:  fieldOf(x.settings.IDs[v.Source].Source),
			ID:     v.ID,
			Source: uint8(v.Source + 1), // there are few sources
		}
	}
}

// mayBeJSON reports whether a body may hold JSON: it says so, or nothing.
func mayBeJSON(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "" || kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// encoded reports whether a body has a content coding.
func encoded(h http.Header) bool {
	for _, line := range h["Content-Encoding"] {
		for coding := range strings.SplitSeq(line, ",") {
			if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				return true
			}
		}
	}
	return false
}
