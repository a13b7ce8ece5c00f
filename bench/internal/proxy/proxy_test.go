package proxy_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/bench/internal/process"
	"github.com/mintmark/mintmark/bench/internal/proxy"
	"github.com/mintmark/mintmark/test/lab"
)

// Each product takes the configuration that is written for it, and serves.
func TestEveryPeerStarts(t *testing.T) {
	t.Parallel()
	binary, err := lab.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	env := &proxy.Env{Mintmark: binary, Baseline: binary, Dir: t.TempDir()}
	for _, peer := range proxy.Peers() {
		t.Run(string(peer), func(t *testing.T) {
			t.Parallel()
			sites := []proxy.Site{
				{Protocol: proxy.TLS},
				{Protocol: proxy.TLS, Table: 1000},
				{Protocol: proxy.HTTP},
				{Protocol: proxy.UDP},
			}
			for i := range sites {
				if sites[i].Protocol == proxy.UDP && strings.HasPrefix(string(peer), "haproxy") {
					continue // it has no proxy for datagrams
				}
				startAndStop(t, env, peer, &sites[i])
			}
		})
	}
}

func startAndStop(t *testing.T, env *proxy.Env, peer proxy.Peer, site *proxy.Site) {
	t.Helper()
	site.Listen, site.Servers = freeAddr(t), proxy.Spread(3, "127.0.0.1:1", 0x4d000000)
	p, err := proxy.Start(t.Context(), env, peer, site)
	if err != nil {
		t.Fatal(err)
	}
	if cpu, err := p.CPU(); err != nil || cpu <= 0 {
		t.Errorf("%s used %v of processor time, %v; want some", peer, cpu, err)
	}
	if m, err := p.Memory(); err != nil || m.Share <= 0 {
		t.Errorf("%s occupies %+v, %v; want some", peer, m, err)
	}
	p.Stop()
	if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr); err == nil {
		c.Close()
		t.Errorf("%s accepts connections after it was stopped", peer)
	}
}

// What a product says about its configuration is in the error.
func TestProductThatDoesNotStart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	site := &proxy.Site{Protocol: proxy.TLS, Listen: "127.0.0.1:nonsense"}
	if _, err := proxy.Start(ctx, &proxy.Env{Dir: t.TempDir()}, proxy.HAProxy, site); err == nil {
		t.Error("HAProxy started with a nonsensical address")
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := process.FreeAddr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
