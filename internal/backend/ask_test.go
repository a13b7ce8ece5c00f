package backend

import (
	"context"
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// answer is a server of datagrams: what it returns is sent back.
func answer(t *testing.T, reply func(n int, datagram []byte) [][]byte) string {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2048)
		for n := 0; ; n++ {
			size, from, err := conn.ReadFromUDP(buf)
			if err != nil {
				return
			}
			for _, b := range reply(n, buf[:size]) {
				_, _ = conn.WriteToUDP(b, from)
			}
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		wg.Wait()
	})
	return conn.LocalAddr().String()
}

// negotiation is the Version Negotiation packet (RFC 8999, 6) that answers a
// packet with connection IDs of 8 octets; flip changes one octet of it.
func negotiation(packet []byte, flip int) []byte {
	b := []byte{0x80, 0, 0, 0, 0, 8}
	b = append(b, packet[15:23]...) // the source of the packet
	b = append(b, 8)
	b = append(b, packet[6:14]...) // its destination
	b = append(b, 0, 0, 0, 1)
	if flip >= 0 {
		b[flip] ^= 1
	}
	return b
}

func hexOf(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestChecksByDatagrams(t *testing.T) {
	t.Parallel()
	// A HelloVerifyRequest with a cookie of two octets (RFC 6347, 4.2.1), and an
	// alert.
	verify := hexOf(t, "16 feff 0000 000000000000 0011  03 000005 0000 000000 000005  feff 02 aabb")
	alert := hexOf(t, "15 fefd 0000 000000000000 0002  02 28")
	junk := hexOf(t, "00 01 02 03")
	for name, tc := range map[string]struct {
		health route.HealthType
		reply  func(n int, datagram []byte) [][]byte
		fails  bool
	}{
		"quic answers": {route.HealthQUIC, func(_ int, b []byte) [][]byte { return [][]byte{negotiation(b, -1)} }, false},
		"quic asks by the rules": {route.HealthQUIC, func(_ int, b []byte) [][]byte {
			// RFC 9000, 14.1 and 15: an Initial has 1200 octets, a reserved
			// version the form 0x?a?a?a?a.
			if len(b) != 1200 || b[0]&0xc0 != 0xc0 || b[1]&0xf != 0xa || b[2]&0xf != 0xa || b[3]&0xf != 0xa || b[4]&0xf != 0xa {
				return nil
			}
			return [][]byte{negotiation(b, -1)}
		}, false},
		"quic, the first lost": {route.HealthQUIC, func(n int, b []byte) [][]byte {
			if n == 0 {
				return nil
			}
			return [][]byte{negotiation(b, -1)}
		}, false},
		"quic, after something else": {route.HealthQUIC, func(_ int, b []byte) [][]byte { return [][]byte{junk, {}, negotiation(b, -1)} }, false},
		"quic, another destination":  {route.HealthQUIC, func(_ int, b []byte) [][]byte { return [][]byte{negotiation(b, 6)} }, true},
		"quic, another source":       {route.HealthQUIC, func(_ int, b []byte) [][]byte { return [][]byte{negotiation(b, 15)} }, true},
		"quic, an echo":              {route.HealthQUIC, func(_ int, b []byte) [][]byte { return [][]byte{b} }, true},
		"quic, silence":              {route.HealthQUIC, func(int, []byte) [][]byte { return nil }, true},
		"dtls, HelloVerifyRequest":   {route.HealthDTLS, func(int, []byte) [][]byte { return [][]byte{verify} }, false},
		"dtls, an alert":             {route.HealthDTLS, func(int, []byte) [][]byte { return [][]byte{alert} }, false},
		"dtls, an echo":              {route.HealthDTLS, func(_ int, b []byte) [][]byte { return [][]byte{b} }, true},
		"dtls, something else":       {route.HealthDTLS, func(int, []byte) [][]byte { return [][]byte{junk} }, true},
		"dtls, silence":              {route.HealthDTLS, func(int, []byte) [][]byte { return nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute
			if tc.fails {
				timeout = 200 * time.Millisecond
			}
			err := probeOnce(t, answer(t, tc.reply), route.HealthConfig{Type: tc.health}, route.ProxyNone, timeout)
			if tc.fails != (err != nil) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A server that sends without end something that is no answer does not keep
// the check reading.
func TestCheckByDatagramsIsBounded(t *testing.T) {
	t.Parallel()
	flood := answer(t, func(int, []byte) [][]byte {
		all := make([][]byte, maxAnswers+1)
		for i := range all {
			all[i] = []byte{0}
		}
		return all
	})
	began := time.Now()
	if err := probeOnce(t, flood, route.HealthConfig{Type: route.HealthQUIC}, route.ProxyNone, time.Minute); err == nil {
		t.Error("a flood was taken for an answer")
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the check went on for %v", took)
	}
}

// Nobody listens: the ICMP error says so, long before the timeout.
func TestCheckByDatagramsIsRefused(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	err = probeOnce(t, conn.LocalAddr().String(), route.HealthConfig{Type: route.HealthDTLS}, route.ProxyNone, time.Minute)
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v; want a refusal", err)
	}
}

// The end of a check's context ends it at once.
func TestCheckByDatagramsEnds(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 16)
	address := answer(t, func(int, []byte) [][]byte {
		asked <- struct{}{}
		return nil
	})
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	go func() {
		<-asked
		cancel()
	}()
	q, _ := questionOf(route.HealthQUIC)
	if err := q.ask(ctx, conn); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("got %v; want no answer", err)
	}
}

// A lateConn sets the deadline of its reader after the end of the check.
type lateConn struct {
	net.Conn
	end   context.CancelFunc
	ended chan struct{}
}

func (c *lateConn) SetDeadline(t time.Time) error {
	defer close(c.ended)
	return c.Conn.SetDeadline(t)
}

func (c *lateConn) SetReadDeadline(t time.Time) error {
	c.end()
	<-c.ended
	return c.Conn.SetReadDeadline(t)
}

// Also when it ends between two steps of the check.
func TestCheckByDatagramsEndsBetweenSteps(t *testing.T) {
	t.Parallel()
	conn, err := net.Dial("udp", answer(t, func(int, []byte) [][]byte { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	late := time.AfterFunc(10*time.Second, func() {
		t.Error("the check goes on after its end")
		_ = conn.Close()
	})
	defer late.Stop()
	q, _ := questionOf(route.HealthQUIC)
	if err := q.ask(ctx, &lateConn{Conn: conn, end: cancel, ended: make(chan struct{})}); err == nil {
		t.Error("a check that was ended succeeded")
	}
}
