package datagram

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/mintmark/mintmark/test/lab"
)

const (
	// lull is after how long a client that has nothing to send is known to have
	// sent all acknowledgements, on a machine that is busy with other tests.
	lull = 2 * time.Second
	// pushInterval is how often servers send to clients that only receive.
	pushInterval = 20 * time.Millisecond
	keepAlive    = 500 * time.Millisecond
	idleTimeout  = 10 * time.Second
	// longIdle is more than clients have nothing to do while the others get ready,
	// on a machine that is busy.
	longIdle = 5 * time.Minute
)

// A pusher serves connections: each gets a stream that never ends, of the
// server's name again and again. Streams of clients are echoed.
type pusher struct{ paused atomic.Bool }

func (p *pusher) serve(s *quicServer, ln *quic.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := ln.Accept(context.Background())
		if err != nil {
			return
		}
		wg.Go(func() { p.push(s, conn) })
		wg.Go(func() { s.echo(conn) })
	}
}

func (p *pusher) push(s *quicServer, conn *quic.Conn) {
	stream, err := conn.OpenUniStream()
	if err != nil {
		return
	}
	tick := time.NewTicker(pushInterval)
	defer tick.Stop()
	for {
		if !p.paused.Load() {
			if _, err := io.WriteString(stream, s.name); err != nil {
				return
			}
		}
		select {
		case <-tick.C:
		case <-conn.Context().Done():
			return
		}
	}
}

// A receiver counts what is pushed to it.
type receiver struct {
	*quicClient
	mu    sync.Mutex
	count int
	name  string
	err   error // that ended it
}

func (f *fleet) receive(p *path, keepAlive time.Duration) *receiver {
	f.t.Helper()
	c, err := f.dial(p, &quic.Config{
		HandshakeIdleTimeout: settleLimit, MaxIdleTimeout: idleTimeout, KeepAlivePeriod: keepAlive, DisablePathMTUDiscovery: true,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	r := &receiver{quicClient: c}
	stream, err := c.conn.AcceptUniStream(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1)
		for {
			_, err := io.ReadFull(stream, buf)
			r.mu.Lock()
			r.err = err
			if err == nil {
				r.count++
			}
			switch {
			case err == nil && r.name == "":
				r.name = string(buf)
			case err == nil && r.name != string(buf):
				r.err = errors.New("another server answered")
			}
			err = r.err
			r.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	f.t.Cleanup(func() {
		_ = c.conn.CloseWithError(0, "the test is over")
		<-done
	})
	return r
}

func (r *receiver) state() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count, r.err
}

// A balancer dies, and its traffic comes to another that has seen none of it.
// Connections go on at the next datagram of the client. One whose client only
// receives goes on if it has keep-alives; without, nothing tells the new
// balancer that it is there, and it is lost.
func TestQUICSurvivesItsBalancer(t *testing.T) {
	t.Parallel()
	servers := new(pusher)
	f := startFleet(t, servers.serve, fourPass)
	first, second := f.balancer(fourPass), f.balancer(fourPass)
	p := newPath(t, first.addr)
	const each = 20
	var senders []*quicClient
	var kept, silent []*receiver
	for range each {
		c, err := f.dial(p, &quic.Config{HandshakeIdleTimeout: settleLimit, MaxIdleTimeout: longIdle, DisablePathMTUDiscovery: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.transfer(transferred); err != nil {
			t.Fatal(err)
		}
		senders = append(senders, c)
		kept = append(kept, f.receive(p, keepAlive))
		silent = append(silent, f.receive(p, 0))
	}
	// Nobody is left at the address that it began with, of which the hash would
	// find the server again.
	all := slices.Clone(senders)
	for i := range each {
		all = append(all, kept[i].quicClient, silent[i].quicClient)
	}
	for i, c := range all {
		if err := c.socket.rebind(); err != nil {
			t.Fatal(err)
		}
		if err := c.transfer(transferred); err != nil {
			t.Fatalf("client %d has another address: %v", i, err)
		}
	}
	for _, r := range append(kept, silent...) {
		lab.Eventually(t, settleLimit, "each client has received something", func() bool {
			n, err := r.state()
			return n > 2 && err == nil
		})
	}

	// A client that waits for an acknowledgement asks for it again, and would be
	// found thereby: let there be none.
	servers.paused.Store(true)
	for _, r := range silent {
		lab.Eventually(t, settleLimit, "the client has nothing to say", func() bool { return r.socket.quiet(lull) })
	}
	first.Kill()
	p.switchTo(t, second.addr)
	servers.paused.Store(false)
	var before, last []int
	for i := range each {
		n, _ := kept[i].state()
		before = append(before, n)
		n, _ = silent[i].state()
		last = append(last, n)
	}

	for i, c := range senders {
		if err := c.transfer(4); err != nil {
			t.Errorf("sender %d: %v", i, err)
		}
	}
	for i, r := range kept {
		lab.Eventually(t, settleLimit, "the client with keep-alives receives again", func() bool {
			n, err := r.state()
			return n > before[i]+5 && err == nil
		})
	}
	for i, r := range silent {
		lab.Eventually(t, settleLimit, "the client without keep-alives has ended", func() bool {
			_, err := r.state()
			return err != nil
		})
		n, err := r.state()
		if !errors.As(err, new(*quic.IdleTimeoutError)) || n != last[i] {
			t.Errorf("receiver %d without keep-alives ended with %v, having received %d more; want its idle timeout", i, err, n-last[i])
		}
	}
	f.noStrays()
}

var _ net.PacketConn = (*socket)(nil)
