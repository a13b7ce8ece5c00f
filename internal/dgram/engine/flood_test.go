package engine_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/dgram"
	"github.com/mintmark/mintmark/internal/dgram/engine"
)

// counted sums the series of a metric that have all of the labels, "name=value".
func (b *bench) counted(metric string, labels ...string) float64 {
	b.tb.Helper()
	families, err := b.metrics.Registry().Gather()
	if err != nil {
		b.tb.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != metric {
			continue
		}
		for _, m := range f.GetMetric() {
			if hasLabels(m, labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func hasLabels(m *dto.Metric, labels []string) bool {
	found := 0
	for _, l := range m.GetLabel() {
		for _, want := range labels {
			if l.GetName()+"="+l.GetValue() == want {
				found++
			}
		}
	}
	return found == len(labels)
}

// eventually waits until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for limit := time.Now().Add(wait); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			tb.Fatalf("not within %v: %s", wait, what)
		}
	}
}

// A flood of addresses fills the part of the table that is for clients that nobody
// knows. Clients with IDs of servers get every answer meanwhile, known before or not.
func TestFloodOfAddressesIsCapped(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		const most, flood = 40, 600
		b := start(t, options{portable: portable, settings: engine.Settings{MaxFlows: most}})
		known := b.client(t)
		if got := ask(t, known, short("a", "before")); got[0] != 'a' {
			t.Fatalf("got %q", got)
		}
		limit := float64(most + engine.Workers()) // rounded up for each worker
		for i := range flood {
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(b.addr))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(initial("zzzzzzzz")); err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
			if i%20 == 0 {
				if got := ask(t, known, short("a", fmt.Sprint(i)))[0]; got != 'a' {
					t.Fatalf("during the flood: a's client was answered by %c", got)
				}
				if got := ask(t, b.client(t), short("b", fmt.Sprint(i)))[0]; got != 'b' {
					t.Fatalf("during the flood: b's client was answered by %c", got)
				}
			}
			if n := b.counted("mintmark_connections_active"); n > limit {
				t.Fatalf("there are %v flows; the limit is %v", n, limit)
			}
		}
		eventually(t, "the flood is refused", func() bool {
			return b.counted("mintmark_refused_total", "cause=flow_limit") > flood/2
		})
	})
}

// A flood of random connection IDs opens no more flows than there are servers, and
// as many of them hit a server's space as the share of the spaces says.
func TestFloodOfIDsMatchesTheShare(t *testing.T) {
	t.Parallel()
	const flood, chunk = 20_000, 500
	b := start(t, options{})
	c := b.client(t)
	go func() { // answers are of no interest, and must not fill the socket's buffer
		buffer := make([]byte, 1<<16)
		for {
			if _, err := c.Read(buffer); err != nil {
				return
			}
		}
	}()
	random := rand.NewChaCha8([32]byte([]byte(strings.Repeat("m", 32))))
	decided := func() float64 { return b.counted("mintmark_decisions_total", "field=cid_short") }
	packet := make([]byte, 40)
	for i := range flood {
		_, _ = random.Read(packet)
		packet[0] = packet[0]&0x7f | 0x40
		if _, err := c.Write(packet); err != nil {
			t.Fatal(err)
		}
		if (i+1)%chunk == 0 {
			eventually(t, "all are decided", func() bool { return decided() == float64(i+1) })
		}
	}
	if n := b.counted("mintmark_connections_active"); n > 3 {
		t.Errorf("one client has %v flows to 3 servers", n)
	}
	share := b.pool.Config.Table.AssignedShare(idspace.FieldCIDShort)
	want := share * flood
	deviation := math.Sqrt(flood * share * (1 - share))
	got := b.counted("mintmark_decisions_total", "field=cid_short", "routed_by=mint")
	if math.Abs(got-want) > 5*deviation {
		t.Errorf("%v of %d random IDs were routed by mint; the share %v predicts %.0f, give or take %.0f", got, flood, share, want, deviation)
	}
	if rest := b.counted("mintmark_decisions_total", "field=cid_short", "routed_by=balance"); rest != flood-got {
		t.Errorf("%v were balanced; want the other %v", rest, flood-got)
	}
}

// What no endpoint could read goes nowhere, opens nothing, and is counted by cause.
func TestUnreadableIsRefused(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		b := start(t, options{portable: portable, protocol: dgram.DTLS})
		c := b.client(t)
		if _, err := c.Write([]byte("hello, world")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is refused", func() bool { return b.counted("mintmark_refused_total", "cause=not_dtls") == 1 })
		if n := b.counted("mintmark_connections_total"); n != 0 {
			t.Errorf("%v flows were opened", n)
		}
	})
}
