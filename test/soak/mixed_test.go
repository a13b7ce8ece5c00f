//go:build soak

package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mintmark/mintmark/test/lab"
)

// bulkRate is how many bytes a second all transfers of an engine get together.
const bulkRate = 32 << 20

// A mix is one balancer, which nobody kills, with clients of every kind, and
// servers that restart.
type mix struct {
	count
	engine   string
	cert     *lab.Cert
	balancer *lab.Balancer
	houses   map[string]*house // nginx
	origins  []*origin
	steady   *origin // the last of them, which never restarts
	pages    []*page
	clients  sync.WaitGroup

	pattern        pattern
	pace           pace
	answer         []byte   // to a hello
	hellos         [][]byte // one for each origin
	messages       atomic.Int64
	requests       atomic.Int64
	bytes          atomic.Int64 // as clients count them
	hauls          atomic.Int64
	aborts, stalls atomic.Int64

	admin, web   string // addresses
	http         string
	line, marked line
	stay, brief  line
	extra        line   // is there and is not
	taken        string // where no listener can be
}

func newMix(t *testing.T, binary string, cert *lab.Cert, engine string) *mix {
	m := &mix{
		engine: engine, cert: cert, houses: make(map[string]*house),
		pattern: newPattern(), pace: pace{rate: bulkRate}, answer: newAnswer(),
		admin: lab.FreeAddr(t), web: lab.FreeAddr(t), http: lab.FreeAddr(t),
		line: line{lab.FreeAddr(t), header}, marked: line{lab.FreeAddr(t), hello},
		stay: line{lab.FreeAddr(t), plain}, brief: line{lab.FreeAddr(t), plain},
		extra: line{lab.FreeAddr(t), header},
	}
	for i, name := range houseNames() {
		m.houses[name] = &house{Server: lab.StartNginx(t, cert, name, fmt.Sprintf("4d4d000%d", i))}
	}
	for i, name := range []string{"u", "v", "w", "steady"} {
		m.hellos = append(m.hellos, newHello(uint8(i)))
		m.origins = append(m.origins, startOrigin(t, m, uint8(i), name))
	}
	for _, name := range []string{"p", "q"} {
		m.pages = append(m.pages, startPage(t, m, name))
	}
	m.steady = m.origins[len(m.origins)-1]
	m.taken = m.steady.addr
	m.balancer = lab.StartBalancer(t, binary, m.admin, m.config(0))
	return m
}

func houseNames() []string { return []string{"a", "b", "c"} }

