//go:build soak

package soak

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/test/lab"
)

var bodySize = flag.Int64("body", 10<<30, "how many bytes are streamed in each direction")

// mostMemory is what the balancer may take at most while it streams, in KiB.
const mostMemory = 96 << 10

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestLargeBodies streams 10 GiB up and as much down through the balancer,
// over HTTP/1.1 and HTTP/2, in constant memory.
func TestLargeBodies(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Length", strconv.FormatInt(*bodySize, 10))
			_, _ = io.CopyN(w, zeros{}, *bodySize)
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}))
	s.Start()
	t.Cleanup(s.Close)
	binary, err := lab.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	admin, web := lab.FreeAddr(t), lab.FreeAddr(t)
	b := lab.StartBalancer(t, binary, admin, fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - {name: web, listen: %q, protocol: http, pool: app, ids: [{json: id, over_limit: balance}]}
pools:
  - {name: app, servers: [{name: a, address: %q, ids: [{prefix: a-}]}]}
`, admin, web, s.Listener.Addr()))
	for _, h2 := range []bool{false, true} {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(!h2)
		tr.Protocols.SetUnencryptedHTTP2(h2)
		c := &http.Client{Transport: tr}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+web+"/", io.LimitReader(zeros{}, *bodySize))
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if want := strconv.FormatInt(*bodySize, 10) + " <nil>"; err != nil || string(body) != want {
			t.Errorf("HTTP/2 %v: uploading: got %q, %v; want %q", h2, body, err, want)
		}
		if res, err = c.Get("http://" + web + "/"); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		if err != nil || n != *bodySize {
			t.Errorf("HTTP/2 %v: downloading: got %d bytes, %v", h2, n, err)
		}
		tr.CloseIdleConnections()
		kib := peakMemory(t, b.PID())
		t.Logf("HTTP/2 %v: %d MiB each way, the balancer took %d MiB at most", h2, *bodySize>>20, kib>>10)
		if kib > mostMemory {
			t.Errorf("HTTP/2 %v: the balancer took %d KiB; want at most %d", h2, kib, mostMemory)
		}
	}
}

// peakMemory returns the most memory that a process ever had, in KiB.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
