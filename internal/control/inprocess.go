package control

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control/access"
)

// Client returns a client of the API for who has proved within this process
// that it is id. Its calls go through the same rules as those from outside.
func (s *Server) Client(id access.Identity) mintmarkv1connect.ControlServiceClient {
	return mintmarkv1connect.NewControlServiceClient(&inProcess{handler: s.inside, id: id}, "http://control-plane")
}

// Revision returns the revision of the store.
func (s *Server) Revision(ctx context.Context) (uint64, error) {
	_, rev, err := s.store.List(ctx, "none/")
	return rev, err
}

// An inProcess carries a call to the handler without a socket.
type inProcess struct {
	handler http.Handler
	id      access.Identity
}

// Do implements connect.HTTPClient.
func (c *inProcess) Do(r *http.Request) (*http.Response, error) {
	r = r.Clone(access.As(r.Context(), c.id))
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := &recorder{header: make(http.Header), status: http.StatusOK}
	c.handler.ServeHTTP(w, r)
	_ = r.Body.Close()
	return &http.Response{
		StatusCode: w.status, Status: http.StatusText(w.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// A recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if !r.wrote {
		r.status, r.wrote = status, true
	}
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	r.wrote = true
	return r.body.Write(b)
}
