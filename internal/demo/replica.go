package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// startTimeout bounds how long a replica may take until it is ready.
const startTimeout = 15 * time.Second

// replicas are the balancer processes. They share no memory, no connection
// and no store: only what their files say, which differs in addresses alone.
type replicas struct {
	program string
	servers []*server
	all     []*replica
}

type replica struct {
	file  string
	admin string
	web   [kindCount]string // listener of each kind
	cmd   *exec.Cmd
	log   bytes.Buffer // shown when it fails; written by cmd alone until it has ended
}

func startReplicas(ctx context.Context, program, dir string, servers []*server) (*replicas, error) {
	rs := &replicas{program: program, servers: servers}
	for i := range replicaCount {
		ports, err := freePorts(ctx, 1+int(kindCount))
		if err != nil {
			return nil, err
		}
		r := &replica{file: filepath.Join(dir, fmt.Sprintf("replica%d.yaml", i+1)), admin: ports[0]}
		copy(r.web[:], ports[1:])
		rs.all = append(rs.all, r)
		if err := rs.write(r, -1); err != nil {
			return nil, err
		}
	}
	for _, r := range rs.all {
		if err := rs.start(ctx, r); err != nil {
			rs.stop()
			return nil, err
		}
	}
	return rs, nil
}

// write writes the configuration file of r; draining is the index of a
// server, or -1.
func (rs *replicas) write(r *replica, draining int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nadmin: {listen: %q}\nshutdown_grace: 2s\nlisteners:\n", r.admin)
	timeouts := fmt.Sprintf("timeouts: {hello: %[1]s, connect: %[1]s}", connectionTimeout)
	fmt.Fprintf(&b, "  - {name: web, listen: %q, protocol: tls, pool: web, %s}\n", r.web[kindMint], timeouts)
	fmt.Fprintf(&b, "  - {name: control, listen: %q, protocol: tls, pool: control, %s}\npools:\n", r.web[kindRoundRobin], timeouts)
	for _, pool := range []string{"web", "control"} {
		fmt.Fprintf(&b, "  - name: %s\n    health: {type: tcp, interval: 10s, timeout: 10s}\n    servers:\n", pool)
		for i, s := range rs.servers {
			fmt.Fprintf(&b, "      - name: %s\n        address: %q\n", s.name, s.ln.Addr())
			if pool == "web" {
				fmt.Fprintf(&b, "        draining: %t\n", i == draining)
				fmt.Fprintf(&b, "        ids:\n          - bits: {offset: 0, mask: \"ffffffff\", values: [\"%x\"]}\n", s.mark)
			}
		}
	}
	next := r.file + ".next"
	if err := os.WriteFile(next, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("writing a configuration: %w", err)
	}
	return os.Rename(next, r.file)
}

// start starts r and waits until it is ready.
func (rs *replicas) start(ctx context.Context, r *replica) error {
	r.log.Reset()
	r.cmd = exec.CommandContext(ctx, rs.program, "serve", "-c", r.file) //nolint:gosec // the program is this one
	r.cmd.Stderr = &r.log
	r.cmd.Cancel = func() error { return r.cmd.Process.Signal(syscall.SIGTERM) }
	r.cmd.WaitDelay = startTimeout
	if err := r.cmd.Start(); err != nil {
		return fmt.Errorf("starting a replica: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for !r.ready(ctx) {
		select {
		case <-ctx.Done():
			r.kill()
			return fmt.Errorf("starting a replica: not ready after %v: %s", startTimeout, r.log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (r *replica) ready(ctx context.Context) bool {
	body, err := r.get(ctx, "/readyz")
	if err == nil {
		_ = body.Close()
	}
	return err == nil
}

// get asks the admin address; any answer but 200 is an error.
func (r *replica) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.admin+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, errors.New(resp.Status)
	}
	return resp.Body, nil
}

// kill ends r as a crash would.
func (r *replica) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait() // "signal: killed" is what was asked for
}

// restart kills a replica and starts it again.
func (rs *replicas) restart(ctx context.Context, i int) error {
	rs.all[i].kill()
	return rs.start(ctx, rs.all[i])
}

// drain marks a server as draining in each replica's file and has it reload.
func (rs *replicas) drain(ctx context.Context, server int) error {
	for _, r := range rs.all {
		if err := rs.write(r, server); err != nil {
			return err
		}
		if err := r.reload(ctx); err != nil {
			return err
		}
	}
	return nil
}

// reload sends SIGHUP and waits until the replica says that it took the file:
// the time of its last good reload has changed.
func (r *replica) reload(ctx context.Context) error {
	const series = "mintmark_config_last_reload_success_timestamp_seconds"
	before, err := r.metric(ctx, series)
	if err != nil {
		return err
	}
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		now, err := r.metric(ctx, series)
		if err != nil {
			return fmt.Errorf("waiting for a reload: %w", err)
		}
		if now != before {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("waiting for a reload: it did not happen")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (rs *replicas) stop() {
	for _, r := range rs.all {
		if r.cmd == nil || r.cmd.ProcessState != nil {
			continue
		}
		_ = r.cmd.Process.Signal(syscall.SIGTERM)
		_ = r.cmd.Wait()
	}
}

// addresses are the listeners of one kind, one a replica.
func (rs *replicas) addresses(k kind) []string {
	all := make([]string, 0, len(rs.all))
	for _, r := range rs.all {
		all = append(all, r.web[k])
	}
	return all
}

// freePorts asks the kernel for loopback addresses that nobody uses. They are
// free again until a replica binds them, and while it is restarted: with an IP
// address drawn at random, no other program is handed one of them meanwhile.
func freePorts(ctx context.Context, n int) ([]string, error) {
	host := "127.0.0.1"
	if runtime.GOOS == "linux" { // where all of 127.0.0.0/8 is there
		host = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	}
	var all []string
	for range n {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer ln.Close()
		all = append(all, ln.Addr().String())
	}
	return all, nil
}
