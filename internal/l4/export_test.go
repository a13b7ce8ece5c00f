package l4

import (
	"net/netip"
	"os"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// What tests from outside need to see of the inside.

// Limits.
const (
	MinAcceptWait  = minAcceptWait
	MaxAcceptWait  = maxAcceptWait
	MaxPendingLog  = maxPendingLog
	MaxProxyHeader = maxProxyHeader
	MaxProxyOut    = maxProxyOut
)

// Functions and errors.
var (
	ProxyHeaderLength = proxyHeaderLength
	ParseProxyHeader  = parseProxyHeader
	ErrNeedMoreHeader = errNeedMoreHeader
)

// AppendProxyHeader appends a PROXY header to b.
func AppendProxyHeader(b []byte, version route.ProxyVersion, client, server netip.AddrPort, sni, alpn []byte) []byte {
	h := proxyHeader{version: version, client: client, server: server, sni: sni, alpn: alpn}
	return h.appendTo(b)
}

// AppendEntry appends a log line about a connection to b.
func AppendEntry(b []byte, json bool, sni, pool, server string) []byte {
	e := entry{
		id:       connID{epoch: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, serial: 9},
		accepted: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC),
		duration: 1234 * time.Microsecond,
		listener: "front", client: netip.MustParseAddrPort("[2001:db8::1]:443"),
		sni: sni, pool: route.PoolName(pool), server: route.ServerName(server),
		field: idspace.FieldTicket, routedBy: route.ByGroup, outcome: tlshello.OutcomeDeclined,
		in: 10, out: 20, cause: route.CauseOwnerDown, end: endServerReset,
	}
	return e.appendTo(b, json)
}

// NewAccessLog returns an AccessLog that writes to f.
func NewAccessLog(f *os.File) *AccessLog { return newAccessLog("", FormatText, f) }
