package proxy_test

import (
	"testing"

	"github.com/mintmark/mintmark/bench/internal/load"
	"github.com/mintmark/mintmark/bench/internal/proxy"
)

// The keys that are put into HAProxy's table are those under which it looks
// for the sessions that clients offer: they bring no new entry.
func TestFilledTableHasWhatClientsOffer(t *testing.T) {
	t.Parallel()
	kind := load.Sessions{Count: 500, Marks: 3}
	servers, err := kind.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Stop()
	p, err := proxy.Start(t.Context(), &proxy.Env{Dir: t.TempDir()}, proxy.HAProxy, &proxy.Site{
		Protocol: proxy.TLS,
		Listen:   freeAddr(t),
		Servers:  proxy.Spread(kind.Marks, servers.Addrs[0], load.FirstMark),
		Table:    2 * kind.Count,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	entry := func(i int) (string, int) { return kind.Key(i), i%kind.Marks + 1 }
	if err := p.Fill(t.Context(), kind.Count, entry); err != nil {
		t.Fatal(err)
	}
	c, err := kind.Open(t.Context(), p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Run(t.Context(), load.Phase{Ops: 100}); err != nil {
		t.Fatal(err)
	}
	used, err := p.Used(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if used != kind.Count {
		t.Errorf("the table has %d entries after clients came back; want %d as before", used, kind.Count)
	}
}
