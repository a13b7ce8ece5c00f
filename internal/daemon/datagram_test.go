package daemon

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// udpServer answers each datagram with its name and where it came from.
func udpServer(t *testing.T, name string) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = c.Close(); <-done })
	go func() {
		defer close(done)
		buffer := make([]byte, 2000)
		for {
			_, from, err := c.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(name+" "+from.String()), from)
		}
	}()
	return c.LocalAddr().String()
}

func askUDP(t *testing.T, c net.Conn, datagram string) string {
	t.Helper()
	buffer := make([]byte, 2000)
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); {
		if _, err := c.Write([]byte(datagram)); err != nil {
			continue // the ICMP error of an address that is not open (yet)
		}
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if n, err := c.Read(buffer); err == nil {
			return string(buffer[:n])
		}
	}
	t.Fatal("no answer within 10s")
	return ""
}

// Flows outlive a reload, also one that moves a server's space; a listener that
// leaves the file closes its address, and one that comes opens it.
func TestReloadKeepsFlows(t *testing.T) {
	t.Parallel()
	at, other := freeAddr(t), freeAddr(t)
	a, b := udpServer(t, "a"), udpServer(t, "b")
	text := func(listen, idA, idB string) string {
		return fmt.Sprintf(`version: 1
shutdown_grace: 5s
listeners: [{name: h3, listen: %q, protocol: quic, pool: p}]
pools:
  - name: p
    health: {type: none}
    scheme: {kind: quic-lb, configs: [{id: 0, server_id_length: 3, nonce_length: 4}]}
    servers: [{name: a, address: %q, server_id: %q}, {name: b, address: %q, server_id: %q}]
`, listen, a, idA, b, idB)
	}
	d := start(t, text(at, "0a0a0a", "0b0b0b"))
	c, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	toA := "\x40\x07\x0a\x0a\x0anonce and more than that"
	before := askUDP(t, c, toA)
	if !strings.HasPrefix(before, "a ") {
		t.Fatalf("a's ID was answered by %q", before)
	}

	d.write(text(at, "0a0a0a", "0b0b0c"))
	if err := d.d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := askUDP(t, c, toA); after != before {
		t.Errorf("after a reload the server saw %q, before it %q", after, before)
	}
	d.write(text(at, "0c0c0c", "0a0a0a"))
	if err := d.d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := askUDP(t, c, toA); !strings.HasPrefix(after, "b ") {
		t.Errorf("the ID is b's now, and %q answers", after)
	}

	d.write(text(other, "0a0a0a", "0b0b0b"))
	if err := d.d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	moved, err := net.Dial("udp", other)
	if err != nil {
		t.Fatal(err)
	}
	defer moved.Close()
	if got := askUDP(t, moved, toA); !strings.HasPrefix(got, "a ") {
		t.Errorf("at its new address, a's ID was answered by %q", got)
	}
	free, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatalf("the old address is still taken: %v", err)
	}
	_ = free.Close()
}
