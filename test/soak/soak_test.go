//go:build soak

package soak

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

var duration = flag.Duration("duration", time.Minute, "how long clients come back")

const (
	clients     = 16
	aborters    = 2
	replicas    = 2
	stepPause   = 2 * time.Second // from one disturbance to the next
	settleLimit = 30 * time.Second
)

// A site is three nginx and two replicas that come and go.
type site struct {
	servers  []*lab.Server
	replicas []*replica
}

// A replica's address outlives its process.
type replica struct {
	*lab.Balancer
	addr, admin string
	// epoch is odd while the replica is not there, and changes whenever it
	// goes or comes: a client's connection may fail only if it did.
	epoch atomic.Int64
}

// config returns the file for a replica. generation changes what a reload
// may change; draining is the index of a server, or -1.
func (s *site) config(r *replica, generation, draining int) string {
	var servers strings.Builder
	for i, srv := range s.servers {
		fmt.Fprintf(&servers, "      - {name: %s, address: %q, weight: %d, draining: %v, ids: [{range: {from: \"4d4d000%d\", to: \"4d4d000%d\"}}]}\n",
			srv.Name, srv.Addr, 1+(generation+i)%3, i == draining, i+1, i+1)
	}
	policy := []string{"round-robin", "least-connections", "random-two", "hash"}[generation%4]
	return fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - {name: web, listen: %q, protocol: tls, pool: web}
pools:
  - name: web
    policy: %s
    servers:
%s`, r.admin, r.addr, policy, &servers)
}

// A count is what the clients saw.
type count struct {
	connections, resumed, interrupted atomic.Int64

	mu     sync.Mutex
	faults []string
}

func (c *count) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// visit connects through a replica. A session that was offered must be
// resumed; a connection may fail only when the replica went away.
func (c *count) visit(client *lab.GoClient, r *replica, known *bool) {
	before := r.epoch.Load()
	got, err := client.Connect(r.addr)
	switch {
	case err != nil && (before%2 == 1 || r.epoch.Load() != before):
		c.interrupted.Add(1)
		// crypto/tls throws the session of a broken handshake away, so the
		// next connection may have none to offer.
		*known = false
	case err != nil:
		c.fault("%v", err)
	default:
		c.connections.Add(1)
		if got.Resumed {
			c.resumed.Add(1)
		} else if *known {
			c.fault("a session was declined; %s answered", got.Body)
		}
		*known = true
	}
}

func TestSoak(t *testing.T) {
	dir := t.TempDir()
	binary, err := lab.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	cert := lab.NewCert(t)
	s := &site{}
	for i, name := range []string{"a", "b", "c"} {
		s.servers = append(s.servers, lab.StartNginx(t, cert, name, fmt.Sprintf("4d4d000%d", i+1)))
	}
	for range replicas {
		r := &replica{addr: lab.FreeAddr(t), admin: lab.FreeAddr(t)}
		r.Balancer = lab.StartBalancer(t, binary, r.admin, s.config(r, 0, -1))
		s.replicas = append(s.replicas, r)
	}

	ctx, cancel := context.WithTimeout(t.Context(), *duration)
	defer cancel()
	var seen count
	var wg sync.WaitGroup
	for i := range clients {
		version := []uint16{tls.VersionTLS13, tls.VersionTLS12}[i%2]
		wg.Go(func() {
			client, known := lab.NewGoClient(cert, version), false
			for ctx.Err() == nil {
				seen.visit(client, s.replicas[rand.IntN(replicas)], &known)
			}
		})
	}
	var aborts atomic.Int64
	for range aborters {
		wg.Go(func() {
			for ctx.Err() == nil {
				abort(ctx, s.replicas[rand.IntN(replicas)].addr)
				aborts.Add(1)
			}
		})
	}
	kills, reloads, drains := s.disturb(ctx, t)
	wg.Wait()

	for i, f := range seen.faults {
		if i == 20 {
			t.Errorf("and %d more", len(seen.faults)-i)
			break
		}
		t.Error(f)
	}
	t.Logf("%v, %d clients with TLS 1.3 and 1.2, %d replicas, 3 nginx: %d connections, %d resumed, %d interrupted by %d kills, %d reloads, %d drains; %d aborted, %d faults",
		*duration, clients, replicas, seen.connections.Load(), seen.resumed.Load(), seen.interrupted.Load(),
		kills, reloads, drains, aborts.Load(), len(seen.faults))
	for i, r := range s.replicas {
		s.wantNothingLeft(t, i, r)
	}
}

// abort connects, begins a hello or something that is none, and is gone, half
// of the time with a reset. The replica may be away.
func abort(ctx context.Context, addr string) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	began := append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252}, make([]byte, 600)...) // a record and a message of 508 bytes
	if rand.IntN(4) == 0 {
		began[0] = 'G'
	}
	_, _ = c.Write(began[:rand.IntN(len(began))]) // what comes of it is the replica's to bear
	if rand.IntN(2) == 0 {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
}

// disturb does something to a replica every now and then until ctx ends.
func (s *site) disturb(ctx context.Context, t *testing.T) (kills, reloads, drains int) {
	tick := time.NewTicker(stepPause)
	defer tick.Stop()
	for step := 0; ; step++ {
		select {
		case <-ctx.Done():
			return kills, reloads, drains
		case <-tick.C:
		}
		r := s.replicas[step%replicas]
		switch step % 3 {
		case 0: // a crash
			r.epoch.Add(1)
			r.Kill()
			r.Start()
			r.epoch.Add(1)
			kills++
		case 1: // new weights and policy
			r.Reload(s.config(r, step, -1))
			reloads++
		case 2: // one server is drained on every replica
			for _, r := range s.replicas {
				r.Reload(s.config(r, step, step%len(s.servers)))
			}
			reloads += replicas
			drains++
		}
	}
}

// wantNothingLeft checks that a replica without clients holds nothing: as few
// descriptors as one that was just started.
func (s *site) wantNothingLeft(t *testing.T, i int, r *replica) {
	t.Helper()
	used, peak := openFiles(t, r), memory(t, r)
	goroutines := r.Metrics().Sum("go_goroutines", nil)
	r.Stop()
	r.Start()
	fresh := openFiles(t, r)
	if now := r.Metrics().Sum("go_goroutines", nil); goroutines > now+8 { // those of the admin address come and go
		t.Errorf("replica %d has %v goroutines after the load; %v when started anew", i, goroutines, now)
	}
	t.Logf("replica %d: %d descriptors, %d when started anew; %s", i, used, fresh, peak)
	if used > fresh+4 { // idle keep-alive connections of this test to the admin address
		t.Errorf("replica %d holds %d descriptors after the load; %d when started anew", i, used, fresh)
	}
}

// openFiles waits until the replica's connections have ended and returns how
// many descriptors it has open.
func openFiles(t *testing.T, r *replica) int {
	t.Helper()
	lab.Eventually(t, settleLimit, "no connection is in progress", func() bool {
		return r.Metrics().Sum("mintmark_connections_active", nil) == 0
	})
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// memory returns the most memory that the replica's process has held so far.
func memory(t *testing.T, r *replica) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}
