package daemon

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// greeter is a server that says its name and then echoes lines.
func greeter(t *testing.T, name string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				fmt.Fprintf(c, "%s\n", name)
				_, _ = io.Copy(c, c)
			})
		}
	})
	return ln.Addr().String()
}

// freeAddr returns an address that was free a moment ago, on a loopback
// address drawn at random, so that nobody else takes it in between.
func freeAddr(t *testing.T) string {
	t.Helper()
	host := fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
	ln, err := net.Listen("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// A bench is a running daemon.
type bench struct {
	t     *testing.T
	d     *Daemon
	file  string
	admin string
	abort chan struct{}
	stop  context.CancelFunc
	done  chan error
}

func start(t *testing.T, text string) *bench {
	t.Helper()
	return startLogging(t, text, slog.NewTextHandler(t.Output(), nil))
}

func startLogging(t *testing.T, text string, log slog.Handler) *bench {
	t.Helper()
	b := &bench{t: t, file: filepath.Join(t.TempDir(), "mintmark.yaml"), abort: make(chan struct{}), done: make(chan error, 1)}
	b.write(text)
	ready := make(chan string, 1)
	b.d = New(Config{
		Path: b.file, Logger: slog.New(log), Abort: b.abort,
		OnReady: func(admin string) { ready <- admin },
	})
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	go func() { b.done <- b.d.Run(ctx) }()
	select {
	case b.admin = <-ready:
	case err := <-b.done:
		stop()
		t.Fatalf("Run ended: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("not ready after 20s")
	}
	t.Cleanup(func() {
		stop()
		b.wait()
	})
	return b
}

func (b *bench) write(text string) {
	b.t.Helper()
	if err := os.WriteFile(b.file, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// wait waits for the end of Run, once.
func (b *bench) wait() {
	b.t.Helper()
	select {
	case err, ok := <-b.done:
		if err != nil {
			b.t.Errorf("Run: %v", err)
		}
		if ok {
			close(b.done)
		}
	case <-time.After(20 * time.Second):
		b.t.Fatal("Run did not end")
	}
}

func (b *bench) get(path string) (int, string) {
	b.t.Helper()
	resp, err := http.Get("http://" + b.admin + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode, string(body)
}

// conn is a client's connection through the daemon.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// dial connects and returns who greeted.
func dial(t *testing.T, addr string) (*conn, string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	k := &conn{c, bufio.NewReader(c)}
	name, err := k.r.ReadString('\n')
	if err != nil {
		t.Fatalf("reading the greeting: %v", err)
	}
	return k, strings.TrimSpace(name)
}

func (c *conn) echo(t *testing.T) {
	t.Helper()
	if _, err := fmt.Fprintln(c, "ping"); err != nil {
		t.Errorf("writing: %v", err)
	}
	if line, err := c.r.ReadString('\n'); line != "ping\n" {
		t.Errorf("the echo is %q, %v", line, err)
	}
}

func document(listeners, pools string) string {
	return "version: 1\nadmin: {listen: \"127.0.0.1:0\"}\nshutdown_grace: 10s\nlisteners:\n" + listeners + "pools:\n" + pools
}

func listenerLine(name, addr, pool string) string {
	return fmt.Sprintf("  - {name: %s, listen: %q, protocol: tcp, pool: %s}\n", name, addr, pool)
}

func poolLine(name, server, addr string) string {
	return fmt.Sprintf("  - {name: %s, servers: [{name: %s, address: %q}]}\n", name, server, addr)
}

func TestReloadKeepsConnectionsAndMovesSockets(t *testing.T) {
	a, b := greeter(t, "a"), greeter(t, "b")
	first, second := freeAddr(t), freeAddr(t)
	bench := start(t, document(listenerLine("one", first, "p"), poolLine("p", "a", a)))
	old, who := dial(t, first)
	if who != "a" {
		t.Fatalf("greeted by %s; want a", who)
	}

	// The address changes its listener, the listener gets another address,
	// and the pool another server.
	bench.write(document(listenerLine("two", first, "q")+listenerLine("one", second, "q"), poolLine("q", "b", b)))
	if err := bench.d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	old.echo(t) // the connection from before goes on, to the server from before
	for _, addr := range []string{first, second} {
		c, who := dial(t, addr)
		if who != "b" {
			t.Errorf("on %s: greeted by %s; want b", addr, who)
		}
		c.echo(t)
	}

	// A listener that goes away closes its address, not its connections.
	bench.write(document(listenerLine("one", second, "q"), poolLine("q", "b", b)))
	if err := bench.d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", first); err == nil {
		c.Close()
		t.Errorf("%s still accepts", first)
	}
	old.echo(t)
}

// A listener changes its engine: the one before lets its connections run on,
// the other takes the socket with whoever waits there, and nothing is refused.
func TestReloadChangesTheEngine(t *testing.T) {
	a, addr, log := greeter(t, "a"), freeAddr(t), filepath.Join(t.TempDir(), "access.log")
	with := func(engine string) string {
		line := strings.Replace(listenerLine("one", addr, "p"), "pool:", "access_log: "+log+", engine: "+engine+", pool:", 1)
		return document(line, poolLine("p", "a", a))
	}
	bench := start(t, with("auto"))
	var kept []*conn
	for _, engine := range []string{"portable", "auto", "portable", "auto"} {
		c, _ := dial(t, addr)
		kept = append(kept, c)
		bench.write(with(engine))
		if err := bench.d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, c := range kept {
			c.echo(t)
		}
	}
	for _, c := range kept {
		_ = c.Close()
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), " end=done\n"); n == len(kept) {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%d connections were logged; want %d:\n%s", n, len(kept), b)
		}
	}
}

func TestReloadIsAllOrNothing(t *testing.T) {
	a, b := greeter(t, "a"), greeter(t, "b")
	addr, fresh := freeAddr(t), freeAddr(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	good := document(listenerLine("one", addr, "p"), poolLine("p", "a", a))
	bench := start(t, good)
	broken := map[string]string{
		"a file with problems": strings.Replace(document(listenerLine("one", addr, "p"), poolLine("p", "b", b)), "pool: p", "pool: nobody", 1),
		"no file at all":       "",
		"an address that another process has": document(
			listenerLine("one", addr, "p")+listenerLine("new", fresh, "p")+listenerLine("two", taken.Addr().String(), "p"), poolLine("p", "b", b)),
		"an access log that cannot be opened": document(
			listenerLine("new", fresh, "p")+strings.Replace(listenerLine("one", addr, "p"), "pool:", "access_log: /nonexistent/x.log, pool:", 1), poolLine("p", "b", b)),
	}
	for name, text := range broken {
		bench.write(text)
		if text == "" {
			if err := os.Remove(bench.file); err != nil {
				t.Fatal(err)
			}
		}
		if err := bench.d.Reload(t.Context()); err == nil {
			t.Errorf("%s: the reload succeeded", name)
		}
		if _, who := dial(t, addr); who != "a" {
			t.Errorf("%s: greeted by %s; want a, as before", name, who)
		}
		if c, err := net.Dial("tcp", fresh); err == nil {
			c.Close()
			t.Errorf("%s: half of it was applied: %s is open", name, fresh)
		}
		if _, body := bench.get("/metrics"); !strings.Contains(body, "\nmintmark_config_last_reload_successful 0\n") {
			t.Errorf("%s: the metric does not say so", name)
		}
	}
	bench.write(strings.Replace(good, a, b, 1))
	if err := bench.d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, body := bench.get("/metrics"); !strings.Contains(body, "\nmintmark_config_last_reload_successful 1\n") {
		t.Error("the metric does not say that the file is good again")
	}
}

// A watcher calls look when an error is about to be logged.
type watcher struct {
	slog.Handler
	look func()
}

func (w watcher) Handle(ctx context.Context, r slog.Record) error {
	if r.Level == slog.LevelError {
		w.look()
	}
	return w.Handler.Handle(ctx, r)
}

// Whoever the metric alarms looks for the reason in the log, at once.
func TestReasonIsLoggedBeforeTheMetricAlarms(t *testing.T) {
	t.Parallel()
	var bench *bench
	looked := 0
	log := watcher{Handler: slog.NewTextHandler(t.Output(), nil), look: func() {
		looked++
		if _, body := bench.get("/metrics"); !strings.Contains(body, "\nmintmark_config_last_reload_successful 1\n") {
			t.Error("the metric says that the reload failed before the log does")
		}
	}}
	bench = startLogging(t, document(listenerLine("web", freeAddr(t), "web"), poolLine("web", "a", greeter(t, "a"))), log)
	for _, broken := range []string{"version: 1\nlisteners: [", "version: 1\npolcy: 1\n"} {
		bench.write(broken)
		if err := bench.d.Reload(t.Context()); err == nil {
			t.Fatalf("%q was taken", broken)
		}
		if _, body := bench.get("/metrics"); !strings.Contains(body, "\nmintmark_config_last_reload_successful 0\n") {
			t.Error("the metric does not say that the reload failed")
		}
		bench.d.metrics.ConfigReloaded(true)
	}
	if looked < 2 {
		t.Errorf("%d reasons were logged; want one for each file", looked)
	}
}

func TestShutdownDrains(t *testing.T) {
	addr := freeAddr(t)
	b := start(t, document(listenerLine("one", addr, "p"), poolLine("p", "a", greeter(t, "a"))))
	if status, body := b.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	c, _ := dial(t, addr)
	b.stop()
	waitRefused(t, addr)
	if status, body := b.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "shutting down") {
		t.Errorf("/readyz while draining: %d %s", status, body)
	}
	if status, _ := b.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz while draining: %d", status)
	}
	c.echo(t)
	c.Close()
	b.wait() // without waiting out the grace period
}

func TestAbortCutsTheDrain(t *testing.T) {
	addr := freeAddr(t)
	b := start(t, strings.Replace(document(listenerLine("one", addr, "p"), poolLine("p", "a", greeter(t, "a"))), "10s", "1h", 1))
	c, _ := dial(t, addr)
	b.stop()
	waitRefused(t, addr)
	close(b.abort)
	b.wait()
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("the connection is still open")
	}
}

// waitRefused polls until nobody accepts on addr.
func waitRefused(t *testing.T, addr string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		c.Close()
	}
	t.Fatalf("%s still accepts", addr)
}

func TestRunRefusesBrokenFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(file, []byte("version: 1\nlisteners: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(Config{Path: file}).Run(t.Context()); err == nil {
		t.Error("a broken file was run")
	}
}
