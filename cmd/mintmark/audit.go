package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

func auditCommand() *command {
	return &command{
		name:     "audit",
		synopsis: "[--limit N] [--before REVISION]",
		short:    "list who changed what at the control plane",
		long: `
List the changes that people and programs made, newest first: when, who, what,
and the revision that they had seen.`,
		examples: []example{{"the last ten changes", "mintmark audit --limit 10"}},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			limit := fs.Uint("limit", 100, "at most so many")
			before := fs.Uint64("before", 0, "only those before this `REVISION` (0: the newest)")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands); err != nil {
					return err
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				m := &mintmarkv1.ListAuditRequest{BeforeRevision: *before, Limit: uint32(*limit)} //nolint:gosec // the server bounds it
				r, err := c.ListAudit(ctx, connect.NewRequest(m))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) {
					tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
					fmt.Fprintln(tw, "revision\ttime\twho\twhat")
					for _, x := range r.Msg.GetEntries() {
						fmt.Fprintf(tw, "%d\t%s\t%s\t%s %s\n", x.GetRevision(), x.GetTime().AsTime().Format("2006-01-02 15:04:05"), x.GetActor(), x.GetAction(), x.GetSubject())
					}
					_ = tw.Flush() // into memory
				})
			}
		},
	}
}
