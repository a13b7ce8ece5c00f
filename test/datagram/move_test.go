package datagram

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"
)

const (
	connections = 200
	atATime     = 16 // of them that do something at the same time
	transferred = 8 << 10
	// rounds of moving. A client of quic-go holds three IDs in reserve, so after
	// a rotation it has one of the new configuration with its fourth migration.
	rounds = 5
)

// Clients that change their addresses again and again stay with their servers,
// while the configuration of connection IDs changes: no connection is lost, and
// no datagram comes to a server that did not mint its connection ID.
func TestQUICClientsMove(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ from, to scheme }{
		{plaintext, singlePass},
		{singlePass, fourPass},
		{fourPass, plaintext},
	} {
		t.Run(tc.from.name, func(t *testing.T) {
			t.Parallel()
			move(t, tc.from, tc.to, connections, rounds)
		})
	}
}

// move has connections move in so many rounds, each of which changes a
// connection's address twice: underneath it, as a NAT does, while it transfers,
// and by its own will. After the first round there is a rotation.
func move(t *testing.T, from, to scheme, connections, rounds int) {
	f := startFleet(t, echo, from, to)
	b := f.balancer(from)
	p := newPath(t, b.addr)
	clients := make([]*quicClient, connections)
	each(t, clients, func(i int, _ *quicClient) error {
		// Without keep-alives, a client whose port changes while it only receives
		// is never found again, balancer or not.
		c, err := f.dial(p, &quic.Config{HandshakeIdleTimeout: settleLimit, KeepAlivePeriod: keepAlive, DisablePathMTUDiscovery: true})
		if err != nil {
			return err
		}
		clients[i] = c
		return c.transfer(transferred)
	})
	// quic-go sometimes comes to a state in which it probes paths in vain, after
	// ports changed while it migrated; without a balancer it does so as often. The
	// connection goes on where it was.
	var stuck atomic.Int64
	for round := range rounds {
		if round == 1 {
			// Balancers first, then servers; connections keep their IDs.
			f.reload(b, from, to)
			for i, s := range f.servers {
				s.mint(t, i, to, &from)
			}
		}
		each(t, clients, func(_ int, c *quicClient) error {
			transfer := make(chan error, 1)
			go func() { transfer <- c.transfer(transferred) }()
			if err := errors.Join(c.socket.rebind(), <-transfer); err != nil {
				return fmt.Errorf("after its port changed: %w", err)
			}
			if err := c.migrate(); errors.Is(err, context.DeadlineExceeded) {
				stuck.Add(1)
			} else if err != nil {
				return err
			}
			if err := c.transfer(transferred); err != nil {
				return fmt.Errorf("after it migrated: %w", err)
			}
			return nil
		})
	}
	f.noStrays()
	byServer := map[string]int{}
	renewed := 0
	for _, c := range clients {
		byServer[c.server]++
		if c.socket.config.Load() == int32(to.id) {
			renewed++
		}
	}
	if len(byServer) != len(f.servers) {
		t.Errorf("connections are on the servers %v; want all three", byServer)
	}
	if renewed < connections*9/10 {
		t.Errorf("%d of %d connections have an ID of the new configuration", renewed, connections)
	}
	if n := stuck.Load(); n > int64(connections*rounds/10) {
		t.Errorf("%d of %d migrations did not come about", n, connections*rounds)
	}
	t.Logf("%d connections, by server %v; %d ended with an ID of the new configuration; %d of %d migrations did not come about",
		connections, byServer, renewed, stuck.Load(), connections*rounds)
	m := b.Metrics()
	if n := m.Sum("mintmark_decisions_total", map[string]string{"listener": "quic", "field": "cid_short", "routed_by": "mint"}); n == 0 {
		t.Error("the balancer says that it routed no short header by its ID")
	}
	if n := m.Sum("mintmark_decisions_total", map[string]string{"listener": "quic", "field": "cid_short", "routed_by": "balance"}); n != 0 {
		t.Errorf("the balancer balanced %v datagrams with a short header", n)
	}
}

// each calls do for all clients, some at a time, and ends the test if it fails
// for any.
func each(t *testing.T, clients []*quicClient, do func(i int, c *quicClient) error) {
	t.Helper()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		errs  []error
		slots = make(chan struct{}, atATime)
	)
	for i, c := range clients {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := do(i, c); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("connection %d: %w", i, err))
			}
		})
	}
	wg.Wait()
	if errs != nil {
		t.Fatalf("%d of %d connections failed; the first: %v", len(errs), len(clients), errors.Join(errs[:min(len(errs), 5)]...))
	}
}
