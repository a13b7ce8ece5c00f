package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mintmark/mintmark/internal/demo"
)

// demoDuration is how long clients come back in a demo with --once: long
// enough for several hundred connections on two cores.
const demoDuration = 9 * time.Second

func demoCommand() *command {
	return &command{
		name:     "demo",
		synopsis: "[--once] [--json] [--duration TIME]",
		short:    "show on this machine what routing by ID does",
		long: `
Run four TLS servers that share no ticket key, two balancers in front of them
that share nothing but a file, and clients that come back with their tickets
through either balancer. A table shows how many sessions were resumed, beside
plain round robin over the same servers in the same run.

After a third of the time, one balancer is killed and started again; after two
thirds, one server is drained. Everything runs on loopback and ends with the
command.

With --json, one object is printed at the end. Its keys: servers and
connections are counts; resumed_with and resumed_round_robin are the shares, 0
to 1, of the sessions that clients offered (offered_with and
offered_round_robin) which the servers accepted, routed by ID and by plain
round robin; failed counts connections that reached no server;
replicas_restarted, servers_drained; new_on_drained counts new sessions that
the drained server was given, which must be 0.`,
		examples: []example{
			{"watch it", "mintmark demo"},
			{"one short run, for scripts", "mintmark demo --once --json"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			once := fs.Bool("once", false, "run briefly and show the result only")
			asJSON := fs.Bool("json", false, "print the result as one JSON object")
			duration := fs.Duration("duration", 30*time.Second, "how long clients come back; with --once "+demoDuration.String())
			return func(ctx context.Context, e *env, operands []string) error {
				if len(operands) > 0 {
					return usagef("demo takes no operands, got %s", quote(operands[0]))
				}
				if *duration <= 0 {
					return usagef("--duration must be longer than 0s, got %v", *duration)
				}
				cfg := demo.Config{Duration: *duration, Out: e.stderr, Redraw: isTerminal(e.stderr)}
				if *once {
					cfg.Out = nil
					if *duration == 30*time.Second {
						cfg.Duration = demoDuration
					}
				}
				return runDemo(ctx, e, cfg, *asJSON)
			}
		},
	}
}

func runDemo(ctx context.Context, e *env, cfg demo.Config, asJSON bool) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program's own file: %w", err)
	}
	cfg.Program = program
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := demo.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(e.stdout, r)
	}
	_, err = fmt.Fprintf(e.stdout, `%d connections to %d servers through 2 balancers, one of them killed and restarted:
  routed by ID       %5.1f %% of %d offered sessions resumed
  plain round robin  %5.1f %% of %d
`, r.Connections, r.Servers, 100*r.ResumedWith, r.OfferedWith, 100*r.ResumedRoundRobin, r.OfferedRoundRobin)
	return err
}

// isTerminal reports whether w is a terminal, where a table can be drawn
// again in place.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
