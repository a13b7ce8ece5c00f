package l4_test

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/route"
)

// FuzzProxyHeader holds of any bytes: no panic; a header is not longer than
// the limit; what is cut out is exactly what the library would have read from
// a stream; and every shorter piece of it asks for more.
func FuzzProxyHeader(f *testing.F) {
	for _, s := range []string{
		"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nrest", "PROXY UNKNOWN\r\n", "PROXY TCP6 ::1 ::2 1 2\r\n", "PROXY",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02rest",
		"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", "\x16\x03\x01",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := l4.ProxyHeaderLength(b)
		if err != nil {
			return
		}
		if n > len(b) || n > l4.MaxProxyHeader {
			t.Fatalf("a header of %d bytes in %d", n, len(b))
		}
		for i := range n {
			if _, err := l4.ProxyHeaderLength(b[:i]); !errors.Is(err, l4.ErrNeedMoreHeader) {
				t.Fatalf("after %d of %d bytes: %v; want to need more", i, n, err)
			}
		}
		client, _, ok, err := l4.ParseProxyHeader(b[:n])
		in := bytes.NewReader(b)
		stream := bufio.NewReaderSize(in, 1<<17)
		h, libErr := proxyproto.Read(stream)
		if (err == nil) != (libErr == nil) {
			t.Fatalf("cut out: %v; from a stream: %v", err, libErr)
		}
		if err != nil {
			return
		}
		if read := len(b) - in.Len() - stream.Buffered(); read != n {
			t.Fatalf("the library reads %d bytes, cut out were %d", read, n)
		}
		if ok {
			if want := h.SourceAddr.(*net.TCPAddr).AddrPort(); client.Addr().Unmap() != want.Addr().Unmap() || client.Port() != want.Port() {
				t.Fatalf("client %v; the library says %v", client, want)
			}
		}
	})
}

// FuzzProxyHeaderOut holds that what is written is read again as the same, and
// fits its buffer, whatever a client says of itself.
func FuzzProxyHeaderOut(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, []byte{5, 6, 7, 8}, uint16(1), uint16(443), []byte("www.example.com"), []byte("\x02h2"))
	f.Add(make([]byte, 16), []byte{5, 6, 7, 8}, uint16(65535), uint16(0), bytes.Repeat([]byte("a"), 300), []byte("\x02h2\x08http/1.1"))
	f.Add([]byte{}, []byte{}, uint16(1), uint16(1), []byte("\r\nPROXY"), bytes.Repeat([]byte{255}, 256))
	f.Fuzz(func(t *testing.T, src, dst []byte, sport, dport uint16, sni, alpn []byte) {
		s, known1 := netip.AddrFromSlice(src)
		d, known2 := netip.AddrFromSlice(dst)
		client, server := netip.AddrPortFrom(s.Unmap(), sport), netip.AddrPortFrom(d.Unmap(), dport)
		for _, v := range []route.ProxyVersion{1, 2} {
			b := l4.AppendProxyHeader(nil, v, client, server, sni, alpn)
			if len(b) > l4.MaxProxyOut {
				t.Fatalf("%d bytes; the buffer has %d", len(b), l4.MaxProxyOut)
			}
			n, err := l4.ProxyHeaderLength(b)
			if err != nil || n != len(b) {
				t.Fatalf("%q is read as %d bytes of %d, %v", b, n, len(b), err)
			}
			gotClient, gotServer, ok, err := l4.ParseProxyHeader(b)
			if err != nil || ok != (known1 && known2) {
				t.Fatalf("%q is read as ok=%v, %v", b, ok, err)
			}
			if ok && (gotClient != client || gotServer != server) {
				t.Fatalf("%q is read as %v %v; want %v %v", b, gotClient, gotServer, client, server)
			}
		}
	})
}

// TestProxyHeaderNames holds what of a hello is passed on.
func TestProxyHeaderNames(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddrPort("192.0.2.1:1")
	for _, c := range []struct {
		name, sni, alpn         string
		wantSNI, wantALPN, hint string
	}{
		{"both", "www.example.com", "\x02h2", "www.example.com", "h2", ""},
		{"several protocols", "a", "\x02h2\x08http/1.1", "a", "", "which one is chosen is not known"},
		{"not a host name", "a b", "", "", "", "it could confuse a log"},
		{"longest", strings.Repeat("a", 255), "", strings.Repeat("a", 255), "", ""},
		{"too long", strings.Repeat("a", 256), "", "", "", ""},
		{"none", "", "", "", "", ""},
	} {
		b := l4.AppendProxyHeader(nil, 2, addr, addr, []byte(c.sni), []byte(c.alpn))
		h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		tlvs, err := h.TLVs()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var sni, alpn string
		for _, v := range tlvs {
			switch v.Type {
			case proxyproto.PP2_TYPE_AUTHORITY:
				sni = string(v.Value)
			case proxyproto.PP2_TYPE_ALPN:
				alpn = string(v.Value)
			default:
			}
		}
		if sni != c.wantSNI || alpn != c.wantALPN {
			t.Errorf("%s: passed on %q and %q; want %q and %q %s", c.name, sni, alpn, c.wantSNI, c.wantALPN, c.hint)
		}
	}
}

func BenchmarkAppendProxyHeader(b *testing.B) {
	addr := netip.MustParseAddrPort("192.0.2.1:1")
	var space [l4.MaxProxyOut]byte
	sni, alpn := []byte("www.example.com"), []byte("\x02h2")
	b.ReportAllocs()
	for b.Loop() {
		l4.AppendProxyHeader(space[:0], 2, addr, addr, sni, alpn)
	}
}
