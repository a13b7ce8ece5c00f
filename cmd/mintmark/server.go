package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

func serverAddCommand() *command {
	return &command{
		name:     "server add",
		synopsis: "POOL/SERVER ADDRESS [--group NAME] [--weight N] [--share N] [--sdk] [--dry-run]",
		short:    "add a server to a pool",
		long: `
Add a server. In a planned pool it is given a space out of the reserve; it gets
traffic at once, and mints in its space when every balancer can route it. Give
its agent a token with "mintmark token create agent POOL/SERVER".

A name that was removed before may be used again for a new server: nothing that
the former one minted is routed to it once that space is gone.`,
		examples: []example{
			{"a server", "mintmark server add web/a 10.0.0.11:443"},
			{"one that shares ticket keys with the others of its group", "mintmark server add web/b 10.0.0.12:443 --group pair1"},
			{"a Go server that makes sealed marks itself", "mintmark server add app/c 10.0.0.13:8443 --sdk"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			group := fs.String("group", "", "`NAME` of the group that shares session state with it")
			weight := fs.Int("weight", -1, "how much new traffic it gets (default what its agent says, or 1)")
			share := fs.Int("share", -1, "how large its space is, beside others (default 1)")
			limit := fs.Uint("max-connections", 0, "most connections at a time from each balancer (0: no limit)")
			sdk := fs.Bool("sdk", false, "the SDK in it makes sealed marks, and is given the mark key")
			from := fs.Uint64("from-revision", 0, "refuse unless the pool is at this `REVISION` (0: whatever it is)")
			dryRun := fs.Bool("dry-run", false, "only show what would change")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands, "POOL/SERVER", "ADDRESS"); err != nil {
					return err
				}
				pool, name, err := splitServer(operands[0])
				if err != nil {
					return err
				}
				s := &mintmarkv1.Server{
					Name: name, Address: operands[1], Group: *group, MaxConnections: uint32(*limit), //nolint:gosec // the server checks it
					MintsMarks: *sdk, Weight: optional(*weight), Share: optional(*share),
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				r, err := c.AddServer(ctx, connect.NewRequest(&mintmarkv1.AddServerRequest{Pool: pool, Server: s, FromRevision: *from, DryRun: *dryRun}))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) { printDiff(b, r.Msg.GetDiff(), *dryRun) })
			}
		},
	}
}

// optional is a number that may not be said.
func optional(n int) *uint32 {
	if n < 0 {
		return nil
	}
	v := uint32(n) //nolint:gosec // the server checks it
	return &v
}

func serverRemoveCommand() *command {
	return &command{
		name:     "server remove",
		synopsis: "POOL/SERVER [--dry-run]",
		short:    "remove a server from a pool, for good",
		long: `
Remove a server. Its sessions end: their IDs go to other servers of the pool.
Drain it first ("mintmark server drain") to let them end by themselves. Its
space is given to nobody before the last ID of it is dead. Its agent's
certificate is revoked.`,
		examples: []example{{"remove a server", "mintmark server remove web/a"}},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			from := fs.Uint64("from-revision", 0, "refuse unless the pool is at this `REVISION` (0: whatever it is)")
			dryRun := fs.Bool("dry-run", false, "only show what would change")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands, "POOL/SERVER"); err != nil {
					return err
				}
				pool, name, err := splitServer(operands[0])
				if err != nil {
					return err
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				r, err := c.RemoveServer(ctx, connect.NewRequest(&mintmarkv1.RemoveServerRequest{Pool: pool, Server: name, FromRevision: *from, DryRun: *dryRun}))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) { printDiff(b, r.Msg.GetDiff(), *dryRun) })
			}
		},
	}
}

// A serverChange is a command that changes one thing of a server.
type serverChange struct {
	name, operand, short, long string
	example                    example
	apply                      func(r *mintmarkv1.UpdateServerRequest, value string) error
}

