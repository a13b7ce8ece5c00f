package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/bench/internal/process"
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
	*process.Process
	// Addr is where clients connect.
	Addr string
	// Control is HAProxy's control socket, if the site has a table.
	Control string
}

// Start runs a peer for a site until Stop or until ctx ends, and returns when
// it serves.
func Start(ctx context.Context, env *Env, peer Peer, site *Site) (*Proxy, error) {
	dir, err := os.MkdirTemp(env.Dir, string(peer)+"-")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: site.Listen, Control: filepath.Join(dir, "control")}
	c, err := p.command(ctx, env, peer, site, dir)
	if err == nil {
		p.Process, err = process.Start(ctx, c)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("starting the peer %s: %w", peer, err)
	}
	return p, nil
}

// command writes the configuration of a peer and says how to run it.
func (p *Proxy) command(ctx context.Context, env *Env, peer Peer, site *Site, dir string) (process.Command, error) {
	file := filepath.Join(dir, "config")
	c := process.Command{Dir: dir, Ready: func(ctx context.Context) bool { return serves(ctx, site) }}
	var text string
	switch peer {
	case Mintmark, MintmarkPortable, MintmarkPaced, Baseline:
		admin, err := process.FreeAddr(ctx)
		if err != nil {
			return c, err
		}
		c.Name, c.Args = env.Mintmark, []string{"serve", "-c", file}
		if peer == Baseline {
			c.Name = env.Baseline
		}
		if c.Name == "" {
			return c, errors.New("there is no binary of it; give one with -baseline")
		}
		c.Env = []string{"GOMAXPROCS=" + strconv.Itoa(Threads)}
		c.Ready = func(ctx context.Context) bool { return answers(ctx, "http://"+admin+"/readyz") }
		text = mintmarkConfig(peer, site, admin)
	case HAProxy, HAProxySplice, HAProxyTuned:
		c.Name, c.Args = "haproxy", []string{"-db", "-f", file}
		text = haproxyConfig(peer, site, p.Control)
	case NGINX, NGINXHalfClose, NGINXTuned:
		most, err := process.Descriptors()
		if err != nil {
			return c, err
		}
		c.Name, c.Args = "nginx", []string{"-e", "stderr", "-p", dir, "-c", file}
		text = nginxConfig(peer, site, dir, most)
	default:
		return c, fmt.Errorf("no such peer; there are %v", Peers())
	}
	return c, os.WriteFile(file, []byte(text), 0o600)
}

// serves tells whether somebody listens for a site's clients.
func serves(ctx context.Context, site *Site) bool {
	if site.Protocol == UDP {
		return bound(site.Listen)
	}
	return process.Accepts(ctx, site.Listen)
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
