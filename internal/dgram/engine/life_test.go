package engine_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/dgram"
	"github.com/mintmark/mintmark/internal/dgram/engine"
)

// The flows of a listener outlive a change of its settings: servers see the same
// address before and after.
func TestFlowsOutliveReload(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		b := start(t, options{portable: portable})
		c := b.client(t)
		ask(t, c, short("a", "1"))
		if got := ask(t, c, initial("zzzzzzzz")); got == "" {
			t.Fatal("no answer")
		}
		before := b.counted("mintmark_connections_total")
		addresses := map[string]netip.AddrPort{}
		for _, s := range b.servers {
			addresses[s.name] = addrOf(s.conn)
		}
		next := newPool(t, b.pool, addresses)
		b.proxy.Update(settings(t, next, options{protocol: dgram.QUIC, settings: engine.Settings{MaxFlows: 100}}))
		if got := ask(t, c, short("a", "2"))[0]; got != 'a' {
			t.Errorf("after the reload, a's ID went to %c", got)
		}
		if after := b.counted("mintmark_connections_total"); after != before {
			t.Errorf("%v flows were opened before the reload and %v after it", before, after-before)
		}

		// A server that is gone is not asked any more.
		delete(addresses, "a")
		b.proxy.Update(settings(t, newPool(t, next, addresses), options{protocol: dgram.QUIC}))
		if got := ask(t, c, short("a", "3"))[0]; got == 'a' {
			t.Error("a has left the pool and still gets datagrams")
		}
	})
}

// An ICMP error of a server is counted and ends nothing: the flow goes on when the
// server is back.
func TestICMPErrorsEndNothing(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		b := start(t, options{portable: portable})
		c := b.client(t)
		ask(t, c, short("a", "1"))
		at := addrOf(b.servers[0].conn)
		_ = b.servers[0].conn.Close()
		eventually(t, "errors are counted", func() bool {
			_, _ = c.Write(short("a", "2"))
			return b.counted("mintmark_datagram_errors_total", "error=refused", "direction=in") >= 2
		})
		if got := ask(t, c, short("b", "3"))[0]; got != 'b' {
			t.Errorf("while a is away, b's ID went to %c", got)
		}
		back := udp(t, at.String())
		go func() {
			buffer := make([]byte, 100)
			for {
				n, from, err := back.ReadFromUDPAddrPort(buffer)
				if err != nil {
					return
				}
				_, _ = back.WriteToUDPAddrPort(append([]byte("back"), buffer[:n]...), from)
			}
		}()
		eventually(t, "a answers again", func() bool {
			_, _ = c.Write(short("a", "4"))
			_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			buffer := make([]byte, 100)
			n, err := c.Read(buffer)
			return err == nil && strings.HasPrefix(string(buffer[:n]), "back")
		})
		if n := b.counted("mintmark_connections_total"); n != 2 {
			t.Errorf("%v flows were opened; want 2, one to each server", n)
		}
	})
}

// Flows that are idle expire, and what comes then finds its server all the same.
func TestIdleFlowsExpire(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		b := start(t, options{portable: portable, settings: engine.Settings{Idle: 50 * time.Millisecond}})
		c := b.client(t)
		ask(t, c, short("a", "1"))
		eventually(t, "the flow expires", func() bool { return b.counted("mintmark_connections_active") == 0 })
		if got := ask(t, c, short("a", "2"))[0]; got != 'a' {
			t.Errorf("after its flow has expired, a's ID went to %c", got)
		}
	})
}

// A drain ends when the traffic has gone, and not before.
func TestDrainWaitsForTheTraffic(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		b := start(t, options{portable: portable})
		c := b.client(t)
		ask(t, c, short("a", "1"))
		drained := make(chan int, 1)
		go func() { drained <- b.proxy.Drain(context.Background()) }()
		for busy := time.Now().Add(1500 * time.Millisecond); time.Now().Before(busy); {
			ask(t, c, short("a", "2"))
			select {
			case <-drained:
				t.Fatal("the drain ended under traffic")
			default:
			}
		}
		if left := <-drained; left != 0 {
			t.Errorf("%d flows were left of a drain without an end", left)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if left := b.proxy.Drain(ctx); left != 1 {
			t.Errorf("%d flows were left of a drain that was cut; want 1", left)
		}
	})
}

// A server that goes on sending to a client that is gone does not hold a drain.
func TestDrainDoesNotWaitForServers(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		server := udp(t, "127.0.0.1:0")
		b := startWith(t, options{portable: portable}, map[string]netip.AddrPort{"a": addrOf(server)})
		c := b.client(t)
		if _, err := c.Write(short("a", "1")); err != nil {
			t.Fatal(err)
		}
		_, from, err := server.ReadFromUDPAddrPort(make([]byte, 100))
		if err != nil {
			t.Fatal(err)
		}
		drained := make(chan int, 1)
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		go func() { drained <- b.proxy.Drain(ctx) }()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case left := <-drained:
				if left != 0 {
					t.Errorf("the drain waited for %v", wait)
				}
				return
			case <-tick.C:
				if _, err := server.WriteToUDPAddrPort([]byte("again"), from); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// With a listener on all addresses, answers come from the one that was asked.
func TestAnswersComeFromTheAddressThatWasAsked(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			b := start(t, options{address: listen})
			for _, host := range []string{"127.0.0.1", "127.9.8.7", "::1"} {
				if strings.Contains(host, ":") && strings.HasPrefix(listen, "0") {
					continue
				}
				at := netip.AddrPortFrom(netip.MustParseAddr(host), b.addr.Port())
				c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close() //nolint:errcheck // a test's
				if got := ask(t, c, short("b", host))[0]; got != 'b' {
					t.Errorf("%s: b's ID went to %c", host, got)
				}
			}
		})
	}
}

// Two listeners on one address would split its datagrams among them.
func TestAddressInUse(t *testing.T) {
	t.Parallel()
	b := start(t, options{})
	if s, err := engine.Listen(t.Context(), b.addr.String(), engine.ListenOptions{}); err == nil {
		s.Close()
		t.Error("an address that is served was bound a second time")
	}
	s, err := engine.Listen(t.Context(), b.addr.String(), engine.ListenOptions{Join: true})
	if err != nil {
		t.Fatalf("joining the sockets of an address: %v", err)
	}
	s.Close()
}

// Octets at a place route protocols of every kind.
func TestBytesRoute(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		b := start(t, options{portable: portable, protocol: dgram.UDP})
		c := b.client(t)
		for _, name := range []string{"a", "c"} {
			if got := ask(t, c, []byte("\x04"+name+"000 data"))[0]; got != name[0] {
				t.Errorf("%s's ID went to %c", name, got)
			}
		}
		home := ask(t, c, []byte("\x01c000 the condition does not hold"))[0]
		if again := ask(t, c, []byte("\x02a000 nor here"))[0]; again != home {
			t.Errorf("without an ID, a client went to %c and then to %c", home, again)
		}
	})
}
