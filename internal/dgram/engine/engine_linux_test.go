package engine_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/dgram/engine"
)

func control(t *testing.T, c *net.UDPConn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil || inner != nil {
		t.Fatal(err, inner)
	}
}

// ecnOf receives a datagram and returns its ECN bits and its sender.
func ecnOf(t *testing.T, c *net.UDPConn) (ecn byte, from netip.AddrPort) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(wait))
	data, oob := make([]byte, 2000), make([]byte, 200)
	_, oobn, _, from, err := c.ReadMsgUDPAddrPort(data, oob)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if m.Header.Type == unix.IP_TOS && m.Header.Level == unix.IPPROTO_IP ||
			m.Header.Type == unix.IPV6_TCLASS && m.Header.Level == unix.IPPROTO_IPV6 {
			return m.Data[0] & 3, from
		}
	}
	t.Fatal("the ECN bits are not among the control messages")
	return 0, from
}

// ECN bits are the same on the other side, in both directions and both families.
func TestECNIsKept(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "[::1]", ""} {
		t.Run("on "+host, func(t *testing.T) {
			t.Parallel()
			bound := host
			if bound == "" {
				bound = "127.0.0.1" // asked over IPv4 on an IPv6 socket
			}
			server := udp(t, bound+":0")
			recv := func(fd int) error {
				if bound == "[::1]" {
					return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
				}
				return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
			}
			mark := func(ecn int) func(int) error {
				return func(fd int) error {
					if bound == "[::1]" {
						return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, ecn)
					}
					return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, ecn)
				}
			}
			control(t, server, recv)
			at := addrOf(server)
			b := startWith(t, options{address: host + ":0"}, map[string]netip.AddrPort{"a": at})
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(bound+":"+portText(b.addr))))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close() //nolint:errcheck // a test's
			control(t, c, recv)
			for ecn := range 4 {
				control(t, c, mark(ecn))
				if _, err := c.Write(short("a", "x")); err != nil {
					t.Fatal(err)
				}
				got, from := ecnOf(t, server)
				if int(got) != ecn {
					t.Errorf("to the server: ECN %d became %d", ecn, got)
				}
				control(t, server, mark(3-ecn))
				if _, err := server.WriteToUDPAddrPort([]byte("y"), from); err != nil {
					t.Fatal(err)
				}
				if got, _ := ecnOf(t, c); int(got) != 3-ecn {
					t.Errorf("to the client: ECN %d became %d", 3-ecn, got)
				}
			}
		})
	}
}

// Datagrams that a sender gives the kernel as one run arrive one by one, in both
// directions, whatever the last one's size.
func TestRunsArriveAsDatagrams(t *testing.T) {
	t.Parallel()
	server := udp(t, "127.0.0.1:0")
	b := startWith(t, options{}, map[string]netip.AddrPort{"a": addrOf(server)})
	c := b.client(t)
	run := func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000) }
	control(t, c, run)
	control(t, server, run)
	var whole []byte
	for i := range 20 {
		packet := short("a", string(bytes.Repeat([]byte{byte(i)}, 998)))
		whole = append(whole, packet...)
	}
	for _, size := range []int{len(whole), len(whole) - 300, 1000, 1500} {
		if _, err := c.Write(whole[:size]); err != nil {
			t.Fatal(err)
		}
		from := expectRun(t, server, whole[:size])
		if _, err := server.WriteToUDPAddrPort(whole[:size], from); err != nil {
			t.Fatal(err)
		}
		expectRun(t, c, whole[:size])
	}
}

// expectRun receives what was sent as one run of datagrams of 1000 octets.
func expectRun(t *testing.T, c *net.UDPConn, run []byte) (from netip.AddrPort) {
	t.Helper()
	buffer := make([]byte, 1<<16)
	for len(run) > 0 {
		want := run[:min(1000, len(run))]
		run = run[len(want):]
		_ = c.SetReadDeadline(time.Now().Add(wait))
		n, sender, err := c.ReadFromUDPAddrPort(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if from = sender; !bytes.Equal(buffer[:n], want) {
			t.Fatalf("a datagram of %d octets came as one of %d", len(want), n)
		}
	}
	return from
}

// Under load, nothing is lost or exchanged: eight clients with bursts, and answers.
func TestBurstsComeBackWhole(t *testing.T) {
	t.Parallel()
	b := start(t, options{settings: engine.Settings{Significant: 1}})
	const clients, bursts = 8, 60
	const burst = 16 // three clients' fit into the buffer of their server
	done := make(chan string, clients)
	for i := range clients {
		c := b.client(t)
		name := string("abc"[i%3])
		go func() {
			fault := ""
			buffer := make([]byte, 2000)
			for n := range bursts {
				for k := range burst {
					_, _ = c.Write(short(name, string([]byte{byte(i), byte(n), byte(k)})+string(make([]byte, 1000))))
				}
				for k := range burst {
					_ = c.SetReadDeadline(time.Now().Add(wait))
					size, err := c.Read(buffer)
					want := append([]byte(name), short(name, string([]byte{byte(i), byte(n), byte(k)}))...)
					if err != nil || size != 1006 || !bytes.HasPrefix(buffer[:size], want) {
						fault = name + " was not answered in order"
					}
				}
			}
			done <- fault
		}()
	}
	for range clients {
		if fault := <-done; fault != "" {
			t.Error(fault)
		}
	}
}
