package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A Plane is a control plane, with the balancer in its process, and an admin
// who has logged in.
type Plane struct {
	*Balancer
	URL  string
	home string
}

// StartPlane runs a control plane with an empty store; listeners are those of
// the balancer in it, as YAML, and may be "".
func StartPlane(tb testing.TB, binary, listeners string) *Plane {
	tb.Helper()
	p, token := StartEmptyPlane(tb, binary, listeners)
	p.run(token+"\n", "login", p.URL)
	return p
}

// StartEmptyPlane is StartPlane without anybody who has logged in. It returns
// the token of the first admin, as the control plane prints it.
func StartEmptyPlane(tb testing.TB, binary, listeners string) (p *Plane, token string) {
	tb.Helper()
	api, admin := FreeAddr(tb), FreeAddr(tb)
	text := fmt.Sprintf("version: 1\nadmin: {listen: %q}\ncontrol: {listen: %q, store: ./mintmark.db, name: lb1}\n", admin, api)
	if listeners != "" {
		text += "listeners:\n" + listeners
	}
	p = &Plane{URL: "https://" + api, home: filepath.Join(tb.TempDir(), "login")}
	p.Balancer = StartBalancer(tb, binary, admin, text)
	token = regexp.MustCompile(`mm1\.admin\.\S+`).FindString(p.Log())
	if token == "" {
		tb.Fatalf("lab: the control plane printed no token:\n%s", p.Log())
	}
	return p, token
}

// Run runs a command of the admin and returns what it printed.
func (p *Plane) Run(args ...string) string {
	p.tb.Helper()
	return p.run("", args...)
}

func (p *Plane) run(stdin string, args ...string) string {
	p.tb.Helper()
	out, err := p.Try(stdin, args...)
	if err != nil {
		p.tb.Fatalf("lab: mintmark %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// Try runs a command of the admin that may fail; the error has what it said.
func (p *Plane) Try(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.binary, args...)
	cmd.Env = append(os.Environ(), "MINTMARK_HOME="+p.home)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return string(out), err
}

// A Pool is one of `mintmark pool list --json`.
type Pool struct {
	Name    string
	Servers []struct {
		Name   string
		Weight *uint32
	}
}

// Pools returns the pools.
func (p *Plane) Pools() []Pool {
	p.tb.Helper()
	var r struct{ Pools []Pool }
	if err := json.Unmarshal([]byte(p.Run("pool", "list", "--json")), &r); err != nil {
		p.tb.Fatalf("lab: reading the pools: %v", err)
	}
	return r.Pools
}

// A RolloutStatus is what `mintmark rollout status --json` prints.
type RolloutStatus struct {
	Rollout struct {
		Spaces []struct {
			Owner, Phase, Rule, Share string
			Generation                int
		}
		Waits             []struct{ Kind, Name, Reason, Cost string }
		MintingGeneration int `json:"minting_generation"`
	}
}

// Phase returns where the space of an owner in a generation is in its life, ""
// when it is gone.
func (r *RolloutStatus) Phase(owner string, generation int) string {
	for _, s := range r.Rollout.Spaces {
		if s.Owner == owner && s.Generation == generation {
			return strings.ToLower(strings.TrimPrefix(s.Phase, "PHASE_"))
		}
	}
	return ""
}

// Rollout returns the rollout of a pool.
func (p *Plane) Rollout(pool string) *RolloutStatus {
	p.tb.Helper()
	r := new(RolloutStatus)
	if err := json.Unmarshal([]byte(p.Run("rollout", "status", pool, "--json")), r); err != nil {
		p.tb.Fatalf("lab: reading a rollout: %v", err)
	}
	return r
}

// AgentStatus is one of the agents of `mintmark agents --json`.
type AgentStatus struct {
	Pool, Server, Adapter, Problem string
	Connected, Verified, Stale     bool
	MintingGenerations             []int `json:"minting_generations"`
}

// Agents returns the agents that have joined, by POOL/SERVER.
func (p *Plane) Agents() map[string]AgentStatus {
	p.tb.Helper()
	var r struct{ Agents []AgentStatus }
	if err := json.Unmarshal([]byte(p.Run("agents", "--json")), &r); err != nil {
		p.tb.Fatalf("lab: reading the agents: %v", err)
	}
	all := make(map[string]AgentStatus)
	for _, a := range r.Agents {
		all[a.Pool+"/"+a.Server] = a
	}
	return all
}

// StartFollower runs a balancer that follows the control plane.
func (p *Plane) StartFollower(name, listeners string, args ...string) *Balancer {
	p.tb.Helper()
	admin := FreeAddr(p.tb)
	dir := p.tb.TempDir()
	token := WriteFile(p.tb, dir, "join.token", []byte(p.Run("token", "create", "balancer", name)))
	return StartBalancer(p.tb, p.binary, admin, fmt.Sprintf(
		"version: 1\nadmin: {listen: %q}\ncontrol: {connect: %q, token_file: %q, cache: %q}\nlisteners:\n%s",
		admin, p.URL, token, filepath.Join(dir, "snapshot"), listeners))
}

// An Agent is a running `mintmark agent`.
type Agent struct {
	*Process
	tb     testing.TB
	binary string
	file   string
	name   string
}

// StartAgent runs the agent of POOL/SERVER. adapter is that part of its file,
// as YAML in one line, and addr the server's address, "" if nobody shall look.
func (p *Plane) StartAgent(server, addr, adapter string) *Agent {
	p.tb.Helper()
	return p.StartAgentBy(p.Run("token", "create", "agent", server), server, addr, adapter)
}

// StartAgentBy is StartAgent with a token that somebody has made.
func (p *Plane) StartAgentBy(token, server, addr, adapter string) *Agent {
	p.tb.Helper()
	dir := p.tb.TempDir()
	WriteFile(p.tb, dir, "join.token", []byte(token))
	look := ""
	if addr != "" {
		look = fmt.Sprintf("server: {address: %q, sni: %q}\n", addr, ServerName)
	}
	a := &Agent{tb: p.tb, binary: p.binary, name: server}
	a.file = WriteFile(p.tb, dir, "agent.yaml", fmt.Appendf(nil, "control: {connect: [%q], token_file: join.token}\n%sadapter: %s\n", p.URL, look, adapter))
	a.Start()
	return a
}

// Start runs the agent again after it was stopped or killed.
func (a *Agent) Start() {
	a.tb.Helper()
	a.Process = start(a.tb, "agent-"+strings.ReplaceAll(a.name, "/", "-"), exec.Command(a.binary, "agent", "-c", a.file))
}
