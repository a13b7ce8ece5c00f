package load_test

import (
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"github.com/mintmark/mintmark/bench/internal/load"
)

// Each kind of traffic works when nothing is between its two ends.
func TestKindsWorkWithoutProxy(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]load.Kind{
		"short":     load.Short{},
		"sessions":  load.Sessions{Count: 50, Marks: 3},
		"ping-pong": load.PingPong{Conns: 4},
		"bulk":      load.Bulk{Conns: 2},
		"idle":      load.Idle{},
		"resume":    load.Resume{Servers: 1},
		"datagrams": &load.Datagrams{Flows: 2},
		"echo":      &load.Datagrams{Flows: 2, Echo: true},
		"http":      load.HTTP{Conns: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const ops = 40
			servers, err := kind.Serve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer servers.Stop()
			c, err := kind.Open(t.Context(), servers.Addrs[0])
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s, err := c.Run(t.Context(), load.Phase{Ops: ops})
			if err != nil {
				t.Fatal(err)
			}
			if s.Ops != ops || s.Elapsed <= 0 || !slices.IsSorted(s.Latencies) {
				t.Errorf("got %+v; want %d operations, latencies in order", s, ops)
			}
		})
	}
}

func TestRateIsKept(t *testing.T) {
	t.Parallel()
	servers, err := load.Short{}.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Stop()
	c, err := load.Short{}.Open(t.Context(), servers.Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	const ops, rate = 20, 200
	s, err := c.Run(t.Context(), load.Phase{Ops: ops, Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	if least := (ops - 1) * time.Second / rate; s.Elapsed < least {
		t.Errorf("%d operations at %d/s took %v; want at least %v", ops, rate, s.Elapsed, least)
	}
}

// A fault of the proxy is an error, not a measurement.
func TestFaultEndsThePhase(t *testing.T) {
	t.Parallel()
	servers, err := load.Sessions{Count: 1, Marks: 1}.Serve(t.Context()) // answers something else
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Stop()
	c, err := load.Short{}.Open(t.Context(), servers.Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	if s, err := c.Run(t.Context(), load.Phase{Ops: 100}); err == nil {
		t.Errorf("got %+v; want an error, because the answers are wrong", s)
	}
}

func TestSessionIDs(t *testing.T) {
	t.Parallel()
	s := load.Sessions{Count: 1000, Marks: 10}
	seen := map[string]bool{}
	for i := range s.Count {
		id := hex.EncodeToString(s.ID(i))
		if seen[id] || seen[s.Key(i)] {
			t.Fatalf("session %d has the ID or key of another: %s", i, id)
		}
		seen[id], seen[s.Key(i)] = true, true
	}
	if got := hex.EncodeToString(s.ID(12)[:4]); got != "4d000002" {
		t.Errorf("session 12 of ten servers has the mark %s; want the third server's", got)
	}
}
