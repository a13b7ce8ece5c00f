package l7_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/l7"
)

// TestAlternatingIDs sends 10,000 requests over one HTTP/2 connection, whose
// IDs alternate: each goes to its own owner.
func TestAlternatingIDs(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{ids: everyID(t), h2: true}, echo("a"), echo("b"), echo("c"))
	const workers, each = 20, 500
	var conns sync.Map
	var wrong atomic.Int32
	var wg sync.WaitGroup
	r.get("/") // the connection is made once, and not by each worker
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				want := string(rune('a' + (w+i)%3))
				req := r.request("GET", "/", "", "Mcp-Session-Id: "+want+"-"+strconv.Itoa(i))
				req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
					GotConn: func(c httptrace.GotConnInfo) { conns.Store(c.Conn.LocalAddr().String(), true) },
				}))
				res, err := r.client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.Header.Get("Server-Name") != want {
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	used := 0
	conns.Range(func(any, any) bool { used++; return true })
	if wrong.Load() > 0 || used != 1 {
		t.Errorf("%d of %d requests went to another server, over %d connections; want 0, over 1", wrong.Load(), workers*each, used)
	}
}

// TestServerSentEvents holds that events arrive when they are sent, and that
// the server hears when the client goes.
func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ h2, h2c bool }{{false, false}, {true, false}, {true, true}} {
		next, gone := make(chan string), make(chan struct{})
		r := newRig(t, rigConfig{h2: c.h2, h2c: c.h2c}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			for {
				select {
				case e := <-next:
					fmt.Fprintf(w, "data: %s\n\n", e)
					_ = http.NewResponseController(w).Flush()
				case <-r.Context().Done():
					close(gone)
					return
				}
			}
		})
		res, err := r.client.Do(r.request("GET", "/events", ""))
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(res.Body)
		for i := range 3 {
			next <- strconv.Itoa(i)
			if line, err := br.ReadString('\n'); err != nil || line != "data: "+strconv.Itoa(i)+"\n" {
				t.Fatalf("%+v: got %q, %v", c, line, err)
			}
			_, _ = br.ReadString('\n')
		}
		res.Body.Close()
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			t.Errorf("%+v: the server does not hear that the client has gone", c)
		}
	}
}

// TestTrailers passes trailers in both directions, those of gRPC among them,
// whose status is one.
func TestTrailers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ h2, h2c bool }{{false, false}, {true, false}, {true, true}} {
		r := newRig(t, rigConfig{h2: c.h2, h2c: c.h2c}, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			_, _ = w.Write(body)
			w.Header().Set("Grpc-Status", "0")
			w.Header().Set(http.TrailerPrefix+"Grpc-Message", r.Trailer.Get("Sum")+" "+r.Header.Get("Te"))
		})
		req := r.request("POST", "/svc/Method", "", "Te: trailers", "Content-Type: application/grpc")
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader("message")), -1
		req.Trailer = http.Header{"Sum": {"42"}}
		res, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(body) != "message" || res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("Grpc-Message") != "42 trailers" {
			t.Errorf("%+v: got %q, %v, trailers %v", c, body, err, res.Trailer)
		}
	}
}

// TestTrailersOnly passes a gRPC response without a body.
func TestTrailersOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{h2: true, h2c: true}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "12")
	})
	if got := r.get("/svc/None"); got.header.Get("Grpc-Status") != "12" || got.body != "" {
		t.Errorf("got %+v", got)
	}
}

// TestBothWaysAtOnce sends and receives in turn, within one request: a server
// may answer before it has read everything.
func TestBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ h2, h2c bool }{{false, false}, {true, false}, {true, true}} {
		r := newRig(t, rigConfig{h2: c.h2, h2c: c.h2c}, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			_ = rc.EnableFullDuplex()
			w.WriteHeader(http.StatusOK)
			_ = rc.Flush()
			buf := make([]byte, 100)
			for {
				n, err := r.Body.Read(buf)
				_, _ = w.Write(buf[:n])
				_ = rc.Flush()
				if err != nil {
					return
				}
			}
		})
		read, write := io.Pipe()
		req := r.request("POST", "/", "")
		req.Body, req.ContentLength = read, -1
		res, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(res.Body)
		for i := range 3 {
			sent := strconv.Itoa(i) + "\n"
			_, _ = io.WriteString(write, sent)
			if got, err := br.ReadString('\n'); got != sent || err != nil {
				t.Fatalf("%+v: got %q, %v; want %q", c, got, err, sent)
			}
		}
		_ = write.Close()
		if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
			t.Errorf("%+v: after the end: %q, %v", c, rest, err)
		}
		res.Body.Close()
	}
}

// TestInterimResponses passes 103 and, for a client that waits for it, 100:
// only when the server asks for the body does the client send it.
func TestInterimResponses(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigConfig{ids: everyID(t)}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		echo("a")(w, r)
	})
	exchange := func(path, headers, body string) string {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n", path, len(body), headers)
		br := bufio.NewReader(nc)
		var seen []string
		for {
			line, err := textproto.NewReader(br).ReadLine()
			if err != nil {
				t.Fatalf("%s: %v after %q", path, err, seen)
			}
			_, _ = textproto.NewReader(br).ReadMIMEHeader()
			_, status, _ := strings.Cut(line, " ")
			seen = append(seen, status[:3])
			if status[:3] == "100" {
				_, _ = io.WriteString(nc, body)
			}
			if status[0] != '1' {
				break
			}
		}
		rest, _ := io.ReadAll(br)
		return strings.Join(seen, " ") + " " + string(rest)
	}
	if got := exchange("/take", "Content-Type: text/plain\r\n", "the body"); !strings.HasPrefix(got, "103 100 200 ") || !strings.Contains(got, "the body") {
		t.Errorf("a body that the server takes: %q", got)
	}
	if got := exchange("/refuse", "Content-Type: text/plain\r\n", "the body"); got != "103 401 " {
		t.Errorf("a body that the server refuses: %q", got)
	}
	json := `{"previous_response_id":"a-1"}`
	if got := exchange("/take", "Content-Type: application/json\r\n", json); !strings.HasPrefix(got, "100 103 200 ") || !strings.Contains(got, json) {
		t.Errorf("a body that is read for its ID: %q", got)
	}
}

