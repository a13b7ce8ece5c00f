package web

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mintmark/mintmark/test/lab"
)

// A shopper is a client with a jar of cookies.
type shopper struct {
	client *http.Client
	counts map[string]int // by path, what the server should have counted
}

func (f *fleet) newShopper(t *testing.T, addrs []string, i int) *shopper {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &shopper{&http.Client{Transport: f.front(t, addrs, i), Jar: jar}, map[string]int{}}
}

// visit asks for a page that answers with a name and the number of visits.
func (s *shopper) visit(path string) (server string, err error) {
	s.counts[path]++
	resp, err := s.client.Get("http://shop.example" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	n := 0
	if _, err := fmt.Sscanf(string(body), "%s %d", &server, &n); err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %q", resp.Status, body)
	}
	if want := fmt.Sprintf("%s %d", server, s.counts[path]); string(body) != want {
		return "", fmt.Errorf("got %q; want %q", body, want)
	}
	return server, nil
}

// Tomcat puts its jvmRoute behind each session ID. Two applications of one
// server have a cookie each, of the same name and of different paths, and a
// client sends both.
func TestTomcat(t *testing.T) {
	t.Parallel()
	const (
		clients = 30
		visits  = 9
	)
	var nodes []node
	for _, name := range names {
		s := lab.StartTomcat(t, name, "tomcat-"+name)
		nodes = append(nodes, node{name, s.Addr, fmt.Sprintf("{prefix: %q}", "tomcat-"+name)})
	}
	f := startFleet(t, `[{cookie: JSESSIONID, after: "."}]`, "", nodes)
	paths := []string{"/count.jsp", "/shop/count.jsp"}

	seen := map[string]bool{}
	var mu sync.Mutex
	shoppers := make([]*shopper, clients)
	for i := range shoppers {
		shoppers[i] = f.newShopper(t, f.routed, i)
	}
	f.rounds(t, visits, func(round int) {
		each(clients, func(i int) {
			for _, path := range paths {
				server, err := shoppers[i].visit(path)
				if err != nil {
					t.Errorf("client %d, visit %d of %s: %v", i, round, path, err)
				}
				if server != "" {
					mu.Lock()
					seen[server] = true
					mu.Unlock()
				}
			}
		})
	})
	if len(seen) != len(names) {
		t.Errorf("the sessions were on %v; want all three servers", seen)
	}
	if n := f.refused(); n != 0 {
		t.Errorf("the balancers refused %v requests; want none", n)
	}

	var lost atomic.Int64
	each(clients, func(i int) {
		s := f.newShopper(t, f.control, i)
		for range visits {
			if _, err := s.visit(paths[0]); err != nil {
				lost.Add(1)
				return
			}
		}
	})
	t.Logf("routed by mint: %d visits, no session lost; round robin: %d of %d sessions lost", clients*visits*len(paths), lost.Load(), clients)
	if lost.Load() < clients*9/10 {
		t.Errorf("round robin lost %d of %d sessions; want nearly all", lost.Load(), clients)
	}
}
