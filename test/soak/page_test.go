//go:build soak

package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

const (
	readers    = 6
	maxPage    = 1 << 20
	sidName    = "sid"
	quitsEvery = 20 // requests, of which one is broken off
)

// A page is an HTTP server inside the test, which can go away and come back. It
// takes a body and answers with another.
type page struct {
	presence
	mix    *mix
	name   string
	addr   string
	server *http.Server
	open   atomic.Int64 // connections
}

func startPage(t *testing.T, m *mix, name string) *page {
	t.Helper()
	p := &page{mix: m, name: name, addr: lab.FreeAddr(t)}
	if err := p.listen(t); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.server.Close() })
	return p
}

func (p *page) listen(t *testing.T) error {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", p.addr)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: p, ReadHeaderTimeout: callLimit, ConnState: func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			p.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			p.open.Add(-1)
		case http.StateActive, http.StateIdle:
		}
	}}
	p.server = s
	go func() { _ = s.Serve(ln) }() // ends with Close
	return nil
}

func (p *page) restart(t *testing.T) {
	p.away(func() {
		_ = p.server.Close()
		lab.Eventually(t, settleLimit, p.name+" listens again", func() bool { return p.listen(t) == nil })
	})
}

// ServeHTTP implements http.Handler.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(r.URL.Query().Get(name), 10, 64)
		if err != nil {
			p.mix.fault("%s was asked for %q: %v", p.name, r.URL, err)
		}
		return n
	}
	seed, up, down := number("seed"), int64(number("up")), int64(number("down"))
	if err := p.mix.pattern.readAll(r.Body, seed, up); err != nil {
		if errors.Is(err, errWrong) {
			p.mix.fault("%s, reading the body of %s: %v", p.name, r.URL, err)
		}
		panic(http.ErrAbortHandler) // the client knows whether that was to be
	}
	http.SetCookie(w, &http.Cookie{Name: sidName, Value: p.name + "-" + strconv.FormatUint(seed, 10)})
	w.Header().Set("Content-Length", strconv.FormatInt(down, 10))
	_, _ = io.Copy(w, p.mix.pattern.reader(^seed, down)) // as above
}

// A reader is a client that keeps its connections and its cookie.
type reader struct {
	mix  *mix
	rng  *rand.Rand
	http http.Client
	sid  *http.Cookie
	home *page
}

// readPages requests pages, over HTTP/1.1 or HTTP/2.
func (m *mix) readPages(ctx context.Context, h2 bool) {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	defer tr.CloseIdleConnections()
	r := &reader{mix: m, rng: random(), http: http.Client{Transport: tr}}
	for ctx.Err() == nil {
		r.request()
		pause(ctx, r.rng, talkWait)
	}
}

// request gets or posts. What fails is excused by a server that restarts, or
// did a moment ago: a request may have met the end of a connection that was
// kept.
func (r *reader) request() {
	m, asked, before := r.mix, time.Now(), r.mix.epochs()
	from, err := r.exchange()
	calm := m.calm(before)
	for _, p := range m.pages {
		calm = calm && p.settledAt(asked)
	}
	switch {
	case errors.Is(err, errCut):
		m.aborts.Add(1)
		return
	case errors.Is(err, errWrong), err != nil && calm:
		m.fault("requesting: %v", err)
		r.sid, r.home = nil, nil
		return
	case err != nil:
		m.interrupted.Add(1)
		return
	case r.home != nil && r.home != from && calm:
		m.fault("a request with a cookie of %s went to %s", r.home.name, from.name)
	}
	m.requests.Add(1)
	r.home = from
}

// exchange makes a request and returns who has answered.
func (r *reader) exchange() (*page, error) {
	m := r.mix
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	seed, up, down := r.rng.Uint64(), int64(0), sizeUpTo(r.rng, maxPage)
	var body io.Reader
	if r.rng.IntN(3) == 0 {
		up = sizeUpTo(r.rng, maxPage)
		body = io.NopCloser(m.pattern.reader(seed, up)) // not a body that could be sent again
	}
	method := http.MethodGet
	if up > 0 {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method,
		fmt.Sprintf("http://%s/?seed=%d&up=%d&down=%d", m.http, seed, up, down), body)
	if err != nil {
		return nil, err
	}
	if r.sid != nil {
		req.AddCookie(r.sid)
	}
	quits := r.rng.IntN(quitsEvery) == 0
	if quits {
		time.AfterFunc(time.Duration(r.rng.Int64N(int64(5*time.Millisecond))), cancel)
	}
	from, err := r.take(req, seed, down)
	switch {
	case err == nil:
		m.bytes.Add(up + down)
	case quits && !errors.Is(err, errWrong):
		err = errCut
	}
	return from, err
}

// take sends a request and checks the answer.
func (r *reader) take(req *http.Request, seed uint64, size int64) (*page, error) {
	res, err := r.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", res.Status)
	}
	if err := r.mix.pattern.readAll(res.Body, ^seed, size); err != nil {
		return nil, err
	}
	for _, c := range res.Cookies() {
		name, _, _ := strings.Cut(c.Value, "-")
		for _, p := range r.mix.pages {
			if p.name == name {
				r.sid = c
				return p, nil
			}
		}
	}
	return nil, fmt.Errorf("no server's cookie in the answer: %w", errWrong)
}