// config returns the file of a generation: from one to the next weights,
// policies and timeouts change, and who drains. more are further listeners.
func (m *mix) config(generation int, more ...string) string {
	var houses, origins, marks, pages strings.Builder
	for i, name := range houseNames() {
		fmt.Fprintf(&houses, "      - {name: %s, address: %q, weight: %d, draining: %v, ids: [{range: {from: \"4d4d000%d\", to: \"4d4d000%d\"}}]}\n",
			name, m.houses[name].Addr, 1+(generation+i)%3, generation%7 == 1+i, i, i)
	}
	for i, o := range m.origins {
		weight := 1 + (generation+i)%3
		if o == m.steady {
			weight = 0
		} else {
			fmt.Fprintf(&origins, "      - {name: %s, address: %q, weight: %d}\n", o.name, o.addr, weight)
		}
		mark := markOf(o.index)
		fmt.Fprintf(&marks, "      - {name: %s, address: %q, weight: %d, ids: [{range: {from: %q, to: %q}}]}\n", o.name, o.addr, weight, mark, mark)
	}
	for i, p := range m.pages {
		fmt.Fprintf(&pages, "      - {name: %s, address: %q, weight: %d, ids: [{prefix: %s-}]}\n", p.name, p.addr, 1+(generation+i)%3, p.name)
	}
	policies := []string{"round-robin", "least-connections", "random-two", "hash"}
	idle := 2 + generation%3 // hours; longer than the test
	listener := func(name, protocol, addr, pool, timeouts string) string {
		log := ""
		if pool == "line" {
			log = fmt.Sprintf(", access_log: %s.log", name)
		}
		return fmt.Sprintf("  - {name: %s, listen: %q, protocol: %s, pool: %s, engine: %s, timeouts: {%s}%s}\n",
			name, addr, protocol, pool, m.engine, timeouts, log)
	}
	listeners := listener("web", "tls", m.web, "web", fmt.Sprintf("hello: %ds", 4+generation%3)) +
		listener("line", "tcp", m.line.addr, "line", fmt.Sprintf("connect: %ds", 4+generation%3)) +
		listener("marked", "tls", m.marked.addr, "marked", fmt.Sprintf("idle: %dh", idle)) +
		listener("stay", "tcp", m.stay.addr, "stay", fmt.Sprintf("idle: %dh", idle)) +
		listener("brief", "tcp", m.brief.addr, "stay", fmt.Sprintf("idle: %ds", 1+generation%2))
	listeners += fmt.Sprintf("  - {name: http, listen: %q, protocol: http, pool: http, timeouts: {hello: %ds, idle: %dh}, ids: [{cookie: %s}]}\n",
		m.http, 10+generation%3, idle, sidName)
	for i, addr := range more {
		listeners += listener(fmt.Sprintf("extra-%d", i), "tcp", addr, "line", fmt.Sprintf("idle: %dh", idle))
	}
	const health = "{type: tcp, interval: 500ms, rise: 1, fall: 1}"
	return fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
%spools:
  - name: web
    policy: %s
    health: %[4]s
    servers:
%[5]s  - name: line
    policy: %[6]s
    health: %[4]s
    proxy_protocol: v2
    servers:
%[7]s  - name: marked
    health: %[4]s
    servers:
%[8]s  - name: stay
    servers: [{name: steady, address: %[9]q}]
  - name: http
    policy: %[3]s
    health: %[4]s
    servers:
%[10]s`, m.admin, listeners, policies[generation%4], health, &houses, policies[(generation+1)%4], &origins, &marks, m.steady.addr, &pages)
}

// epochs returns how often each server has gone or come.
func (m *mix) epochs() []int64 {
	var e []int64
	for _, o := range m.origins {
		e = append(e, o.epoch.Load())
	}
	for _, p := range m.pages {
		e = append(e, p.epoch.Load())
	}
	for _, name := range houseNames() {
		e = append(e, m.houses[name].epoch.Load())
	}
	return e
}

// calm tells whether every server has been there since before.
func (m *mix) calm(before []int64) bool {
	return slices.Equal(before, m.epochs()) && !slices.ContainsFunc(before, func(e int64) bool { return e%2 == 1 })
}

// anyLine returns a way through the balancer that may end at a server that
// restarts.
func (m *mix) anyLine(rng *rand.Rand) line { return []line{m.line, m.marked}[rng.IntN(2)] }

func (m *mix) anyOrigin(rng *rand.Rand) *origin { return m.origins[rng.IntN(len(m.origins))] }

// TestSoakMixed has a balancer of each engine bear everything at once: clients
// that resume at nginx, that send messages, that move much in both directions,
// that do nothing, and that break off what they do, while servers restart and
// the configuration changes. Every byte is checked; descriptors, memory and
// goroutines must not grow, and must be back at the end.
func TestSoakMixed(t *testing.T) {
	binary, err := lab.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert := lab.NewCert(t)
	for name, engine := range map[string]string{"loops": "auto", "portable": "portable"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newMix(t, binary, cert, engine).run(t)
		})
	}
}

func (m *mix) run(t *testing.T) {
	m.reload(t, m.config(1)) // what is made once is there
	m.reload(t, m.config(0))
	before := m.atRest(t)

	var idle []*call
	for i := range idlers {
		if c := m.idle(i); c != nil {
			defer func() { _ = c.Close() }()
			idle = append(idle, c)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), *duration)
	defer cancel()
	m.load(ctx)
	d := &disturber{mix: m}
	gauge := m.watch(ctx, t, d)
	m.clients.Wait()
	d.end(t)

	rng := random()
	for _, c := range idle {
		if err := c.say(rng, m.pattern); err != nil {
			m.fault("a connection that was idle all the time: %v", err)
		}
		_ = c.Close()
	}
	after := m.atRest(t)
	early, late := gauge.ends(t)
	m.report(t, d, len(idle))
	t.Logf("engine %s under load: in the second fifth of the time at most %v; in the last %v; at rest: before the load %v; after it %v",
		m.engine, early, late, before, after)
	wantNoGrowth(t, early, late)
	wantBack(t, before, after)
}

// report prints what was seen.
func (m *mix) report(t *testing.T, d *disturber, idle int) {
	t.Helper()
	for i, f := range m.faults {
		if i == 20 {
			t.Errorf("and %d more", len(m.faults)-i)
			break
		}
		t.Error(f)
	}
	if idle != idlers || m.resumed.Load() == 0 || m.messages.Load() == 0 || m.requests.Load() == 0 || m.hauls.Load() == 0 || m.stalls.Load() == 0 {
		t.Errorf("there was no load of every kind; %d connections were idle, want %d", idle, idlers)
	}
	t.Logf("%v, engine %s: %d connections, %d resumed, %d messages, %d HTTP requests, %d transfers, %d MiB in all, %d idle all the time; %d aborted, %d stalled; %d reloads, %d refused files, %d listeners come and gone, %d restarts of servers that interrupted %d; %d faults",
		*duration, m.engine, m.connections.Load(), m.resumed.Load(), m.messages.Load(), m.requests.Load(), m.hauls.Load(), m.bytes.Load()>>20, idle,
		m.aborts.Load(), m.stalls.Load(), d.reloads, d.refused, d.listeners, d.restarts, m.interrupted.Load(), len(m.faults))
}
