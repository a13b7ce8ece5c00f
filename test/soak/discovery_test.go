//go:build soak

package soak

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// A stock server has a new ticket key, with a new name, after each restart.
type stock struct {
	*lab.Server
	// restarts is odd while the server is away.
	restarts atomic.Int64
	// settled is when its new name has to be known to every replica: what it
	// mints afterwards must come home.
	settled atomic.Int64 // Unix time in ns
}

// knownWithin is how soon after a restart the new name has to be in force at a
// replica that was up: one health check, one probe, and some patience for the
// machine.
const knownWithin = 5 * time.Second

// discovering is a site of servers that nobody configured.
type discovering struct {
	servers  map[string]*stock
	names    []string
	replicas []*replica
}

func (d *discovering) config(r *replica) string {
	var servers strings.Builder
	for _, name := range d.names {
		fmt.Fprintf(&servers, "      - {name: %s, address: %q}\n", name, d.servers[name].Addr)
	}
	return fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - {name: web, listen: %q, protocol: tls, pool: web}
pools:
  - name: web
    health: {type: tcp, interval: 500ms, rise: 1, fall: 1}
    discover: {probe: true, sni: %s, interval: 2s}
    servers:
%s`, r.admin, r.addr, lab.ServerName, &servers)
}

// A guest is a client with the session that it got last.
type guest struct {
	site   *discovering
	seen   *count
	client *lab.GoClient
	home   *stock // whose session it is, nil without one
	minted int64  // restarts of home when it was minted
	known  bool   // the name was known by then
}

// visit connects through any replica. A session must be resumed if its server
// has not restarted since it was minted, and its name was known by then.
func (g *guest) visit(cert *lab.Cert, version uint16) {
	const forgetEvery = 10
	if g.client == nil || rand.IntN(forgetEvery) == 0 {
		g.client, g.home = lab.NewGoClient(cert, version), nil
	}
	r := g.site.replicas[rand.IntN(replicas)]
	before, asked := r.epoch.Load(), time.Now()
	epochs := make(map[string]int64)
	for name, s := range g.site.servers {
		epochs[name] = s.restarts.Load()
	}
	got, err := g.client.Connect(r.addr)
	disturbed := before%2 == 1 || r.epoch.Load() != before
	for name, s := range g.site.servers {
		disturbed = disturbed || epochs[name]%2 == 1 || s.restarts.Load() != epochs[name]
	}
	switch {
	case err != nil && disturbed:
		g.seen.interrupted.Add(1)
		g.client = nil
		return
	case err != nil:
		g.seen.fault("%v", err)
		g.client = nil
		return
	}
	g.seen.connections.Add(1)
	switch {
	case got.Resumed:
		g.seen.resumed.Add(1)
	case g.home != nil && g.known && !disturbed && g.home.restarts.Load() == g.minted:
		g.seen.fault("a session of %s was declined; %s answered", g.home.Name, got.Body)
	}
	name, _, _ := strings.Cut(got.Body, " ")
	g.home = g.site.servers[name]
	g.minted = epochs[name]
	g.known = asked.UnixNano() > g.home.settled.Load()
}

// TestSoakDiscovery has clients come back to servers that nobody configured
// and that restart with new keys, through replicas that are killed.
func TestSoakDiscovery(t *testing.T) {
	binary, err := lab.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert := lab.NewCert(t)
	d := &discovering{servers: make(map[string]*stock), names: []string{"a", "b", "c"}}
	for _, name := range d.names {
		d.servers[name] = &stock{Server: lab.StartNginx(t, cert, name, lab.Stock)}
	}
	for range replicas {
		r := &replica{addr: lab.FreeAddr(t), admin: lab.FreeAddr(t)}
		r.Balancer = lab.StartBalancer(t, binary, r.admin, d.config(r))
		d.replicas = append(d.replicas, r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), *duration)
	defer cancel()
	var seen count
	var wg sync.WaitGroup
	for i := range clients {
		version := []uint16{tls.VersionTLS13, tls.VersionTLS12}[i%2]
		g := &guest{site: d, seen: &seen}
		wg.Go(func() {
			for ctx.Err() == nil {
				g.visit(cert, version)
			}
		})
	}
	kills, restarts := d.disturb(ctx)
	wg.Wait()
	for i, f := range seen.faults {
		if i == 20 {
			t.Errorf("and %d more", len(seen.faults)-i)
			break
		}
		t.Error(f)
	}
	t.Logf("%v, %d clients with TLS 1.3 and 1.2, %d replicas that discover, 3 nginx: %d connections, %d resumed, %d interrupted by %d restarts of nginx and %d kills of replicas, %d faults",
		*duration, clients, replicas, seen.connections.Load(), seen.resumed.Load(), seen.interrupted.Load(), restarts, kills, len(seen.faults))
	s := &site{replicas: d.replicas}
	for i, r := range d.replicas {
		s.wantNothingLeft(t, i, r)
	}
}

// disturb restarts a server, then kills a replica, by turns until ctx ends.
func (d *discovering) disturb(ctx context.Context) (kills, restarts int) {
	const pause = 4 * time.Second
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for step := 0; ; step++ {
		select {
		case <-ctx.Done():
			return kills, restarts
		case <-tick.C:
		}
		if step%2 == 1 {
			r := d.replicas[step/2%replicas]
			r.epoch.Add(1)
			r.Kill()
			r.Start()
			r.epoch.Add(1)
			kills++
			continue
		}
		s := d.servers[d.names[step/2%len(d.names)]]
		s.restarts.Add(1)
		s.settled.Store(time.Now().Add(time.Hour).UnixNano())
		s.Restart()
		s.settled.Store(time.Now().Add(knownWithin).UnixNano())
		s.restarts.Add(1)
		restarts++
	}
}
