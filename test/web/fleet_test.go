package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mintmark/mintmark/mint"
	"github.com/mintmark/mintmark/test/lab"
)

// A node is a server of a pool: its name, its address, and, where the pool is
// not planned, its rule.
type node struct {
	name, addr, rule string
}

var names = []string{"a", "b", "c"}

// A fleet is two balancers that share nothing but the text of their file. Each
// has two listeners over the same servers: routed, whose pool knows their
// spaces, and control, which balances round robin.
type fleet struct {
	replicas        []*lab.Balancer
	routed, control []string // addresses, one for each replica

	mu     sync.Mutex
	fronts []*front // all that reach the replicas
}

// startFleet runs the balancers. ids are those of both listeners, scheme is
// that of a planned pool or "".
func startFleet(t *testing.T, ids, scheme string, nodes []node) *fleet {
	t.Helper()
	var known, control strings.Builder
	for _, n := range nodes {
		rule := ""
		if n.rule != "" {
			rule = ", ids: [" + n.rule + "]"
		}
		fmt.Fprintf(&known, "      - {name: %s, address: %q%s}\n", n.name, n.addr, rule)
		fmt.Fprintf(&control, "      - {name: %s, address: %q}\n", n.name, n.addr)
	}
	f := &fleet{}
	for range 2 {
		routed, plain, admin := lab.FreeAddr(t), lab.FreeAddr(t), lab.FreeAddr(t)
		f.replicas = append(f.replicas, lab.StartBalancer(t, mintmark, admin, fmt.Sprintf(`
version: 1
admin: {listen: %[1]q}
listeners:
  - {name: routed, listen: %[2]q, protocol: http, ids: %[4]s, pool: routed}
  - {name: control, listen: %[3]q, protocol: http, ids: %[4]s, pool: control}
pools:
  - name: routed
%[5]s
    servers:
%[6]s
  - name: control
    servers:
%[7]s`, admin, routed, plain, ids, scheme, &known, &control)))
		f.routed = append(f.routed, routed)
		f.control = append(f.control, plain)
	}
	return f
}

// rounds calls visit for each round. One balancer is killed before the round
// at a third of them, and started again before the one at two thirds.
func (f *fleet) rounds(t *testing.T, n int, visit func(round int)) {
	t.Helper()
	for round := range n {
		switch round {
		case n / 3:
			f.replicas[0].Kill()
			f.forget()
		case 2 * n / 3:
			f.replicas[0].Start()
		}
		visit(round)
	}
}

// forget closes the connections that wait for a request, as somebody has who
// was told of their end. A request that meets the end on its way is lost with
// any balancer, and says nothing about sessions.
func (f *fleet) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fr := range f.fronts {
		fr.transport.CloseIdleConnections()
	}
}

// refused returns how many requests the balancers that run have refused.
func (f *fleet) refused() float64 {
	sum := 0.0
	for _, r := range f.replicas {
		sum += r.Metrics().Sum("mintmark_refused_total", map[string]string{"listener": "routed"})
	}
	return sum
}

// planned makes a plan of the scheme sealed for the three servers, as an
// operator does, and returns the lines for the pool and the servers' files.
func planned(t *testing.T) (scheme string, assignments map[string]string) {
	t.Helper()
	dir := t.TempDir()
	file := lab.WriteFile(t, dir, "plan.yaml", []byte(`
version: 1
listeners: [{name: routed, listen: "127.0.0.1:1", protocol: http, pool: routed}]
pools:
  - name: routed
    scheme: {kind: sealed}
    plan_file: app.plan
    servers: [{name: a, address: "127.0.0.1:2"}, {name: b, address: "127.0.0.1:3"}, {name: c, address: "127.0.0.1:4"}]
`))
	plan := func(args ...string) {
		args = append([]string{"plan", "-c", file}, args...)
		if out, err := exec.CommandContext(t.Context(), mintmark, args...).CombinedOutput(); err != nil {
			t.Fatalf("mintmark %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	plan()
	assignments = make(map[string]string)
	for _, name := range names {
		assignments[name] = filepath.Join(dir, name+".json")
		plan("--mint", name, "--assignment", assignments[name])
	}
	return fmt.Sprintf("    scheme: {kind: sealed}\n    plan_file: %q", filepath.Join(dir, "app.plan")), assignments
}

// minting opens the SDK over an assignment.
func minting(t *testing.T, source mint.Source) *mint.Client {
	t.Helper()
	c, err := mint.Open(mint.Config{State: filepath.Join(t.TempDir(), "state.json"), Source: source})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	if err := c.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// A register is the sessions that one server has made, and how many requests
// came with the ID of a session that it did not make.
type register struct {
	known    sync.Map
	requests atomic.Int64
	strays   atomic.Int64
}

func (r *register) add(id string) { r.known.Store(id, true) }

// see notes a request with an ID, and reports whether the ID is known.
func (r *register) see(id string) bool {
	r.requests.Add(1)
	_, ok := r.known.Load(id)
	if !ok {
		r.strays.Add(1)
	}
	return ok
}

// serve runs a handler until the test ends and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections() // of event streams, which have no end
		s.Close()
	})
	return strings.TrimPrefix(s.URL, "http://")
}

// A front sends each request to the next of several balancers, as a client does
// that has more than one address of a service, and to another when one refuses
// the connection.
type front struct {
	addrs     []string
	next      atomic.Uint32
	transport *http.Transport
}

// front returns a front of its own for a client: addrs are f.routed or
// f.control, and first is where it begins.
func (f *fleet) front(t *testing.T, addrs []string, first int) *front {
	t.Helper()
	fr := &front{addrs: addrs, transport: &http.Transport{}}
	fr.next.Store(uint32(first)) //nolint:gosec // small
	t.Cleanup(fr.transport.CloseIdleConnections)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fronts = append(f.fronts, fr)
	return fr
}

// RoundTrip implements http.RoundTripper.
func (f *front) RoundTrip(r *http.Request) (*http.Response, error) {
	at := int(f.next.Add(1))
	var last error
	for i := range f.addrs {
		out := r.Clone(r.Context())
		out.URL.Host = f.addrs[(at+i)%len(f.addrs)]
		if i > 0 && r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			out.Body = body
		}
		resp, err := f.transport.RoundTrip(out)
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) {
			return resp, err
		}
		last = err
	}
	return nil, last
}

// each runs one function for each of n clients, at most eight at a time.
func each(n int, run func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			run(i)
		})
	}
	wg.Wait()
}
