package l7_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTimeoutsChangeUnderRequests changes the timeouts again and again while
// clients send requests that nobody may repeat. None is lost, and no
// connection is closed for it.
func TestTimeoutsChangeUnderRequests(t *testing.T) {
	t.Parallel()
	const clients, changes = 4, 200
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigConfig{h2: h2}, echo("a"))
			var dialed, requests atomic.Int64
			r.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				dialed.Add(1)
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			r.client.Transport.(*http.Transport).MaxIdleConnsPerHost = clients
			r.client.Timeout = 20 * time.Second
			over := make(chan struct{})
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					for done := false; !done; {
						select {
						case <-over:
							done = true
						default:
						}
						req := r.request("POST", "/", "")
						req.Body, req.GetBody, req.ContentLength = io.NopCloser(strings.NewReader("once")), nil, 4
						res, err := r.client.Do(req)
						if err != nil {
							t.Errorf("a request was lost: %v", err)
							return
						}
						_, _ = io.Copy(io.Discard, res.Body) // the status tells
						_ = res.Body.Close()
						if res.StatusCode != http.StatusOK {
							t.Errorf("status %d", res.StatusCode)
							return
						}
						requests.Add(1)
					}
				})
			}
			for i := range changes {
				for n := requests.Load(); requests.Load() < n+clients && !t.Failed(); {
					time.Sleep(time.Millisecond)
				}
				s := r.base
				s.HelloTimeout, s.IdleTimeout = time.Minute+time.Duration(i), time.Hour-time.Duration(i)
				r.proxy.Update(&s)
			}
			close(over)
			wg.Wait()
			if n := dialed.Load(); n > clients {
				t.Errorf("%d clients needed %d connections while the timeouts changed; want none closed", clients, n)
			}
		})
	}
}

// say opens a connection and sends something.
func say(t *testing.T, addr, what string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // a new socket takes it
	if _, err := io.WriteString(c, what); err != nil {
		t.Fatal(err)
	}
	return c
}

// A lateListener is interrupted late: once its gate, a channel, is closed.
type lateListener struct {
	*net.TCPListener
	gate chan struct{}
}

func (l lateListener) SetDeadline(at time.Time) error {
	if !at.IsZero() {
		<-l.gate
	}
	return l.TCPListener.SetDeadline(at)
}

// TestTimeoutsAreThoseOfTheReload holds that a connection has the timeouts that
// were in force when it came, even if the server before was still accepting.
func TestTimeoutsAreThoseOfTheReload(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{}, echo("a"))
	set := func(hello time.Duration) {
		s := r.base
		s.HelloTimeout = hello
		r.proxy.Update(&s)
	}
	set(time.Hour)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	late := lateListener{ln.(*net.TCPListener), make(chan struct{})}
	open := sync.OnceFunc(func() { close(late.gate) })
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- r.proxy.Serve(ctx, late) }()
	t.Cleanup(func() {
		open()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = ln.Close()
	})
	dial := func(send string) net.Conn { return say(t, ln.Addr().String(), send) }
	// The first server accepts, and goes on to wait in Accept.
	if _, err := dial("GET / HTTP/1.1\r\nHost: api.example\r\n\r\n").Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	set(time.Second)
	c := dial("GET / HTTP/1.1\r\nX: y")
	time.AfterFunc(100*time.Millisecond, open)
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("a header that does not end, after the reload: %v; want the end of the connection", err)
	}
}

// TestTimeoutsChange holds that new connections have the new timeouts, on the
// same socket, and that a drain also ends those that have the old ones.
func TestTimeoutsChange(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{}, echo("a"))
	dial := func(send string) net.Conn { return say(t, r.addr, send) }
	set := func(hello time.Duration) {
		s := r.base
		s.HelloTimeout = hello
		r.proxy.Update(&s)
	}
	const request = "GET / HTTP/1.1\r\nHost: api.example\r\n\r\n"
	answer := func(c net.Conn) {
		t.Helper()
		b := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "HTTP/1.1 200" {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	set(time.Hour)
	old := dial(request)
	answer(old)
	set(time.Second)
	if _, err := io.Copy(io.Discard, dial("GET / HTTP/1.1\r\nX: y")); err != nil {
		t.Errorf("a header that does not end: %v; want the end of the connection", err)
	}
	set(time.Hour)
	waiting := dial(request)
	answer(waiting)
	if cut := r.proxy.Drain(t.Context()); cut != 0 {
		t.Errorf("Drain cut %d", cut)
	}
	for _, c := range []net.Conn{old, waiting} {
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("after the drain: %v; want the end of the connection", err)
		}
	}
}
