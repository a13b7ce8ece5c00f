package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startLimit   = 30 * time.Second // generous: a table of 10 million entries is made
	stopLimit    = 5 * time.Second
	pollInterval = 10 * time.Millisecond
	logTail      = 2 << 10 // how much of a product's output an error shows
)

// An Env is what proxies are started with.
type Env struct {
	// Mintmark and Baseline are binaries.
	Mintmark, Baseline string
	// Dir is for files; each proxy has a directory of its own in it.
	Dir string
}

// A Proxy is a product that runs.
type Proxy struct {
	// Addr is where clients connect.
	Addr string
	// Control is HAProxy's control socket, if the site has a table.
	Control string

	cmd  *exec.Cmd
	dir  string
	log  string
	pids []int
	done chan struct{} // closed when the process has been reaped
}

// Start runs a peer for a site until Stop or until ctx ends, and returns when
// it serves.
func Start(ctx context.Context, env *Env, peer Peer, site *Site) (*Proxy, error) {
	dir, err := os.MkdirTemp(env.Dir, string(peer)+"-")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: site.Listen, dir: dir, log: filepath.Join(dir, "log"), done: make(chan struct{})}
	ready, err := p.command(ctx, env, peer, site)
	if err == nil {
		err = p.run()
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("starting %s: %w", peer, err)
	}
	if err := p.await(ctx, ready); err != nil {
		said := p.said()
		p.Stop()
		return nil, fmt.Errorf("starting %s: %w; it said:\n%s", peer, err, said)
	}
	return p, nil
}

// command writes the configuration and sets p.cmd. What it returns tells
// whether the proxy serves.
func (p *Proxy) command(ctx context.Context, env *Env, peer Peer, site *Site) (ready func(context.Context) bool, err error) {
	var text, binary string
	var args []string
	file := filepath.Join(p.dir, "config")
	ready = func(ctx context.Context) bool { return serves(ctx, site) }
	switch peer {
	case Mintmark, MintmarkPortable, Baseline:
		admin, err := FreeAddr(ctx)
		if err != nil {
			return nil, err
		}
		text, binary, args = mintmarkConfig(peer, site, admin), env.Mintmark, []string{"serve", "-c", file}
		if peer == Baseline {
			binary = env.Baseline
		}
		if binary == "" {
			return nil, errors.New("there is no binary of it; give one with -baseline")
		}
		ready = func(ctx context.Context) bool { return answers(ctx, "http://"+admin+"/readyz") }
	case HAProxy, HAProxySplice, HAProxyTuned:
		p.Control = filepath.Join(p.dir, "control")
		text, args = haproxyConfig(peer, site, p.Control), []string{"-db", "-f", file}
		binary, err = Find("haproxy")
	case NGINX, NGINXTuned:
		var most uint64
		if most, err = descriptors(); err == nil {
			text, args = nginxConfig(peer, site, p.dir, most), []string{"-e", "stderr", "-p", p.dir, "-c", file}
			binary, err = Find("nginx")
		}
	default:
		err = fmt.Errorf("no such peer; there are %v", Peers())
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p.cmd = exec.CommandContext(ctx, binary, args...)
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(Threads))
	return ready, nil
}

// run starts p.cmd.
func (p *Proxy) run() error {
	out, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = ownGroup()
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopLimit
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go p.reap()
	return nil
}

func (p *Proxy) reap() {
	_ = p.cmd.Wait() // how it ended is of no interest
	close(p.done)
}

// await waits until the proxy serves and has all its processes.
func (p *Proxy) await(ctx context.Context, ready func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	// The processes of nginx appear one by one: two looks have to agree.
	for before := -1; ; {
		if ready(ctx) {
			pids, err := tree(p.cmd.Process.Pid)
			if err != nil {
				return err
			}
			if len(pids) == before {
				p.pids = pids
				return nil
			}
			before = len(pids)
		}
		select {
		case <-p.done:
			return errors.New("it ended")
		case <-ctx.Done():
			return fmt.Errorf("it does not serve: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Stop ends the proxy and removes its files.
func (p *Proxy) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		killGroup(p.cmd.Process.Pid)
		<-p.done
	}
	os.RemoveAll(p.dir)
}

// CPU returns the processor time that the proxy's processes have used so far.
func (p *Proxy) CPU() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range p.pids {
		t, err := processTime(pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// Memory returns what the proxy's processes occupy.
func (p *Proxy) Memory() (Memory, error) {
	var sum Memory
	for _, pid := range p.pids {
		m, err := memory(pid)
		if err != nil {
			return Memory{}, err
		}
		sum.Peak += m.Peak
		sum.Share += m.Share
	}
	return sum, nil
}

// said returns the last that the proxy wrote.
func (p *Proxy) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-logTail):])
}

// Find returns the path of a program. Servers are in sbin, which is not on
// every user's path.
func Find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed; scripts/install-test-packages installs it", name)
}

// FreeAddr returns a loopback address that nothing listens on.
func FreeAddr(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// serves tells whether somebody listens for a site's clients.
func serves(ctx context.Context, site *Site) bool {
	if site.Protocol == UDP {
		return bound(site.Listen)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", site.Listen)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// bound tells whether a UDP port of 127.0.0.1 is taken.
func bound(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return false
	}
	text, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		return false
	}
	return slices.Contains(strings.Fields(string(text)), fmt.Sprintf("0100007F:%04X", n))
}

func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
