package l4test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pires/go-proxyproto"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// proxyHeader formats a header with the library's encoder.
func proxyHeader(t *testing.T, version byte, src, dst string, tlvs ...proxyproto.TLV) []byte {
	t.Helper()
	addr := func(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	h := proxyproto.HeaderProxyFromAddrs(version, addr(src), addr(dst))
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// local is a header of version 2 with which a proxy speaks for itself.
func local() []byte { return []byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00") }

// testProxyHeaderIn reads headers of both versions, whole and cut, and passes
// the address on.
func testProxyHeaderIn(t *testing.T, f Factory) {
	long := proxyproto.TLV{Type: 0xe0, Value: bytes.Repeat([]byte("x"), 3000)}
	for _, c := range []struct {
		name   string
		header []byte
		client string // "": the real one
	}{
		{"v1 ipv4", proxyHeader(t, 1, "192.0.2.1:1001", "192.0.2.2:443"), "192.0.2.1:1001"},
		{"v1 ipv6", proxyHeader(t, 1, "[2001:db8::1]:1002", "[2001:db8::2]:443"), "[2001:db8::1]:1002"},
		{"v1 unknown", []byte("PROXY UNKNOWN\r\n"), ""},
		{"v1 unknown with addresses", []byte("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), ""},
		{"v2 ipv4", proxyHeader(t, 2, "192.0.2.1:1003", "192.0.2.2:443"), "192.0.2.1:1003"},
		{"v2 ipv6 with a long field", proxyHeader(t, 2, "[2001:db8::1]:1004", "[2001:db8::2]:443", long), "[2001:db8::1]:1004"},
		{"v2 local", local(), ""},
	} {
		for _, overTCP := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s tcp=%v", c.name, overTCP), func(t *testing.T) {
				su := overTLS(t, "a")
				su.settings.TLS = !overTCP
				su.settings.AcceptFrom = loopback()
				su.pool.Config.ProxyProtocol = 1
				r := start(t, f, su)
				a := r.serve("a")
				hello := plainHello()
				conn := r.dial()
				// Whole, and with the cut in the header or behind it.
				mustWrite(t, conn, append(bytes.Clone(c.header), hello[:7]...))
				mustWrite(t, conn, hello[7:])
				s := a.accept(t)
				want := c.client
				if want == "" {
					want = conn.LocalAddr().String()
				}
				in := bufio.NewReader(s)
				h, err := proxyproto.Read(in)
				if err != nil {
					t.Fatal(err)
				}
				if got := h.SourceAddr.String(); got != want {
					t.Errorf("the server was told of client %s; want %s", got, want)
				}
				rest := make([]byte, len(hello))
				wantReadSome(t, buffered{s, in}, rest)
				if !bytes.Equal(rest, hello) {
					t.Error("what follows the header is not the hello")
				}
				finish(t, conn, s)
			})
		}
	}
	t.Run("cut at each byte", func(t *testing.T) {
		su := overTLS(t, "a")
		su.settings.AcceptFrom = loopback()
		r := start(t, f, su)
		a := r.serve("a")
		buffer := &r.metrics.Listener(listenerName).HelloBuffered
		for _, h := range [][]byte{proxyHeader(t, 1, "192.0.2.1:1", "192.0.2.2:443"), proxyHeader(t, 2, "192.0.2.1:1", "192.0.2.2:443")} {
			for cut := 1; cut <= len(h); cut++ {
				conn := r.dial()
				mustWrite(t, conn, h[:cut])
				eventually(t, func() error {
					if buffer.Load() == 0 {
						return fmt.Errorf("nothing is buffered after %d bytes", cut)
					}
					return nil
				})
				mustWrite(t, conn, append(bytes.Clone(h[cut:]), plainHello()...))
				s := a.accept(t)
				wantRead(t, s, plainHello())
				finish(t, conn, s)
				_, _ = conn.Close(), s.Close()
			}
		}
	})
}

// buffered reads from a bufio.Reader in front of a connection.
type buffered struct {
	net.Conn
	in *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.in.Read(p) }

// testProxyHeaderRefused holds that a peer that must send a header does.
func testProxyHeaderRefused(t *testing.T, f Factory) {
	tooLong := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11"), 0xff, 0xff)
	noAddress := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11"), 0, 0)
	for _, c := range []struct {
		name  string
		bytes []byte
	}{
		{"none", plainHello()},
		{"v1 without an end", bytes.Repeat([]byte("PROXY TCP4 1.2.3.4 "), 10)},
		{"v1 with a wrong address", []byte("PROXY TCP4 1.2.3.400 1.2.3.4 1 2\r\n")},
		{"v1 with a wrong end", []byte("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n")},
		{"v2 too long", tooLong},
		{"v2 without addresses", noAddress},
		{"v2 of version 3", []byte("\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x00")},
	} {
		t.Run(c.name, func(t *testing.T) {
			su := overTLS(t, "a")
			su.settings.AcceptFrom = loopback()
			r := start(t, f, su)
			a := r.serve("a")
			conn := r.dial()
			mustWrite(t, conn, c.bytes)
			wantAlert(t, conn, tlshello.AlertDecodeError)
			r.wantRefused(l4.CauseProxyHeader, 1)
			closeWrite(t, conn)
			a.none(t)
		})
	}
	t.Run("never", func(t *testing.T) {
		su := tcp(t)
		su.settings.AcceptFrom = loopback()
		su.settings.HelloTimeout = 100 * time.Millisecond
		r := start(t, f, su)
		a := r.serve("a")
		wantReset(t, r.dial())
		r.wantRefused(l4.CauseHelloTimeout, 1)
		a.none(t)
	})
}

// testProxyHeaderUntrusted holds that a header from anybody else is bytes.
// That tls refuses it is in testRefusals.
func testProxyHeaderUntrusted(t *testing.T, f Factory) {
	su := tcp(t)
	su.settings.AcceptFrom = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::/0")}
	r := start(t, f, su)
	a := r.serve("a")
	c, s := r.pair(a, proxyHeader(t, 2, "192.0.2.1:1", "192.0.2.2:443"))
	finish(t, c, s)
}

// testProxyHeaderOut sends headers of both versions.
func testProxyHeaderOut(t *testing.T, f Factory) {
	hello := hellotest.Build(hellotest.Options{SNI: "www.example.com", ALPN: []string{"h2"}})
	for _, version := range []route.ProxyVersion{1, 2} {
		t.Run(version.String(), func(t *testing.T) {
			su := overTLS(t, "a")
			su.pool.Config.ProxyProtocol = version
			su.json = true
			r := start(t, f, su)
			a := r.serve("a")
			c := r.dial()
			mustWrite(t, c, hello)
			s := a.accept(t)
			in := bufio.NewReader(s)
			h, err := proxyproto.Read(in)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := h.SourceAddr.String(), c.LocalAddr().String(); got != want {
				t.Errorf("source %s; want the client's %s", got, want)
			}
			if got, want := h.DestinationAddr.String(), c.RemoteAddr().String(); got != want {
				t.Errorf("destination %s; want the listener's %s", got, want)
			}
			wantReadSome(t, buffered{s, in}, make([]byte, len(hello)))
			finish(t, c, s)
			if version == 1 {
				return
			}
			tlvs, err := h.TLVs()
			if err != nil {
				t.Fatal(err)
			}
			got := map[proxyproto.PP2Type]string{}
			for _, v := range tlvs {
				got[v.Type] = string(v.Value)
			}
			id := got[proxyproto.PP2_TYPE_UNIQUE_ID]
			delete(got, proxyproto.PP2_TYPE_UNIQUE_ID)
			want := map[proxyproto.PP2Type]string{
				proxyproto.PP2_TYPE_ALPN:      "h2",
				proxyproto.PP2_TYPE_AUTHORITY: "www.example.com",
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("fields (-want +got):\n%s", d)
			}
			// The log has the same name for the connection.
			if e := r.wantEntries(1)[0]; e["conn"] != fmt.Sprintf("%x", id) || len(id) != 16 {
				t.Errorf("unique ID %x; the log calls the connection %v", id, e["conn"])
			}
		})
	}
	t.Run("no header with a header in", func(t *testing.T) {
		su := overTLS(t, "a")
		su.settings.AcceptFrom = loopback()
		r := start(t, f, su)
		a := r.serve("a")
		c := r.dial()
		mustWrite(t, c, append(local(), hello...))
		s := a.accept(t)
		wantRead(t, s, hello)
		finish(t, c, s)
	})
}
