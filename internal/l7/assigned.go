package l7

import (
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/mintmark/mintmark/internal/httpid"
	"github.com/mintmark/mintmark/internal/route"
)

// answered is told of the header of a response. In pools that are watched, the
// witness hears of the IDs that the server assigns in it: in the Set-Cookie,
// header or Location that belongs to a place for IDs, or in a JSON body.
func (x *exchange) answered(res *http.Response) error {
	x.idle.touch()
	s := x.decision.Server
	if s == nil || !x.settings.watched[x.pool] {
		return nil
	}
	for i := range x.settings.IDs {
		id := &x.settings.IDs[i]
		switch id.Source.Kind() {
		case httpid.Cookie:
			for _, c := range res.Cookies() {
				if c.Name == id.Source.Name() && c.MaxAge >= 0 {
					x.assigned(s, id.Source, c.Value)
				}
			}
		case httpid.Header:
			if v := res.Header[id.Source.Header()]; len(v) > 0 {
				x.assigned(s, id.Source, v[0])
			}
		case httpid.Path:
			if at, err := url.Parse(res.Header.Get("Location")); err == nil {
				x.assignedIn(s, id.Source, func(v *httpid.Values) error {
					return id.Source.Find(&httpid.Message{Path: at.EscapedPath()}, 0, v)
				})
			}
		case httpid.JSON:
			if isJSON(res.Header) && !encoded(res.Header) && res.ContentLength <= id.Limit && x.request.Method != http.MethodHead {
				res.Body = &capture{ReadCloser: res.Body, x: x, server: s, id: id}
			}
		case httpid.Query:
			// It is the client that puts an ID there.
		}
	}
	return nil
}

func isJSON(h http.Header) bool { return h.Get("Content-Type") != "" && mayBeJSON(h) }

// assigned tells the witness of a value that s assigned.
func (x *exchange) assigned(s *route.Server, source *httpid.Source, value string) {
	if value == "" {
		return
	}
	found := x.assignedIn(s, source, func(v *httpid.Values) error { return source.FindValue(value, 0, v) })
	if !found {
		// It lacks what comes before an ID, or is written otherwise: it cannot
		// be routed, and that is worth to know. It is not to be learned.
		x.settings.Witness.Minted(s, fieldOf(source), []byte(value), false)
	}
}

// assignedIn tells the witness of the values that find adds.
func (x *exchange) assignedIn(s *route.Server, source *httpid.Source, find func(*httpid.Values) error) bool {
	v := new(httpid.Values)
	v.Reset()
	if find(v) != nil {
		return true // it cannot be told what was assigned
	}
	for _, found := range v.All() {
		x.settings.Witness.Minted(s, fieldOf(source), found.ID, true)
	}
	return len(v.All()) > 0
}

// A capture keeps a copy of a JSON body as it passes, up to the limit of its
// place for IDs and as far as there is memory for bodies.
type capture struct {
	io.ReadCloser
	x      *exchange
	server *route.Server
	id     *ID
	copied []byte
	over   bool
}

// Read implements io.Reader.
func (c *capture) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	if n > 0 && !c.over {
		c.keep(b[:n])
	}
	if errors.Is(err, io.EOF) && !c.over {
		c.over = true
		c.x.assignedIn(c.server, c.id.Source, func(v *httpid.Values) error { return c.id.Source.FindAssigned(c.copied, 0, v) })
		c.release()
	}
	return n, err
}

func (c *capture) keep(b []byte) {
	before := cap(c.copied)
	if int64(len(c.copied)+len(b)) > c.id.Limit {
		c.over = true
		c.release()
		return
	}
	c.copied = append(c.copied, b...) // alloc: in watched pools
	if grown := int64(cap(c.copied) - before); grown > 0 && !c.x.proxy.takeMemory(grown) {
		c.over = true
		c.x.proxy.bodies.Add(-int64(before))
		c.copied = nil
	}
}

func (c *capture) release() {
	c.x.proxy.bodies.Add(-int64(cap(c.copied)))
	c.copied = nil
}

// Close implements io.Closer.
func (c *capture) Close() error {
	c.release()
	c.over = true
	return c.ReadCloser.Close()
}
