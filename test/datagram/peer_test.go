package datagram

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/mintmark/mintmark/test/lab"
)

const (
	// slowly is how long a server takes for /slow, so that clients can move
	// meanwhile.
	slowly    = 3 * time.Second
	slowParts = 30
)

// serveHTTP3 is a server of HTTP/3: "/" says its name, /slow does so again and
// again, a line at a time, and /upload says how much it got.
func serveHTTP3(s *quicServer, ln *quic.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "this is %s over %s\n", s.name, "HTTP/3")
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(slowly / slowParts)
		defer tick.Stop()
		for range slowParts {
			if _, err := io.WriteString(w, s.name+"\n"); err != nil {
				return
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "%s got %d octets\n", s.name, n)
	})
	server := &http3.Server{Handler: mux}
	_ = server.ServeListener(ln) // it ends with its listener
	_ = server.Close()
}

// A nat is between one client and its balancer, and changes its outer address
// after every so many datagrams of the client.
type nat struct {
	addr    string // for the client
	changed atomic.Int64
}

func startNAT(t *testing.T, p *path, every int) *nat {
	t.Helper()
	inner, err := listenSomewhere()
	if err != nil {
		t.Fatal(err)
	}
	outer := newSocket(t, p, 0)
	n := &nat{addr: inner.LocalAddr().String()}
	var client atomic.Pointer[net.UDPAddr]
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2048)
		for count := 1; ; count++ {
			size, from, err := inner.ReadFromUDP(buf)
			if err != nil {
				return
			}
			client.Store(from)
			if count%every == 0 && outer.rebind() == nil {
				n.changed.Add(1)
			}
			_, _ = outer.WriteTo(buf[:size], nil) // a datagram may be lost
		}
	})
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			size, _, err := outer.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = inner.WriteToUDP(buf[:size], client.Load())
		}
	})
	t.Cleanup(func() {
		_ = inner.Close()
		_ = outer.Close()
		wg.Wait()
	})
	return n
}

// ngtcp2's client, of which nobody here wrote a line, changes its address in
// the middle of a download by its own will, and in the middle of an upload
// without knowing.
func TestNGTCP2ThroughTheBalancer(t *testing.T) {
	t.Parallel()
	f := startFleetFor(t, "h3", serveHTTP3, fourPass)
	b := f.balancer(fourPass)
	t.Cleanup(func() {
		for _, s := range f.servers {
			if s.door.foreign.Load() != 0 {
				t.Errorf("server %s: %v", s.name, s.door)
			}
		}
	})
	t.Run("migrates", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		log := lab.RunNGTCP2(t, b.addr, "https://"+lab.ServerName+"/slow", "--change-local-addr=500ms", "--download="+dir)
		got := readFile(t, filepath.Join(dir, "slow"))
		lines := strings.Fields(got)
		if len(lines) != slowParts {
			t.Fatalf("got %d lines of %d\n%s", len(lines), slowParts, log)
		}
		for _, line := range lines {
			if line != lines[0] {
				t.Errorf("servers %s and %s answered one request", lines[0], line)
			}
		}
		if !strings.Contains(log, "Changing local address") && !strings.Contains(log, "Local address is now") {
			t.Errorf("the client does not say that it changed its address:\n%s", log)
		}
	})
	t.Run("behind a NAT", func(t *testing.T) {
		t.Parallel()
		const size = 4 << 20
		dir := t.TempDir()
		data := lab.WriteFile(t, dir, "data", make([]byte, size))
		n := startNAT(t, newPath(t, b.addr), 1000)
		log := lab.RunNGTCP2(t, n.addr, "https://"+lab.ServerName+"/upload", "--http-method=POST", "--data="+data, "--download="+dir)
		if got := readFile(t, filepath.Join(dir, "upload")); !strings.HasSuffix(got, fmt.Sprintf(" got %d octets\n", size)) {
			t.Errorf("the server said %q; want that it got %d octets\n%s", got, size, log)
		}
		if n.changed.Load() == 0 {
			t.Error("the address did not change")
		}
	})
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Chromium asks for a page over HTTP/3, and for nothing over anything else.
func TestChromiumThroughTheBalancer(t *testing.T) {
	t.Parallel()
	f := startFleetFor(t, "h3", serveHTTP3, singlePass)
	b := f.balancer(singlePass)
	page := lab.RunChromiumQUIC(t, f.cert, b.addr, "/")
	if !strings.Contains(page, "over HTTP/3") {
		t.Errorf("Chromium shows %q", page)
	}
	m := b.Metrics()
	if n := m.Sum("mintmark_decisions_total", map[string]string{"listener": "quic", "field": "cid_short", "routed_by": "mint"}); n == 0 {
		t.Error("the balancer says that it routed no short header by its ID")
	}
}
