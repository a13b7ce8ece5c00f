package webui

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// maxStreams bounds the pages that are kept up to date at once, against
// somebody who opens them in a loop.
const maxStreams = 200

// streamTimeout is how long writing to a browser may take: one that has gone
// without a word is noticed.
const streamTimeout = 10 * time.Second

// keepAlive is how often something is sent when nothing changes.
const keepAlive = 15 * time.Second

var errBusy = &refusal{http.StatusServiceUnavailable, "Too many pages are open", "Each open page is kept up to date, and there are too many.", "Close some, or reload this one by hand."}

// A part is a piece of a page that is sent when it changes.
type part struct{ id, html string }

// live sends the parts of a page that change, by server-sent events: a JSON
// object of the HTML by the element's id.
func (u *UI) live(w http.ResponseWriter, r *http.Request, v *visit) error {
	draw := u.drawer(r, v)
	if draw == nil {
		return &refusal{http.StatusNotFound, "There is no such page", "Nothing is live there.", "Go back to the page."}
	}
	if u.streams.Add(1) > maxStreams {
		u.streams.Add(-1)
		return errBusy
	}
	defer u.streams.Add(-1)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	s := &stream{w: w, rc: http.NewResponseController(w), last: make(map[string]string), sent: time.Now()}
	t := time.NewTicker(sampleInterval)
	defer t.Stop()
	for n := 0; ; n++ {
		// A session that ends takes its streams with it.
		if n%sessionChecks == sessionChecks-1 {
			if _, _, err := u.cfg.Access.Session(r.Context(), v.secret); err != nil {
				return nil // the browser asks again and is told to log in
			}
		}
		parts, err := draw()
		if err == nil {
			err = s.send(parts)
		}
		if err != nil {
			return nil // the browser has gone, or asks again
		}
		select {
		case <-t.C:
		case <-r.Context().Done():
			return nil
		case <-u.done:
			return nil
		}
	}
}

// sessionChecks is after how many updates a stream asks whether its session is
// still good.
const sessionChecks = 10

// A stream is one browser that listens.
type stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	last map[string]string
	sent time.Time
}

// send sends the parts that have changed.
func (s *stream) send(parts []part) error {
	changed := make(map[string]string)
	for _, p := range parts {
		if s.last[p.id] != p.html {
			changed[p.id], s.last[p.id] = p.html, p.html
		}
	}
	message := []byte(": nothing new\n\n")
	if len(changed) > 0 {
		b, err := json.Marshal(changed)
		if err != nil {
			return err
		}
		message = append(append([]byte("data: "), b...), "\n\n"...)
	} else if time.Since(s.sent) < keepAlive {
		return nil
	}
	if err := s.rc.SetWriteDeadline(time.Now().Add(streamTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(message); err != nil {
		return err
	}
	s.sent = time.Now()
	return s.rc.Flush()
}

// drawer returns what draws the live parts of a page; nil: it has none.
func (u *UI) drawer(r *http.Request, v *visit) func() ([]part, error) {
	f := func(name, id string, data any) (part, error) {
		var b bytes.Buffer
		err := u.pages.fragments.ExecuteTemplate(&b, name, frame{Visit: v, Data: data})
		return part{id, b.String()}, err
	}
	switch r.PathValue("page") {
	case "overview":
		return func() ([]part, error) { return u.overviewParts(r) }
	case "servers":
		return func() ([]part, error) {
			d, err := u.serversNow(r)
			if err != nil {
				return nil, err
			}
			var parts []part
			for _, ps := range d.Pools {
				for _, row := range ps.Rows {
					p, err := f("server-row", row.ID, row)
					if err != nil {
						return nil, err
					}
					parts = append(parts, p)
				}
			}
			return parts, nil
		}
	case "server":
		return func() ([]part, error) {
			d, err := u.serverNow(r, r.FormValue("pool"), r.FormValue("server"))
			if err != nil {
				return nil, err
			}
			p, err := f("server-live", "server", d)
			return []part{p}, err
		}
	case "pool":
		return func() ([]part, error) {
			d, err := u.poolNow(r, r.FormValue("pool"))
			if err != nil {
				return nil, err
			}
			p, err := f("pool-live", "pool", d)
			return []part{p}, err
		}
	}
	return nil
}
