package l4

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// The PROXY protocol (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt)
// begins with a signature of one of two kinds.
const (
	proxyV1Signature = "PROXY "                           // section 2.1
	proxyV2Signature = "\r\n\r\n\x00\r\nQUIT\n"           // section 2.2
	proxyV2Fixed     = len(proxyV2Signature) + 1 + 1 + 2  // signature, command, family, length
	maxProxyV1       = len("PROXY UNKNOWN ") + 2*40 + 2*6 // the 107 bytes of section 2.1, one to spare
)

// Errors of the PROXY protocol header of a trusted peer.
var (
	errNeedMoreHeader = errors.New("need more of the PROXY header")
	errNoHeader       = errors.New("no PROXY protocol header, and this peer must send one")
	errHeaderTooLong  = errors.New("PROXY protocol header too long")
)

// proxyHeaderLength returns the length of the PROXY header at the beginning of
// b; errNeedMoreHeader says that b is the beginning of one. The header is cut
// out here, in front of the parser, so that reading it takes no byte too many:
// the socket can be spliced afterwards.
func proxyHeaderLength(b []byte) (int, error) {
	switch {
	case beginsWith(b, proxyV2Signature):
		if len(b) < proxyV2Fixed {
			return 0, errNeedMoreHeader
		}
		n := proxyV2Fixed + int(binary.BigEndian.Uint16(b[proxyV2Fixed-2:]))
		switch {
		case n > maxProxyHeader:
			return 0, errHeaderTooLong
		case len(b) < n:
			return 0, errNeedMoreHeader
		}
		return n, nil
	case beginsWith(b, proxyV1Signature):
		if i := bytes.IndexByte(b[:min(len(b), maxProxyV1)], '\n'); i >= 0 {
			return i + 1, nil
		}
		if len(b) >= maxProxyV1 {
			return 0, errHeaderTooLong
		}
		return 0, errNeedMoreHeader
	}
	return 0, errNoHeader
}

// beginsWith reports whether b begins with s, as far as b goes.
func beginsWith(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

// parseProxyHeader reads a whole header, as proxyHeaderLength has cut it out.
// The addresses are those that the peer speaks for; ok is false when it speaks
// for itself (LOCAL, UNKNOWN) or for something without an IP address.
func parseProxyHeader(b []byte) (client, server netip.AddrPort, ok bool, err error) {
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return client, server, false, fmt.Errorf("reading the PROXY header: %w", err)
	}
	if h.Command.IsLocal() {
		return client, server, false, nil
	}
	src, ok1 := h.SourceAddr.(*net.TCPAddr)
	dst, ok2 := h.DestinationAddr.(*net.TCPAddr)
	if !ok1 || !ok2 {
		return client, server, false, nil
	}
	return addrPort(src), addrPort(dst), true, nil
}
