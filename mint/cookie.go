package mint

import (
	"bufio"
	"net"
	"net/http"
	"strings"
)

// CookieHandler returns a handler that puts marks into a session cookie, for
// session libraries that make their tokens themselves. next, with the library
// inside, sees the cookie without the mark; the client sees it with one.
//
//	http.ListenAndServe(addr, client.CookieHandler("session", sessions.LoadAndSave(mux)))
//
// A cookie that does not begin with a mark of this server reaches next as it
// is, so tokens of before the marks stay good. Nothing is marked before there
// is an assignment.
func (c *Client) CookieHandler(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lines := r.Header["Cookie"]; len(lines) > 0 {
			r = r.Clone(r.Context())
			for i, line := range lines {
				r.Header["Cookie"][i] = c.unmarkCookie(name, line)
			}
		}
		m := &markingWriter{ResponseWriter: w, client: c, name: name}
		next.ServeHTTP(m, r)
		m.mark() // of a response that is all header
	})
}

// unmarkCookie returns the value of a Cookie header with the marks taken off
// the cookies of a name.
func (c *Client) unmarkCookie(name, line string) string {
	pairs := strings.Split(line, ";")
	for i, pair := range pairs {
		key, id, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if key != name {
			continue
		}
		if own, ok := c.CutMark(id); ok {
			pairs[i] = key + "=" + own
			if i > 0 {
				pairs[i] = " " + pairs[i]
			}
		}
	}
	return strings.Join(pairs, ";")
}

// markCookie returns the value of a Set-Cookie header with a mark in front of
// the ID, if it sets the cookie of the name to something.
func (c *Client) markCookie(name, line string) string {
	rest, ok := strings.CutPrefix(line, name+"=")
	if !ok || rest == "" || rest[0] == ';' {
		return line // of another cookie, or one that ends the session
	}
	marked, err := c.AddMark(rest)
	if err != nil {
		return line
	}
	return name + "=" + marked
}

// A markingWriter marks the cookies that are set, when the header is complete.
type markingWriter struct {
	http.ResponseWriter
	client *Client
	name   string
	marked bool
}

func (w *markingWriter) mark() {
	if w.marked {
		return
	}
	w.marked = true
	lines := w.Header()["Set-Cookie"]
	for i, line := range lines {
		lines[i] = w.client.markCookie(w.name, line)
	}
}

func (w *markingWriter) WriteHeader(code int) {
	if code >= http.StatusOK || code == http.StatusSwitchingProtocols { // the others come before the response
		w.mark()
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *markingWriter) Write(b []byte) (int, error) {
	w.mark()
	return w.ResponseWriter.Write(b)
}

// Flush implements http.Flusher, which handlers of event streams look for.
func (w *markingWriter) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls.
func (w *markingWriter) FlushError() error {
	w.mark()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker, which handlers of WebSockets look for.
func (w *markingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (w *markingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
