package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/daemon"
)

// Bounds of an answer from the admin address.
const (
	statusTimeout = 10 * time.Second
	maxStatus     = 64 << 20
)

func statusCommand() *command {
	return &command{
		name:     "status",
		synopsis: "[-c FILE | --admin ADDRESS] [--json]",
		short:    "show what a control plane, or a running balancer, sees",
		long: `
Without -c and --admin, ask the control plane that somebody has logged in to:
pools, balancers, agents, where each space is in its life, what is waited for,
and alarms. With --json, the answer of ControlService.GetStatus is printed:
revision, pools, rollouts, balancers, agents and alarms.

With one of them, ask a running balancer, at its admin address, for its pools and servers: what is
up, what each server mints and how many sessions came home, beside what round
robin would have found; servers that assign IDs outside their space, and names
that cannot be trusted.

With --json, the object that GET /status answers is printed. Its keys: ready,
reason, config, listeners, and pools, each with name, resumptions (offered,
accepted, rate, round_robin), alarms, learned and servers, each with name,
address, group, up, draining, weight, connections, resumptions, layout, mints,
probe_error, foreign_mints and foreign_examples.`,
		examples: []example{
			{"the balancer that runs this file", "mintmark status -c /etc/mintmark/mintmark.yaml"},
			{"by its admin address", "mintmark status --admin 127.0.0.1:7071 --json"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			file := fs.String("c", "", "configuration `FILE`, for its admin address")
			admin := fs.String("admin", "", "admin `ADDRESS`: HOST:PORT or unix:PATH")
			cf := newControlFlags(fs)
			return func(ctx context.Context, e *env, operands []string) error {
				if len(operands) > 0 {
					return usagef("status takes no operands, got %s", quote(operands[0]))
				}
				if *file == "" && *admin == "" {
					return controlStatus(ctx, e, cf)
				}
				network, address, err := adminAddress(*file, *admin)
				if err != nil {
					return err
				}
				s, err := askStatus(ctx, network, address)
				if err != nil {
					return withHint(err, "is the balancer running, and is %s its admin address?", address)
				}
				if *cf.json {
					return writeJSON(e.stdout, s)
				}
				return printStatus(e.stdout, s)
			}
		},
	}
}

// adminAddress finds the address to ask.
func adminAddress(file, admin string) (network, address string, err error) {
	switch {
	case (file == "") == (admin == ""):
		return "", "", usagef("status takes one of -c FILE and --admin ADDRESS")
	case strings.HasPrefix(admin, "unix:"):
		return "unix", strings.TrimPrefix(admin, "unix:"), nil
	case admin != "":
		return "tcp", admin, nil
	}
	cfg, err := config.Load(file, config.Options{WithoutPlans: true})
	if err != nil {
		return "", "", err
	}
	if cfg.Admin == nil {
		return "", "", withHint(errors.New("the file has no admin address"), "write admin: {listen: \"127.0.0.1:7071\"} and reload")
	}
	return cfg.Admin.Network, cfg.Admin.Address, nil
}

func askStatus(ctx context.Context, network, address string) (daemon.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var s daemon.Status
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://mintmark/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, fmt.Errorf("asking the balancer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("asking the balancer: it answered %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(&s); err != nil {
		return s, fmt.Errorf("reading the balancer's answer: %w", err)
	}
	return s, nil
}

func printStatus(w io.Writer, s daemon.Status) error {
	var b strings.Builder
	state := "ready"
	if !s.Ready {
		state = "not ready: " + s.Reason
	}
	fmt.Fprintf(&b, "%s: %s; listeners: %s\n", s.Config, state, strings.Join(s.Listeners, ", "))
	for _, p := range s.Pools {
		fmt.Fprintf(&b, "\npool %s: %s\n", p.Name, rates(p.Resumptions))
		if p.Learned != nil {
			fmt.Fprintf(&b, "  learned list: %d IDs\n", *p.Learned)
		}
		for _, a := range p.Alarms {
			fmt.Fprintf(&b, "  ALARM: name %s of servers %s: %s\n", a.Name, strings.Join(a.Servers, ", "), a.Reason)
		}
		tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "  server\taddress\tstate\tconnections\toffered\taccepted\tmints\tforeign mints")
		for _, srv := range p.Servers {
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%d\t%d\t%d\t%s\t%d\n", srv.Name, srv.Address, serverState(srv), srv.Connections,
				srv.Resumptions.Offered, srv.Resumptions.Accepted, mints(srv), srv.ForeignMints)
		}
		_ = tw.Flush() // into memory
		for _, srv := range p.Servers {
			if srv.Layout != "" && srv.Mints == "" {
				fmt.Fprintf(&b, "  server %s mints nothing to route by (%s): `mintmark probe %s` says what to change\n", srv.Name, srv.Layout, srv.Address)
			}
			if n := len(srv.Examples); n > 0 {
				x := srv.Examples[n-1]
				fmt.Fprintf(&b, "  ALARM: server %s assigns IDs outside its space, the last in field %s with the mark %s%s\n",
					srv.Name, x.Field, x.Mark, whose(x.Owner))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func rates(r daemon.Resumptions) string {
	if r.Offered == 0 {
		return "no sessions offered yet"
	}
	return fmt.Sprintf("%d of %d offered sessions resumed, %.1f %%; round robin would find %.1f %%",
		r.Accepted, r.Offered, 100*r.Rate, 100*r.RoundRobin)
}

func serverState(s daemon.ServerStatus) string {
	switch {
	case !s.Up:
		return "down"
	case s.Draining:
		return "draining"
	}
	return "up"
}

func mints(s daemon.ServerStatus) string {
	switch {
	case s.Mints != "":
		return s.Mints
	case s.ProbeError != "":
		return "no answer"
	case s.Layout != "":
		return s.Layout
	}
	return "-"
}

func whose(owner string) string {
	if owner == "" {
		return ""
	}
	return ", which is of " + owner
}