// TestSlowReader has one stream of a connection read nothing of a large
// response, and one whose upload its server does not take: the others go on.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	r := newRig(t, rigConfig{h2: true}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/download":
			chunk := make([]byte, 64<<10)
			for range 64 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		case "/upload":
			<-release
			_, _ = io.Copy(io.Discard, r.Body)
		default:
			echo("a")(w, r)
		}
	})
	slow, err := r.client.Do(r.request("GET", "/download", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	var stuck sync.WaitGroup
	for range 5 {
		stuck.Go(func() {
			req := r.request("POST", "/upload", "")
			req.Body, req.ContentLength = io.NopCloser(io.LimitReader(zeros{}, 1<<20)), 1<<20
			if res, err := r.client.Do(req); err == nil {
				res.Body.Close()
			}
		})
	}
	defer stuck.Wait()
	defer close(release)
	for i := range 20 {
		body := strings.Repeat("x", 16<<10)
		done := make(chan answer, 1)
		go func() { done <- r.do(r.request("POST", "/"+strconv.Itoa(i), body)) }()
		select {
		case got := <-done:
			if !strings.HasSuffix(got.body, body) {
				t.Fatalf("request %d: got %d bytes", i, len(got.body))
			}
		case <-time.After(time.Minute):
			t.Fatal("a slow stream stalls the others")
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestConstantMemory streams a body that is much larger than the memory that
// may be used, up and down.
func TestConstantMemory(t *testing.T) {
	// Not parallel: the memory of the whole process is measured.
	const size, most = 96 << 20, 24 << 20
	for _, h2 := range []bool{false, true} {
		r := newRig(t, rigConfig{h2: h2, ids: everyID(t)}, func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if r.Method == http.MethodGet {
				_, err = io.CopyN(w, zeros{}, size)
			}
			fmt.Fprint(w, n, err)
		})
		var peak atomic.Uint64
		stop := make(chan struct{})
		var watching sync.WaitGroup
		watching.Go(func() {
			var m runtime.MemStats
			for {
				runtime.ReadMemStats(&m)
				peak.Store(max(peak.Load(), m.HeapInuse))
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		req := r.request("POST", "/", "", "Content-Type: application/octet-stream")
		req.Body, req.ContentLength = io.NopCloser(io.LimitReader(zeros{}, size)), size
		if got := r.do(req); got.body != strconv.Itoa(size)+" <nil>" {
			t.Errorf("HTTP/2 %v: uploading: %+v", h2, got)
		}
		res, err := r.client.Do(r.request("GET", "/", ""))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if n < size || err != nil {
			t.Errorf("HTTP/2 %v: downloading: %d bytes, %v", h2, n, err)
		}
		close(stop)
		watching.Wait()
		if grown := int64(peak.Load()) - int64(before.HeapInuse); grown > most {
			t.Errorf("HTTP/2 %v: %d MiB more memory for a body of %d MiB; want at most %d", h2, grown>>20, size>>20, most>>20)
		}
	}
}

// TestDrainWaits holds the end of a proxy: requests in progress end by
// themselves, and what outlives the grace is cut.
func TestDrainWaits(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}, 2), make(chan struct{})
	r := newRig(t, rigConfig{}, func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		echo("a")(w, r)
	})
	done := make(chan answer, 1)
	go func() { done <- r.get("/") }()
	<-started
	drained := make(chan int, 1)
	go func() { drained <- r.proxy.Drain(t.Context()) }()
	select {
	case <-drained:
		t.Fatal("Drain does not wait for a request")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if got := <-done; got.status != 200 {
		t.Errorf("the request that was waited for: %+v", got)
	}
	if cut := <-drained; cut != 0 {
		t.Errorf("Drain cut %d", cut)
	}
}

// TestIdleRequest ends requests on which nothing moves: with a response of
// ours when there was none, and before its end when there was one.
func TestIdleRequest(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		r := newRig(t, rigConfig{h2: h2, settings: func(s *l7.Settings) { s.IdleTimeout = time.Second }}, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/begun" {
				_, _ = io.WriteString(w, "begun")
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		})
		if got := r.get("/"); got.status != http.StatusGatewayTimeout {
			t.Errorf("HTTP/2 %v: status %d; want 504", h2, got.status)
		}
		res, err := r.client.Do(r.request("GET", "/begun", ""))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); err == nil || string(body) != "begun" {
			t.Errorf("HTTP/2 %v: got status %d, %q, %v; want an end in the middle; log\n%s", h2, res.StatusCode, body, err, r.log)
		}
		res.Body.Close()
		eventually(t, "the log says why", func() bool { return strings.Count(r.log.String(), "cause=idle_timeout") == 2 })
	}
}
