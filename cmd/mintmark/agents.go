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

func agentsCommand() *command {
	return &command{
		name:     "agents",
		synopsis: "[--remove-balancer NAME | --remove-agent POOL/SERVER]",
		short:    "list the agents and balancers that have joined, or remove one",
		long: `
List who has joined: balancers with the revision that they have on disk and
live, agents with what their servers mint and whether that was seen on the wire.

Removing one revokes its certificate, and nothing waits for it any more: a
balancer that still runs goes on with what it has, a server keeps its keys.`,
		examples: []example{
			{"who is there", "mintmark agents"},
			{"a balancer that will not come back", "mintmark agents --remove-balancer lb2"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			balancer := fs.String("remove-balancer", "", "remove the balancer `NAME`")
			agent := fs.String("remove-agent", "", "remove the agent of `POOL/SERVER`")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands); err != nil {
					return err
				}
				if *balancer != "" && *agent != "" {
					return usagef("remove one at a time")
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				if *balancer+*agent != "" {
					return removeMember(ctx, e, cf, c, *balancer, *agent)
				}
				r, err := c.ListMembers(ctx, connect.NewRequest(&mintmarkv1.ListMembersRequest{}))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) {
					printBalancers(b, r.Msg.GetBalancers())
					printAgents(b, r.Msg.GetAgents())
				})
			}
		},
	}
}

func removeMember(ctx context.Context, e *env, cf controlFlags, c *caller, balancer, agent string) error {
	m := &mintmarkv1.RemoveMemberRequest{Balancer: balancer}
	if agent != "" {
		var err error
		if m.Pool, m.Server, err = splitServer(agent); err != nil {
			return err
		}
	}
	r, err := c.RemoveMember(ctx, connect.NewRequest(m))
	if err != nil {
		return callError(err)
	}
	return cf.show(e.stdout, r.Msg, func(b *strings.Builder) { fmt.Fprintf(b, "%s is removed\n", balancer+agent) })
}

func printBalancers(b *strings.Builder, all []*mintmarkv1.Balancer) {
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "balancer\tconnected\tacknowledged revision\tago")
	for _, m := range all {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\n", m.GetName(), yes(m.GetConnected()), m.GetAcknowledgedRevision(), ago(m.GetLastSeen().AsTime()))
	}
	_ = tw.Flush() // into memory
}

func printAgents(b *strings.Builder, all []*mintmarkv1.Agent) {
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "agent\tconnected\tadapter\tmints generation\tseen on the wire\treported\tproblem")
	for _, m := range all {
		fmt.Fprintf(tw, "%s/%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.GetPool(), m.GetServer(), yes(m.GetConnected()), dash(m.GetAdapter()),
			dash(strings.Trim(fmt.Sprint(m.GetMintingGenerations()), "[]")), yes(m.GetVerified()), ago(m.GetLastSeen().AsTime()), dash(m.GetProblem()))
	}
	_ = tw.Flush() // into memory
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
