package l4

import (
	"encoding/binary"
	"net/netip"

	"github.com/mintmark/mintmark/internal/route"
)

// Type-length-value fields of a version 2 header (section 2.2 of the PROXY
// protocol specification, "Type-Length-Value").
const (
	tlvALPN      = 0x01
	tlvAuthority = 0x02
	tlvUniqueID  = 0x05
)

// maxAuthority bounds the server name that is passed on. No host name is
// longer (RFC 1035, 2.3.4); a client may send 64 KiB.
const maxAuthority = 255

// maxProxyOut is the length of the longest header: fixed part, two IPv6
// addresses with ports, and the fields.
const maxProxyOut = proxyV2Fixed + 36 + (3 + 255) + (3 + maxAuthority) + (3 + 16)

// A proxyHeader is what is told a server about a connection.
type proxyHeader struct {
	version        route.ProxyVersion
	client, server netip.AddrPort // both zero: not known
	sni            []byte
	alpn           []byte // ProtocolNameList as offered (RFC 7301, 3.1)
	id             connID
}

// appendProxyHeader appends what the pool wants its servers to be told, if
// anything. local is the address of the socket that the client connected to.
func (r *record) appendProxyHeader(b []byte, o *opening, local netip.AddrPort) []byte {
	h := proxyHeader{
		version: r.pool.Config.ProxyProtocol, client: r.client, server: o.dialed, id: r.id(),
		sni: o.hello.SNI, alpn: o.hello.ALPN,
	}
	if !h.server.IsValid() {
		h.server = local
	}
	return h.appendTo(b)
}

// appendTo appends the header to b; nothing for version 0.
func (h *proxyHeader) appendTo(b []byte) []byte {
	switch h.version {
	case 0:
		return b
	case 1:
		return h.appendV1(b)
	default:
		return h.appendV2(b)
	}
}

// family returns both addresses in one family, as the header needs them: two
// IPv4 addresses as such, everything else as IPv6.
func (h *proxyHeader) family() (src, dst netip.Addr, v4, known bool) {
	src, dst = h.client.Addr().Unmap(), h.server.Addr().Unmap()
	if !src.IsValid() || !dst.IsValid() {
		return src, dst, false, false
	}
	if src.Is4() && dst.Is4() {
		return src, dst, true, true
	}
	return netip.AddrFrom16(src.As16()), netip.AddrFrom16(dst.As16()), false, true
}

func (h *proxyHeader) appendV1(b []byte) []byte {
	src, dst, v4, known := h.family()
	switch {
	case !known:
		return append(b, "PROXY UNKNOWN\r\n"...)
	case v4:
		b = append(b, "PROXY TCP4 "...)
	default:
		b = append(b, "PROXY TCP6 "...)
	}
	b = append(src.WithZone("").AppendTo(b), ' ')
	b = append(dst.WithZone("").AppendTo(b), ' ')
	b = append(appendDecimal(b, h.client.Port()), ' ')
	return append(appendDecimal(b, h.server.Port()), "\r\n"...)
}

func (h *proxyHeader) appendV2(b []byte) []byte {
	const (
		localCommand = 0x20 // version 2, LOCAL
		proxyCommand = 0x21 // version 2, PROXY
		unspec       = 0x00
		tcp4         = 0x11
		tcp6         = 0x21
	)
	b = append(b, proxyV2Signature...)
	at := len(b)
	src, dst, v4, known := h.family()
	switch {
	case !known:
		// A client on a unix socket. PROXY with an unspecified family would
		// say it better, but receivers may refuse that, and LOCAL never.
		b = append(b, localCommand, unspec, 0, 0)
	case v4:
		s, d := src.As4(), dst.As4()
		b = append(append(append(b, proxyCommand, tcp4, 0, 0), s[:]...), d[:]...)
	default:
		s, d := src.As16(), dst.As16()
		b = append(append(append(b, proxyCommand, tcp6, 0, 0), s[:]...), d[:]...)
	}
	if known {
		b = binary.BigEndian.AppendUint16(b, h.client.Port())
		b = binary.BigEndian.AppendUint16(b, h.server.Port())
	}
	if p := onlyProtocol(h.alpn); len(p) > 0 {
		b = appendTLV(b, tlvALPN, p)
	}
	if isHostName(h.sni) {
		b = appendTLV(b, tlvAuthority, h.sni)
	}
	id := h.id.bytes()
	b = appendTLV(b, tlvUniqueID, id[:])
	binary.BigEndian.PutUint16(b[at+2:], uint16(len(b)-at-4)) // at most 36+3*(3+255): fits
	return b
}

func appendTLV(b []byte, kind byte, value []byte) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value))) // callers bound it to 255
	return append(b, value...)
}

// onlyProtocol returns the protocol of an ALPN extension that offers exactly
// one. Which of several the server will choose is not known here, and the
// field names the one in use.
func onlyProtocol(list []byte) []byte {
	if len(list) < 2 || int(list[0]) != len(list)-1 {
		return nil
	}
	return list[1:]
}

// isHostName reports whether a server name may be passed on: what a client
// made up to confuse a server's log may not.
func isHostName(name []byte) bool {
	if len(name) == 0 || len(name) > maxAuthority {
		return false
	}
	for _, c := range name {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return true
}

func appendDecimal(b []byte, n uint16) []byte {
	if n >= 10 {
		b = appendDecimal(b, n/10)
	}
	return append(b, byte('0'+n%10))
}
