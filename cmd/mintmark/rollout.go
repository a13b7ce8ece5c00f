package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

func rolloutStatusCommand() *command {
	return &command{
		name:     "rollout status",
		synopsis: "POOL",
		short:    "show where each space is in its life, and what is waited for",
		long: `
Show the spaces of a planned pool with their phase, and every wait.

A space is prepared (balancers are being told), acknowledged (every balancer has
it on disk and live), minting, retiring (its server was given another), dead (no
ID of it is left), and then gone. A wait names who holds a step up, since when,
and what would be lost if it were overridden with "mintmark rollout advance".`,
		examples: []example{{"why does it not go on?", "mintmark rollout status web"}},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands, "POOL"); err != nil {
					return err
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				r, err := c.GetRollout(ctx, connect.NewRequest(&mintmarkv1.GetRolloutRequest{Pool: operands[0]}))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) { printRollout(b, r.Msg.GetRollout()) })
			}
		},
	}
}

func printRollout(b *strings.Builder, r *mintmarkv1.Rollout) {
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "  owner\tgeneration\tphase\trule\tshare of all IDs")
	for _, s := range r.GetSpaces() {
		owner, phase := s.GetOwner(), phaseName(s.GetPhase())
		if owner == "" {
			owner, phase = "(reserve)", "-"
		}
		fmt.Fprintf(tw, "  %s\t%d\t%s\t%s\t%s\n", owner, s.GetGeneration(), phase, s.GetRule(), s.GetShare())
	}
	_ = tw.Flush() // into memory
	if len(r.GetWaits()) == 0 {
		fmt.Fprintln(b, "  nothing is waited for")
	}
	for _, w := range r.GetWaits() {
		fmt.Fprintf(b, "  waiting for %s %s: %s", w.GetKind(), w.GetName(), w.GetReason())
		if w.GetSince() != nil {
			fmt.Fprintf(b, ", for %s", ago(w.GetSince().AsTime()))
		}
		if w.GetUntil() != nil {
			fmt.Fprintf(b, ", until %s", w.GetUntil().AsTime().Format("2006-01-02 15:04:05 MST"))
		}
		fmt.Fprintln(b)
		if w.GetCost() != "" {
			fmt.Fprintf(b, "    to go on without: %s\n", w.GetCost())
		}
	}
	for _, c := range r.GetRotationCosts() {
		fmt.Fprintf(b, "  a rotation would end sessions: %s\n", c)
	}
}

func phaseName(p mintmarkv1.Phase) string {
	return strings.ToLower(strings.TrimPrefix(p.String(), "PHASE_"))
}

func rolloutAdvanceCommand() *command {
	return &command{
		name:     "rollout advance",
		synopsis: "POOL KIND NAME [--accept]",
		short:    "go on although somebody is away, and accept what is lost",
		long: `
Override a wait of a rollout, named by its kind and name as "mintmark rollout
status" shows it. Without --accept nothing is changed: the command says what
would be lost.`,
		examples: []example{
			{"what would be lost without balancer lb2?", "mintmark rollout advance web balancer lb2"},
			{"go on without it", "mintmark rollout advance web balancer lb2 --accept"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			accept := fs.Bool("accept", false, "accept what is lost")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands, "POOL", "KIND", "NAME"); err != nil {
					return err
				}
				return advance(ctx, e, cf, *accept, operands[0], operands[1], operands[2])
			}
		},
	}
}

func advance(ctx context.Context, e *env, cf controlFlags, accept bool, pool, kind, name string) error {
	c, err := cf.dial(ctx)
	if err != nil {
		return err
	}
	r, err := c.GetRollout(ctx, connect.NewRequest(&mintmarkv1.GetRolloutRequest{Pool: pool}))
	if err != nil {
		return callError(err)
	}
	m := &mintmarkv1.AdvanceRolloutRequest{Pool: pool}
	found := false
	for _, w := range r.Msg.GetRollout().GetWaits() {
		if w.GetKind() != kind || w.GetName() != name {
			continue
		}
		found = true
		if w.GetCost() == "" {
			return fmt.Errorf("the wait for %s %s cannot be overridden: it %s", kind, name, w.GetReason())
		}
		fmt.Fprintln(e.stderr, w.GetCost())
		m.AcceptedCosts = append(m.AcceptedCosts, w.GetCost())
	}
	if !found {
		return withHint(fmt.Errorf("the rollout of %s does not wait for %s %s", pool, quote(kind), quote(name)), "run `mintmark rollout status %s`", pool)
	}
	if !accept {
		return withHint(errors.New("nothing was changed: what is lost has to be accepted"), "repeat it with --accept")
	}
	m.Waits = []*mintmarkv1.Wait{{Kind: kind, Name: name}}
	out, err := c.AdvanceRollout(ctx, connect.NewRequest(m))
	if err != nil {
		return callError(err)
	}
	return cf.show(e.stdout, out.Msg, func(b *strings.Builder) { printRollout(b, out.Msg.GetRollout()) })
}

func rolloutRotateCommand() *command {
	return &command{
		name:     "rollout rotate",
		synopsis: "POOL [--end-sessions]",
		short:    "give every server a new space and new keys",
		long: `
Open a new generation: every server is given a new space, new key names, and
makes new ticket keys; the old ones still route and decrypt until their last
session is over. It is refused when a server's product cannot keep as many keys
as that takes, and says which sessions would end; --end-sessions accepts that.
A rollback is the same: a new generation.`,
		examples: []example{{"rotate", "mintmark rollout rotate web"}},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			end := fs.Bool("end-sessions", false, "rotate although some servers would drop sessions")
			from := fs.Uint64("from-revision", 0, "refuse unless the pool is at this `REVISION` (0: whatever it is)")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands, "POOL"); err != nil {
					return err
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				r, err := c.Rotate(ctx, connect.NewRequest(&mintmarkv1.RotateRequest{Pool: operands[0], EndSessions: *end, FromRevision: *from}))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) {
					fmt.Fprintf(b, "a new generation is being rolled out (mintmark rollout status %s)\n", operands[0])
					for _, w := range r.Msg.GetWarnings() {
						fmt.Fprintf(b, "  %s\n", w)
					}
				})
			}
		},
	}
}
