package proxy_test

import (
	"context"
	"net"
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
			for _, table := range []int{0, 1000} {
				startAndStop(t, env, peer, table)
			}
		})
	}
}

func startAndStop(t *testing.T, env *proxy.Env, peer proxy.Peer, table int) {
	t.Helper()
	p, err := proxy.Start(t.Context(), env, peer, &proxy.Site{
		Protocol: proxy.TLS,
		Listen:   freeAddr(t),
		Servers:  proxy.Spread(3, "127.0.0.1:1", 0x4d000000),
		Table:    table,
	})
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
