package l7

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

// A heldBody is the beginning of a body, read for the ID that may be in it.
type heldBody struct {
	bytes []byte
	whole bool // there is nothing after it
}

// readBody returns the body of the request when an ID may be in it, nil when
// none can be, or why the request is refused.
func (x *exchange) readBody(id *ID) ([]byte, route.Cause) {
	r := x.request
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 || r.Method == http.MethodConnect || !mayBeJSON(r.Header) {
		return nil, ""
	}
	if encoded(r.Header) || r.ContentLength > id.Limit {
		return x.overLimit(id)
	}
	if x.body == nil || !x.body.whole && int64(len(x.body.bytes)) <= id.Limit {
		if cause := x.hold(id.Limit); cause != "" {
			return nil, cause
		}
	}
	if !x.body.whole || int64(len(x.body.bytes)) > id.Limit {
		return x.overLimit(id)
	}
	return x.body.bytes, ""
}

func (x *exchange) overLimit(id *ID) ([]byte, route.Cause) {
	if !id.BalanceOverflow {
		return nil, CauseBodyOverLimit
	}
	x.poolMetrics.Skipped(idspace.FieldJSON, 1)
	return nil, ""
}

// hold reads the body up to one byte more than limit, which says whether it is
// longer. Memory is taken as the body comes, not as its sender announces it.
func (x *exchange) hold(limit int64) route.Cause {
	if x.body == nil {
		x.body = &heldBody{}
	}
	b := x.body
	for int64(len(b.bytes)) <= limit {
		if len(b.bytes) == cap(b.bytes) {
			grown := min(max(4<<10, 2*int64(cap(b.bytes))), limit+1)
			if !x.proxy.takeMemory(grown - int64(cap(b.bytes))) {
				return CauseBodyBudget
			}
			next := make([]byte, len(b.bytes), grown)
			copy(next, b.bytes)
			b.bytes = next
		}
		n, err := x.request.Body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		x.idle.touch()
		switch {
		case errors.Is(err, io.EOF):
			b.whole = true
			return ""
		case err != nil:
			return x.bodyCause(err)
		}
	}
	return ""
}

// bodyCause says why a body could not be read.
func (x *exchange) bodyCause(err error) route.Cause {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return CauseIdle
	case malformed(err):
		return CauseBadBody
	}
	return CauseClientClosed
}

// takeMemory reserves n bytes for a body and reports whether there was room.
func (p *Proxy) takeMemory(n int64) bool {
	if p.bodies.Add(n) > p.cfg.BodyBudget {
		p.bodies.Add(-n)
		return false
	}
	return true
}

// releaseBody gives back the memory of the body.
func (x *exchange) releaseBody() {
	if x.body != nil {
		x.proxy.bodies.Add(-int64(cap(x.body.bytes)))
		x.body = nil
	}
}

// A bodyReader is the body of a request on its way to a server. Closing it
// closes nothing: it may still be sent to another server when this one could
// not be connected to, and net/http closes the client's side itself.
type bodyReader struct {
	x    *exchange
	rest io.Reader
	read int64
}

// errBodyTooLarge is a body beyond Settings.MaxBody.
var errBodyTooLarge = errors.New("the body of the request is too large")

// Read implements io.Reader.
func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.rest.Read(p)
	b.x.idle.touch()
	b.read += int64(n)
	if most := b.x.settings.MaxBody; most > 0 && b.read > most {
		return 0, errBodyTooLarge
	}
	switch {
	case errors.Is(err, io.EOF):
		b.x.cleanTrailer() // it is complete now
	case malformed(err):
		b.x.broken = err
	}
	return n, err
}

// Close implements io.Closer.
func (b *bodyReader) Close() error { return nil }

// setBody makes what was read, and what was not, the body of out, whose body
// is the client's.
func (x *exchange) setBody(out *http.Request) {
	if out.Body == nil || out.Body == http.NoBody {
		return
	}
	rest := io.Reader(out.Body)
	if x.body != nil {
		rest = io.MultiReader(bytes.NewReader(x.body.bytes), rest)
		if x.body.whole {
			// The whole of it is here, so it can be sent again when a
			// connection was closed before any of it was written.
			held := x.body.bytes
			rest = bytes.NewReader(held)
			out.GetBody = func() (io.ReadCloser, error) { return &bodyReader{x: x, rest: bytes.NewReader(held)}, nil }
			out.Header.Del("Expect") // it was answered
		}
	}
	out.Body = &bodyReader{x: x, rest: rest}
}