func serverChangeCommand(s serverChange) *command {
	names := []string{"POOL/SERVER"}
	if s.operand != "" {
		names = append(names, s.operand)
	}
	return &command{
		name: "server " + s.name, synopsis: strings.Join(names, " "), short: s.short, long: s.long, examples: []example{s.example},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			from := fs.Uint64("from-revision", 0, "refuse unless the pool is at this `REVISION` (0: whatever it is)")
			dryRun := fs.Bool("dry-run", false, "only show what would change")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands, names...); err != nil {
					return err
				}
				r := &mintmarkv1.UpdateServerRequest{FromRevision: *from, DryRun: *dryRun}
				var err error
				if r.Pool, r.Server, err = splitServer(operands[0]); err != nil {
					return err
				}
				if err := s.apply(r, append(operands, "")[1]); err != nil {
					return err
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				out, err := c.UpdateServer(ctx, connect.NewRequest(r))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, out.Msg, func(b *strings.Builder) {
					if len(out.Msg.GetDiff().GetAdded())+len(out.Msg.GetDiff().GetRetired()) == 0 {
						fmt.Fprintf(b, "%s; no space of the pool moved\n", strings.TrimSuffix(changed(*dryRun), "; this is what would be"))
						return
					}
					printDiff(b, out.Msg.GetDiff(), *dryRun)
				})
			}
		},
	}
}

// serverChangeCommands are the commands that change one thing of a server.
func serverChangeCommands() []*command {
	var all []*command
	for _, s := range []serverChange{
		{
			"drain", "", "end new traffic to a server", `
End new traffic to a server. Its sessions go on until drain_timeout; in a group,
TLS tickets go to a partner at once, which accepts them and renews them under
its own name.`,
			example{"drain a server", "mintmark server drain web/a"},
			func(r *mintmarkv1.UpdateServerRequest, _ string) error { r.Draining = new(true); return nil },
		},
		{
			"undrain", "", "let new traffic come again to a server", `
End the drain of a server: new traffic comes again.`,
			example{"end a drain", "mintmark server undrain web/a"},
			func(r *mintmarkv1.UpdateServerRequest, _ string) error { r.Draining = new(false); return nil },
		},
		{
			"weight", "N", "set how much new traffic a server gets", `
Set how much new traffic a server gets, in proportion to the other weights. It
moves no space: that is what "share" is for. 0 ends new traffic.`,
			example{"twice as much as others", "mintmark server weight web/a 2"},
			func(r *mintmarkv1.UpdateServerRequest, v string) (err error) { r.Weight, err = number(v); return err },
		},
		{
			"share", "N", "set how large the space of a server is", `
Set how large the space of a server is, in proportion to the other shares. It
grows out of the reserve, or in a new generation; no ID changes its owner.`,
			example{"twice as large as others", "mintmark server share web/a 2"},
			func(r *mintmarkv1.UpdateServerRequest, v string) (err error) { r.Share, err = number(v); return err },
		},
		{
			"group", "NAME", "put a server into a group, or out of all", `
Put a server into a group, whose members hold each other's ticket keys, so that
each can go on with the sessions of the others. "" takes it out, and has the
others make new keys.`,
			example{"a pair", "mintmark server group web/a pair1"},
			func(r *mintmarkv1.UpdateServerRequest, v string) error { r.Group = &v; return nil },
		},
		{
			"address", "ADDRESS", "set where a server listens", `
Set where a server listens. It stays the owner of its space: this is for a
server that has moved, not for another server.`,
			example{"it has moved", "mintmark server address web/a 10.0.0.21:443"},
			func(r *mintmarkv1.UpdateServerRequest, v string) error { r.Address = &v; return nil },
		},
	} {
		all = append(all, serverChangeCommand(s))
	}
	return all
}

func number(text string) (*uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return nil, usagef("%s is not a number", quote(text))
	}
	v := uint32(n)
	return &v, nil
}
