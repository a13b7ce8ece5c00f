package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// startNode runs three servers of node/server.mjs, and the balancers before
// them.
func startNode(t *testing.T) (*fleet, []node) {
	t.Helper()
	scheme, assignments := planned(t)
	script, err := filepath.Abs("node/server.mjs")
	if err != nil {
		t.Fatal(err)
	}
	var nodes []node
	for _, name := range names {
		addr := lab.FreeAddr(t)
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		lab.StartProgram(t, name, addr, "node", script, host, port, assignments[name])
		nodes = append(nodes, node{name, addr, ""})
	}
	return startFleet(t, `[{query: sid}, {cookie: connect.sid, after: "s%3A"}]`, scheme, nodes), nodes
}

// straysOf asks the servers how many requests came with a session that they
// did not make.
func straysOf(t *testing.T, nodes []node) (sum int) {
	t.Helper()
	for _, n := range nodes {
		resp, err := http.Get("http://" + n.addr + "/strays")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		strays, atoiErr := strconv.Atoi(string(text))
		if err != nil || atoiErr != nil {
			t.Fatalf("server %s: %q, %v", n.name, text, err)
		}
		sum += strays
	}
	return sum
}

// A visit is what became of one round of node/clients.mjs.
type visit struct {
	Counted    int      `json:"counted"`    // clients whose server counted on
	Sessions   int      `json:"sessions"`   // that all clients ever had
	WebSockets int      `json:"websockets"` // clients that have gone over to one
	Errors     []string `json:"errors"`     // the first of them
	Failures   int      `json:"failures"`
}

// startClients runs node/clients.mjs and returns a function that has all of
// them visit their servers. patience is how long each of them waits.
func startClients(t *testing.T, clients int, patience time.Duration, addrs []string) func() visit {
	t.Helper()
	args := []string{"node/clients.mjs", strconv.Itoa(clients), strconv.FormatInt(patience.Milliseconds(), 10)}
	cmd := exec.CommandContext(t.Context(), "node", append(args, addrs...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // ends it
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	return func() visit {
		t.Helper()
		if _, err := fmt.Fprintln(in, "visit"); err != nil {
			t.Fatal(err)
		}
		var v visit
		if !lines.Scan() {
			t.Fatalf("the clients have ended: %v", lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Socket.IO polls with its ID in the query and goes over to a WebSocket with
// the same ID: each request may come through another balancer.
func TestSocketIO(t *testing.T) {
	t.Parallel()
	const (
		clients = 200
		visits  = 6
	)
	f, nodes := startNode(t)
	go200 := startClients(t, clients, callLimit, f.routed)
	var last visit
	f.rounds(t, visits, func(round int) {
		v := go200()
		// A session of Socket.IO ends with its connection, so the clients of
		// the balancer that is killed begin new ones: that is no failure.
		killed := round == visits/3
		if v.Counted != clients && !killed {
			t.Errorf("visit %d: %d of %d clients were counted on: %v", round, v.Counted, clients, v.Errors)
		}
		if v.Failures != 0 && !killed {
			t.Errorf("visit %d: %d failures: %v", round, v.Failures, v.Errors)
		}
		last = v
	})
	if last.WebSockets < clients*2/3 {
		t.Errorf("%d of %d clients went over to a WebSocket; want two thirds", last.WebSockets, clients)
	}
	if n := straysOf(t, nodes); n != 0 {
		t.Errorf("%d requests reached a server that did not make their session; want none", n)
	}
	control := startClients(t, clients/4, time.Second, f.control)()
	strays := straysOf(t, nodes)
	t.Logf("routed by mint: %d clients, %d sessions, no stray; round robin: %d of %d clients were counted, %d strays",
		clients, last.Sessions, control.Counted, clients/4, strays)
	if strays == 0 || control.Counted == clients/4 {
		t.Error("round robin lost no session; this test shows nothing")
	}
}

// express-session signs its IDs and puts "s:" before them.
func TestExpress(t *testing.T) {
	t.Parallel()
	const (
		clients = 30
		visits  = 9
	)
	f, nodes := startNode(t)
	shoppers := make([]*shopper, clients)
	for i := range shoppers {
		shoppers[i] = f.newShopper(t, f.routed, i)
	}
	f.rounds(t, visits, func(round int) {
		each(clients, func(i int) {
			if _, err := shoppers[i].visit("/count"); err != nil {
				t.Errorf("client %d, visit %d: %v", i, round, err)
			}
		})
	})
	if n := straysOf(t, nodes); n != 0 {
		t.Errorf("%d requests reached a server that did not make their session; want none", n)
	}
	var lost atomic.Int64
	each(clients, func(i int) {
		s := f.newShopper(t, f.control, i)
		for range visits {
			if _, err := s.visit("/count"); err != nil {
				lost.Add(1)
				return
			}
		}
	})
	t.Logf("routed by mint: %d visits, no session lost; round robin: %d of %d sessions lost", clients*visits, lost.Load(), clients)
	if lost.Load() < clients*9/10 {
		t.Errorf("round robin lost %d of %d sessions; want nearly all", lost.Load(), clients)
	}
}
