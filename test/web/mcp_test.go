package web

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mintmark/mintmark/mint"
)

// callLimit bounds one call of a client.
const callLimit = 30 * time.Second

// A toolServer is a stateful server of the Model Context Protocol: its tool
// counts the calls of a session.
type toolServer struct {
	register
	counts sync.Map // session ID to *atomic.Int64
}

type countArgs struct{}

type countResult struct {
	Count int64 `json:"count"`
}

func (s *toolServer) count(_ context.Context, r *mcp.CallToolRequest, _ countArgs) (*mcp.CallToolResult, countResult, error) {
	n, _ := s.counts.LoadOrStore(r.Session.ID(), new(atomic.Int64))
	return nil, countResult{n.(*atomic.Int64).Add(1)}, nil
}

// startToolServer returns the address of a server that is as the SDK's
// documentation has it, but for the hook.
func startToolServer(t *testing.T, client *mint.Client) (*toolServer, string) {
	t.Helper()
	s := &toolServer{}
	server := mcp.NewServer(&mcp.Implementation{Name: "counter", Version: "1"}, &mcp.ServerOptions{
		GetSessionID: func() string {
			id := client.ID()
			s.add(id)
			return id
		},
	})
	mcp.AddTool(server, &mcp.Tool{Name: "count"}, s.count)
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	return s, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.Header.Get("Mcp-Session-Id"); id != "" {
			s.see(id)
		}
		handler.ServeHTTP(w, r)
	}))
}

// connect opens a session through the balancers.
func (f *fleet) connect(t *testing.T, addrs []string, i int) (*mcp.ClientSession, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callLimit)
	defer cancel()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	// A server on a loopback address answers to no other Host than localhost.
	return client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:   "http://localhost/mcp",
		HTTPClient: &http.Client{Transport: f.front(t, addrs, i)},
	}, nil)
}

// call has the session's server count, and returns what it counts.
func call(t *testing.T, s *mcp.ClientSession) (int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callLimit)
	defer cancel()
	result, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "count", Arguments: map[string]any{}})
	if err != nil {
		return 0, err
	}
	counted, ok := result.StructuredContent.(map[string]any)
	if !ok {
		return 0, fmt.Errorf("the tool answered %v", result)
	}
	return int(counted["count"].(float64)), nil
}

// Tool servers keep a session in memory, and stock clients send its ID in
// Mcp-Session-Id.
func TestMCP(t *testing.T) {
	t.Parallel()
	const (
		clients = 24
		calls   = 9
	)
	var servers []*toolServer
	var nodes []node
	for i, name := range names {
		mark := fmt.Sprintf("4d00%02x", i)
		s, addr := startToolServer(t, minting(t, mint.Fixed(mint.Assignment{
			Server: name, Keys: []mint.Key{{Mint: true, Name: make([]byte, mint.NameSize), Text: mark}},
		})))
		servers = append(servers, s)
		nodes = append(nodes, node{name, addr, fmt.Sprintf("{prefix: %q}", mark)})
	}
	f := startFleet(t, "[{header: Mcp-Session-Id}]", "", nodes)
	strays := func() (n int64) {
		for _, s := range servers {
			n += s.strays.Load()
		}
		return n
	}

	sessions := make([]*mcp.ClientSession, clients)
	f.rounds(t, calls, func(round int) {
		each(clients, func(i int) {
			if round == 0 {
				s, err := f.connect(t, f.routed, i)
				if err != nil {
					t.Errorf("client %d: connecting: %v", i, err)
					return
				}
				sessions[i] = s
			}
			if sessions[i] == nil {
				return
			}
			if n, err := call(t, sessions[i]); err != nil || n != round+1 {
				t.Errorf("client %d, call %d: got %d, %v", i, round+1, n, err)
			}
		})
	})
	each(clients, func(i int) {
		if sessions[i] != nil {
			if err := sessions[i].Close(); err != nil {
				t.Errorf("client %d: closing: %v", i, err)
			}
		}
	})
	for i, s := range servers {
		if s.requests.Load() < clients {
			t.Errorf("server %s had %d requests; the sessions are not spread", names[i], s.requests.Load())
		}
	}
	if n := strays(); n != 0 {
		t.Errorf("%d requests reached a server that did not know their session; want none", n)
	}

	// Without the rule, a client is lost before its first call.
	var lost atomic.Int64
	each(clients, func(i int) {
		s, err := f.connect(t, f.control, i)
		if err != nil {
			lost.Add(1)
			return
		}
		defer func() { _ = s.Close() }() // its server may not know it any more
		for range calls {
			if _, err := call(t, s); err != nil {
				lost.Add(1)
				return
			}
		}
	})
	t.Logf("routed by mint: %d clients, no stray; round robin: %d of %d clients lost their session, %d strays",
		clients, lost.Load(), clients, strays())
	if lost.Load() == 0 || strays() == 0 {
		t.Error("round robin lost no session; the servers share them, and this test shows nothing")
	}
}
