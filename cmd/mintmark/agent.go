package main

import (
	"context"
	"flag"
	"net"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/mintmark/mintmark/internal/agent"
	"github.com/mintmark/mintmark/internal/control/access/join"
)

func agentCommand() *command {
	return &command{
		name:     "agent",
		synopsis: "-c FILE [--log-format text|json] [--log-level LEVEL]",
		short:    "configure the server beside it, as the control plane says",
		long: `
Run the agent of one server, in the foreground, until SIGTERM or SIGINT: it
joins the control plane with a token, receives the part of the ID space that the
server may mint, makes ticket keys, has the server use them, looks on the wire
whether it does, and reports.

The server goes on with what it has when the agent or the control plane is
away, and a restart of the agent makes no new keys. docs/guides/agent.md has the
file for each product: nginx, HAProxy, Apache, lighttpd, Node.js, Envoy,
OpenSSL (id-prefix), Tomcat (jvmRoute), environment files and any command.`,
		examples: []example{
			{"make a token for the server's agent, on any machine", "mintmark token create agent web/a > a.token"},
			{"run the agent beside it", "mintmark agent -c /etc/mintmark/agent.yaml"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			file := fs.String("c", "", "configuration `FILE`")
			format := fs.String("log-format", "text", "`FORMAT` of the log: text or json")
			level := fs.String("log-level", "info", "least `LEVEL` that is logged: debug, info, warn or error")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands); err != nil {
					return err
				}
				if *file == "" {
					return usagef("agent needs a configuration file: -c FILE")
				}
				log, err := newLogger(e.stderr, *format, *level)
				if err != nil {
					return err
				}
				f, err := agent.Load(*file)
				if err != nil {
					return err
				}
				ad, err := f.NewAdapter()
				if err != nil {
					return err
				}
				c := agent.Config{Adapter: ad, State: f.State, SNI: f.Server.SNI, Capacity: f.Capacity, Logger: log}
				if address := f.Server.Address; address != "" {
					c.Dial = func(ctx context.Context) (net.Conn, error) {
						var d net.Dialer
						return d.DialContext(ctx, "tcp", address)
					}
				}
				c.Source = agent.NewAPI(join.NewRemote(join.RemoteConfig{
					URLs: f.Control.Connect, Dir: filepath.Join(f.State, "credentials"),
					TokenFile: f.Control.TokenFile, CA: f.Control.CA, Role: "agent", Logger: log,
				}))
				a, err := agent.New(c)
				if err != nil {
					return err
				}
				ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
				defer stop()
				return a.Run(ctx)
			}
		},
	}
}
