// Package demo shows the main job on one machine: four TLS servers that share
// no ticket key, two balancer processes that share nothing but a file, and
// clients that come back with their tickets through whichever balancer is
// nearer. While they run, one balancer is killed and started again, and one
// server is drained. The same clients also come through a second listener,
// which is plain round robin over the same servers: the control.
//
// Servers and clients run in the calling process, the balancers are processes
// of the program itself (`mintmark serve`), on ephemeral loopback ports.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	serverCount  = 4
	replicaCount = 2
	clientCount  = 24
	// pause between two connections of one client. It keeps the demo a demo:
	// on a small machine the handshakes of servers and clients would
	// otherwise take all there is.
	pause = 150 * time.Millisecond
	// forgetEvery makes a client forget its tickets at each so manieth
	// connection, so that there is always new traffic to balance.
	forgetEvery = 10
)

// Config says what Run does.
type Config struct {
	// Program is the path of the mintmark program, whose serve command runs
	// the balancers.
	Program string
	// Duration is how long clients come back. The replica is killed after a
	// third of it, the server drained after two thirds.
	Duration time.Duration
	// Out receives the live table; nil shows none.
	Out io.Writer
	// Redraw says that Out is a terminal, on which the table is drawn again
	// in place.
	Redraw bool
}

// A Result is what a demo measured. Its JSON form is that of
// `mintmark demo --once --json`.
type Result struct {
	Servers            int     `json:"servers"`             // how many TLS servers ran
	Connections        int     `json:"connections"`         // TLS connections made through the balancers
	ResumedWith        float64 `json:"resumed_with"`        // share of offered sessions resumed, routed by ID
	ResumedRoundRobin  float64 `json:"resumed_round_robin"` // the same through plain round robin
	OfferedWith        int     `json:"offered_with"`        // sessions offered, routed by ID
	OfferedRoundRobin  int     `json:"offered_round_robin"` // sessions offered, plain round robin
	Failed             int     `json:"failed"`              // connections that reached no server through any replica
	ReplicasRestarted  int     `json:"replicas_restarted"`  // killed with SIGKILL and started again
	ServersDrained     int     `json:"servers_drained"`     // drained while clients came back
	NewOnDrainedServer int     `json:"new_on_drained"`      // new sessions that the drained server got afterwards
}

// Run runs the demo and returns what it measured. It ends what it started
// and removes its files before it returns.
func Run(ctx context.Context, cfg Config) (Result, error) {
	dir, err := os.MkdirTemp("", "mintmark-demo-")
	if err != nil {
		return Result{}, fmt.Errorf("making a folder for the demo: %w", err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	servers, err := startServers(ctx, &wg)
	if err != nil {
		return Result{}, err
	}
	replicas, err := startReplicas(ctx, cfg.Program, dir, servers)
	if err != nil {
		return Result{}, err
	}
	defer replicas.stop()
	d := &demo{cfg: cfg, servers: servers, replicas: replicas, tally: newTally()}
	return d.run(ctx)
}

type demo struct {
	cfg      Config
	servers  []*server
	replicas *replicas
	tally    *tally
}

// run goes through the acts of the demo while clients come back.
func (d *demo) run(ctx context.Context) (Result, error) {
	crowd, stopCrowd := context.WithCancel(ctx)
	var clients sync.WaitGroup
	for i := range clientCount {
		clients.Go(func() { d.newClient(i, kindMint).run(crowd) })
		clients.Go(func() { d.newClient(i, kindRoundRobin).run(crowd) })
	}
	defer clients.Wait()
	defer stopCrowd()

	acts := []struct {
		name string
		do   func(context.Context) error
	}{
		{"every client comes back with its ticket, through either replica", nil},
		{"replica 1 was killed and started again: nothing was lost, there is no table to lose", d.restartReplica},
		{"server d is draining: its sessions still come home, new ones go elsewhere", d.drainServer},
	}
	for _, act := range acts {
		if act.do != nil {
			if err := act.do(ctx); err != nil {
				return Result{}, err
			}
		}
		d.tally.setAct(act.name)
		if err := d.show(ctx, d.cfg.Duration/time.Duration(len(acts))); err != nil {
			return Result{}, err
		}
	}
	stopCrowd()
	clients.Wait()
	return d.tally.result(d), nil
}

func (d *demo) restartReplica(ctx context.Context) error {
	if err := d.replicas.restart(ctx, 0); err != nil {
		return fmt.Errorf("restarting a replica: %w", err)
	}
	d.tally.restarted()
	return nil
}

func (d *demo) drainServer(ctx context.Context) error {
	last := len(d.servers) - 1
	if err := d.replicas.drain(ctx, last); err != nil {
		return fmt.Errorf("draining a server: %w", err)
	}
	d.tally.drained(d.servers[last].name)
	return nil
}

// show draws the table once a second for as long as the act lasts.
func (d *demo) show(ctx context.Context, act time.Duration) error {
	end := time.NewTimer(act)
	defer end.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.New("the demo was interrupted")
		case <-end.C:
			d.draw(ctx)
			return nil
		case <-tick.C:
			d.draw(ctx)
		}
	}
}
