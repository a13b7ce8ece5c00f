package test

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mintmark/mintmark/test/lab"
)

// A reloadSite is what the reload tests run: three nginx behind a TLS
// listener, two echo servers behind a TCP listener.
type reloadSite struct {
	admin, web, line string // addresses
	nginx            []*lab.Server
	echo             []*lab.EchoServer
}

func newReloadSite(t *testing.T, cert *lab.Cert) *reloadSite {
	t.Helper()
	s := &reloadSite{admin: lab.FreeAddr(t), web: lab.FreeAddr(t), line: lab.FreeAddr(t)}
	for i, name := range []string{"a", "b", "c"} {
		s.nginx = append(s.nginx, lab.StartNginx(t, cert, name, fmt.Sprintf("4d4d000%d", i+1)))
	}
	s.echo = []*lab.EchoServer{lab.StartEcho(t, "even"), lab.StartEcho(t, "odd")}
	return s
}

// config returns the configuration of a generation. From one to the next
// every pool changes: the web pool its policy, its weights, and whether it
// has server c; the line pool its only server.
func (s *reloadSite) config(generation int) string {
	odd := generation % 2
	policy := []string{"round-robin", "least-connections"}[odd]
	third := ""
	if odd == 1 {
		third = fmt.Sprintf(`      - {name: c, address: %q, ids: [{range: {from: "4d4d0003", to: "4d4d0003"}}]}`, s.nginx[2].Addr)
	}
	return fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - {name: web, listen: %q, protocol: tls, pool: web, timeouts: {hello: %ds}}
  - {name: line, listen: %q, protocol: tcp, pool: line}
pools:
  - name: web
    policy: %s
    servers:
      - {name: a, address: %q, weight: %d, ids: [{range: {from: "4d4d0001", to: "4d4d0001"}}]}
      - {name: b, address: %q, weight: 2, ids: [{bits: {offset: 0, mask: "ffffffff", values: ["4d4d0002"]}}]}
%s
  - name: line
    servers: [{name: %s, address: %q}]
`, s.admin, s.web, 20+odd, s.line, policy, s.nginx[0].Addr, 1+odd, s.nginx[1].Addr, third, s.echo[odd].Name, s.echo[odd].Addr)
}

// waitFor waits until new connections are served by a generation.
func (s *reloadSite) waitFor(t *testing.T, generation int) {
	t.Helper()
	want := s.echo[generation%2].Name
	lab.Eventually(t, settleLimit, fmt.Sprintf("generation %d is in force", generation), func() bool {
		c, err := lab.DialEcho(s.line)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Server == want
	})
}

// A load is clients that connect again and again, as fast as they are served.
type load struct {
	stop context.CancelFunc
	wg   sync.WaitGroup
	done atomic.Int64 // connections that went well

	mu     sync.Mutex
	errors []error
}

// startLoad runs n clients, each of which calls connect until the load is
// stopped.
func startLoad(n int, newClient func() (connect func() error)) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{stop: stop}
	for range n {
		connect := newClient()
		l.wg.Go(func() {
			for ctx.Err() == nil {
				if err := connect(); err != nil {
					l.mu.Lock()
					l.errors = append(l.errors, err)
					l.mu.Unlock()
					continue
				}
				l.done.Add(1)
			}
		})
	}
	return l
}

// end stops the load and returns how many connections went well, and what
// went wrong.
func (l *load) end() (int64, []error) {
	l.stop()
	l.wg.Wait()
	return l.done.Load(), l.errors
}

// wantAlive waits until the load has made n more connections, so that what
// follows happens under load.
func (l *load) wantAlive(t *testing.T, n int64) {
	t.Helper()
	target := l.done.Load() + n
	lab.Eventually(t, settleLimit, fmt.Sprintf("the load makes %d more connections", n), func() bool {
		return l.done.Load() >= target
	})
}

func TestReloadUnderLoadDropsNothing(t *testing.T) {
	t.Parallel()
	const reloads = 20
	cert := lab.NewCert(t)
	site := newReloadSite(t, cert)
	balancer := lab.StartBalancer(t, mintmark, site.admin, site.config(0))

	// Connections that were there before the first reload stay to the end,
	// although their servers leave the pool and come back.
	var old []*lab.EchoConn
	for range 4 {
		c, err := lab.DialEcho(site.line)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		old = append(old, c)
	}
	oldTLS := lab.OpenConn(t, cert, site.web)

	web := startLoad(4, func() func() error {
		client, before := lab.NewGoClient(cert, tls.VersionTLS13), ""
		return func() error {
			got, err := client.Connect(site.web)
			if err != nil {
				return err
			}
			server, _, _ := strings.Cut(got.Body, " ")
			// c leaves the pool, and with it the owner of its sessions.
			if (before == "a" || before == "b") && !got.Resumed {
				return fmt.Errorf("the session that %s minted was not resumed; %s answered", before, server)
			}
			before = server
			return nil
		}
	})
	line := startLoad(2, func() func() error {
		return func() error {
			c, err := lab.DialEcho(site.line)
			if err != nil {
				return err
			}
			defer c.Close()
			return c.Say("hello")
		}
	})

	for generation := 1; generation <= reloads; generation++ {
		web.wantAlive(t, 5)
		line.wantAlive(t, 5)
		balancer.Reload(site.config(generation))
		site.waitFor(t, generation)
		for i, c := range old {
			if err := c.Say(fmt.Sprintf("generation %d", generation)); err != nil {
				t.Fatalf("old connection %d after reload %d: %v", i, generation, err)
			}
		}
	}
	for name, l := range map[string]*load{"web": web, "line": line} {
		done, errs := l.end()
		t.Logf("%s: %d connections over %d reloads", name, done, reloads)
		for i, err := range errs {
			if i == 5 {
				t.Errorf("%s: and %d more", name, len(errs)-i)
				break
			}
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := oldTLS.Write([]byte("GET / HTTP/1.1\r\nHost: " + lab.ServerName + "\r\n\r\n")); err != nil {
		t.Errorf("the old TLS connection was dropped: %v", err)
	} else if _, err := oldTLS.Read(make([]byte, 1)); err != nil {
		t.Errorf("the old TLS connection was dropped: %v", err)
	}
}

// A file with problems changes nothing, and says so three times: in the log,
// in the metric, and by the exit status of check. The next good file is taken.
func TestBrokenFileChangesNothing(t *testing.T) {
	t.Parallel()
	cert := lab.NewCert(t)
	site := newReloadSite(t, cert)
	balancer := lab.StartBalancer(t, mintmark, site.admin, site.config(0))
	lastReload := func() float64 {
		m := balancer.Metrics()
		if !m.Has("mintmark_config_last_reload_successful", nil) {
			t.Fatal("mintmark_config_last_reload_successful is not exposed")
		}
		return m.Sum("mintmark_config_last_reload_successful", nil)
	}
	if got := lastReload(); got != 1 {
		t.Fatalf("mintmark_config_last_reload_successful after the start: got %v; want 1", got)
	}
	client := lab.NewGoClient(cert, tls.VersionTLS13)
	if _, err := client.Connect(site.web); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name string
		text string
		want []string // what a person must be told
	}{
		{
			name: "two servers claim one space",
			text: strings.Replace(site.config(1), `from: "4d4d0003", to: "4d4d0003"`, `from: "4d4d0000", to: "4d4d00ff"`, 1),
			want: []string{"mintmark.yaml", "4d4d0001"},
		},
		{
			name: "a key that does not exist",
			text: strings.Replace(site.config(1), "policy:", "polcy:", 1),
			want: []string{"mintmark.yaml", "polcy", "policy"},
		},
		{
			name: "no YAML",
			text: "version: 1\nlisteners: [",
			want: []string{"mintmark.yaml"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			quiet := len(balancer.Log())
			balancer.Reload(c.text)
			lab.Eventually(t, settleLimit, "the metric says that the reload failed", func() bool { return lastReload() == 0 })
			said := balancer.Log()[quiet:]
			status, output := balancer.Check()
			if status != 2 {
				t.Errorf("mintmark check: got exit status %d; want 2; output:\n%s", status, output)
			}
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("the log lacks %q:\n%s", want, said)
				}
				if !strings.Contains(output, want) {
					t.Errorf("what mintmark check wrote lacks %q:\n%s", want, output)
				}
			}
			if got, err := client.Connect(site.web); err != nil || !got.Resumed {
				t.Errorf("a client that came back: got %+v, %v; want a resumed session", got, err)
			}
			site.waitFor(t, 0)
			// A good file is taken, and ends the alarm.
			balancer.Reload(site.config(0))
			lab.Eventually(t, settleLimit, "the metric says that the reload succeeded", func() bool { return lastReload() == 1 })
		})
	}
	balancer.Reload(site.config(1))
	site.waitFor(t, 1)
}
