package daemon

import (
	"fmt"
	"testing"

	"github.com/mintmark/mintmark/idspace"
)

// The web UI's source reads a value as the listener does that it comes to: IDs of
// datagrams, and whole ones.
func TestSourceExplainsDatagrams(t *testing.T) {
	t.Parallel()
	d := start(t, fmt.Sprintf(`version: 1
listeners: [{name: h3, listen: %q, protocol: quic, pool: p}]
pools:
  - name: p
    health: {type: none}
    scheme: {kind: quic-lb, configs: [{id: 0, server_id_length: 3, nonce_length: 4}]}
    servers: [{name: a, address: %q, server_id: "0a0a0a"}, {name: b, address: %q, server_id: "0b0b0b"}]
`, freeAddr(t), udpServer(t, "a"), udpServer(t, "b")))
	s := &localSource{d: d.d}
	for name, c := range map[string]struct {
		value      string
		field      idspace.Field
		whole      bool
		by, server string
		cause      string // of QUIC-LB
	}{
		"an ID":          {"070b0b0b01020304", idspace.FieldNone, false, "mint", "b", ""},
		"a short header": {"40070a0a0a01020304aabbccddeeff00112233445566778899", idspace.FieldNone, true, "mint", "a", ""},
		"a long header":  {"c00000000108ff0102030405060704010203040044d000000000", idspace.FieldNone, true, "balance", "", "codepoint_111"},
		"nobody's ID":    {"07ffffff01020304", idspace.FieldCIDShort, false, "balance", "", "unknown_server_id"},
		"no datagram":    {"8000000001ff" + "000102030405060708090a0b0c0d0e0f", idspace.FieldNone, true, "refused", "", ""},
	} {
		m, err := s.Read("h3", c.value, c.field)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		x := s.Explain("h3", m)
		server := ""
		if x.Server != nil && c.server != "" {
			server = *x.Server
		}
		if m.Datagram == nil || m.Datagram.Whole != c.whole || x.RoutedBy != c.by || server != c.server {
			t.Errorf("%s: whole %v, routed by %s to %q (%s); want %v, %s, %q", name, m.Datagram.Whole, x.RoutedBy, server, x.Reason, c.whole, c.by, c.server)
		}
		if c.by != "refused" && (x.QUICLB == nil || x.QUICLB.Cause != c.cause) {
			t.Errorf("%s: QUIC-LB says %+v; want cause %q", name, x.QUICLB, c.cause)
		}
	}
	for _, nothing := range []string{"", "no hex!"} {
		if _, err := s.Read("h3", nothing, idspace.FieldNone); err == nil {
			t.Errorf("%q was read", nothing)
		}
	}
}
