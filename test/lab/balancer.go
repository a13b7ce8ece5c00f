package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Build builds the mintmark command into dir, with the race detector when the
// test itself has it, and returns the binary's path. TestMain calls it once.
func Build(dir string) (string, error) {
	binary := filepath.Join(dir, "mintmark")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	args = append(args, "./cmd/mintmark")
	// In the module's own directory: tests are in other modules, too.
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/mintmark/mintmark").Output()
	if err != nil {
		return "", fmt.Errorf("looking for the module: %w", err)
	}
	build := exec.Command("go", args...)
	build.Dir = strings.TrimSpace(string(root))
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building mintmark: %w\n%s", err, out)
	}
	return binary, nil
}

// A Balancer is a mintmark that runs a configuration file.
type Balancer struct {
	*Process
	tb     testing.TB
	binary string
	file   string
	admin  string
}

// StartBalancer runs `mintmark serve` with the configuration text given, whose
// admin address is admin, and waits until it is ready.
func StartBalancer(tb testing.TB, binary, admin, text string) *Balancer {
	tb.Helper()
	b := &Balancer{
		tb:     tb,
		binary: binary,
		file:   WriteFile(tb, tb.TempDir(), "mintmark.yaml", []byte(text)),
		admin:  admin,
	}
	b.Start()
	return b
}

// File returns the path of a file beside the balancer's configuration.
func (b *Balancer) File(name string) string { return filepath.Join(filepath.Dir(b.file), name) }

// Start runs the balancer again after it was stopped or killed, and waits
// until it is ready.
func (b *Balancer) Start() {
	b.tb.Helper()
	b.Process = start(b.tb, "mintmark", exec.Command(b.binary, "serve", "-c", b.file))
	Eventually(b.tb, startLimit, "the balancer is ready", func() bool {
		if !b.Running() {
			b.tb.Fatalf("lab: the balancer ended instead of serving:\n%s", tail(b.Log()))
		}
		return b.Ready()
	})
}

// StartStale runs a balancer whose control plane is away by what it has on
// disk, and waits until it listens on addr: ready it is not.
func (b *Balancer) StartStale(addr string) {
	b.tb.Helper()
	b.Process = start(b.tb, "mintmark", exec.Command(b.binary, "serve", "-c", b.file, "--serve-stale"))
	b.waitListening(addr)
}

// Ready reports whether /readyz says so.
func (b *Balancer) Ready() bool {
	_, err := b.get("/readyz")
	return err == nil
}

// Reload replaces the configuration file by text and sends SIGHUP.
// It does not wait: what shows that the reload is over depends on the test.
func (b *Balancer) Reload(text string) {
	b.tb.Helper()
	b.WriteConfig(text)
	b.Signal(syscall.SIGHUP)
}

// WriteConfig replaces the configuration file at once, as an editor does.
func (b *Balancer) WriteConfig(text string) {
	b.tb.Helper()
	next := WriteFile(b.tb, filepath.Dir(b.file), "next", []byte(text))
	if err := os.Rename(next, b.file); err != nil {
		b.tb.Fatalf("lab: %v", err)
	}
}

// Check runs `mintmark check` on the balancer's file and returns its exit
// status, and what it wrote to stdout and stderr together.
func (b *Balancer) Check() (status int, output string) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.tb.Context(), startLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, b.binary, "check", "-c", b.file).CombinedOutput()
	if err == nil {
		return 0, string(out)
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		b.tb.Fatalf("lab: running mintmark check: %v", err)
	}
	return exit.ExitCode(), string(out)
}

// Metrics returns what /metrics says now.
func (b *Balancer) Metrics() Metrics {
	b.tb.Helper()
	text, err := b.get("/metrics")
	if err != nil {
		b.tb.Fatalf("lab: reading metrics: %v", err)
	}
	m, err := parseMetrics(text)
	if err != nil {
		b.tb.Fatalf("lab: reading metrics: %v", err)
	}
	return m
}

func (b *Balancer) get(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second*5)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.admin+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s: %s", path, resp.Status, body)
	}
	return string(body), nil
}
