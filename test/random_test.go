package test

import (
	"crypto/tls"
	"fmt"
	"testing"

	"github.com/mintmark/mintmark/test/lab"
)

// A TLS 1.3 client sends a random session_id with every hello. Where every
// value is somebody's, each of them would look minted: so none may be looked
// up, while tickets, which are not random, still come home. The pool that is
// told to look (random_ids: route) shows what would happen.
func TestRandomSessionIDsAreNotMinted(t *testing.T) {
	t.Parallel()
	cert := lab.NewCert(t)
	a, b := lab.StartNginx(t, cert, "a", "2a"), lab.StartNginx(t, cert, "b", "c5")
	admin, auto, route := lab.FreeAddr(t), lab.FreeAddr(t), lab.FreeAddr(t)
	servers := fmt.Sprintf(`
      - {name: a, address: %q, ids: [{range: {from: "00", to: "7f"}}]}
      - {name: b, address: %q, ids: [{range: {from: "80", to: "ff"}}]}`, a.Addr, b.Addr)
	balancer := lab.StartBalancer(t, mintmark, admin, fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - {name: auto, listen: %q, protocol: tls, pool: auto}
  - {name: route, listen: %q, protocol: tls, pool: route}
pools:
  - name: auto
    servers:%s
  - name: route
    random_ids: route
    servers:%s
`, admin, auto, route, servers, servers))

	const clients = 30
	var all []lab.Client
	for i := range clients {
		if i%2 == 0 {
			all = append(all, lab.NewGoClient(cert, tls.VersionTLS13))
		} else {
			all = append(all, lab.NewOpenSSLClient(t, cert, "-tls1_3"))
		}
	}
	for i, c := range all {
		if got, err := c.Connect(auto); err != nil || got.Resumed {
			t.Fatalf("client %d: got %+v, %v; want a full handshake", i, got, err)
		}
	}
	minted := map[string]string{"pool": "auto", "routed_by": "mint"}
	skipped := map[string]string{"pool": "auto", "field": "session_id"}
	lab.Eventually(t, settleLimit, "every random session_id is counted as skipped", func() bool {
		return balancer.Metrics().Sum("mintmark_ids_skipped_total", skipped) == clients
	})
	if got := balancer.Metrics().Sum("mintmark_decisions_total", minted); got != 0 {
		t.Errorf("%v of %d connections with nothing but a random session_id were routed by mint; want none", got, clients)
	}

	for i, c := range all {
		if got, err := c.Connect(auto); err != nil || !got.Resumed {
			t.Errorf("client %d came back: got %+v, %v; want a resumed session", i, got, err)
		}
	}
	tickets := map[string]string{"pool": "auto", "routed_by": "mint", "field": "psk"}
	lab.Eventually(t, settleLimit, "every ticket is counted as routed by mint", func() bool {
		m := balancer.Metrics()
		return m.Sum("mintmark_decisions_total", tickets) == clients && m.Sum("mintmark_decisions_total", minted) == clients
	})

	if _, err := lab.NewGoClient(cert, tls.VersionTLS13).Connect(route); err != nil {
		t.Fatal(err)
	}
	taken := map[string]string{"pool": "route", "routed_by": "mint", "field": "session_id"}
	lab.Eventually(t, settleLimit, "random_ids: route takes the random session_id for a minted one", func() bool {
		return balancer.Metrics().Sum("mintmark_decisions_total", taken) == 1
	})
}
