package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

// controlStatus shows what the control plane sees.
func controlStatus(ctx context.Context, e *env, cf controlFlags) error {
	c, err := cf.dial(ctx)
	if errors.Is(err, errNoControl) {
		return withHint(err, "run `mintmark login URL`, or give --control URL; to ask a running balancer, -c FILE or --admin ADDRESS")
	}
	if err != nil {
		return err
	}
	r, err := c.GetStatus(ctx, connect.NewRequest(&mintmarkv1.GetStatusRequest{}))
	if err != nil {
		return callError(err)
	}
	return cf.show(e.stdout, r.Msg, func(b *strings.Builder) {
		m := r.Msg
		fmt.Fprintf(b, "%s: revision %d\n", c.url, m.GetRevision())
		for _, a := range m.GetAlarms() {
			fmt.Fprintf(b, "ALARM: %s\n", a)
		}
		fmt.Fprintln(b)
		printPools(b, m.GetPools())
		for _, ro := range m.GetRollouts() {
			fmt.Fprintf(b, "\nrollout of pool %s:\n", ro.GetPool())
			printRollout(b, ro)
		}
		fmt.Fprintln(b)
		printBalancers(b, m.GetBalancers())
		fmt.Fprintln(b)
		printAgents(b, m.GetAgents())
	})
}
