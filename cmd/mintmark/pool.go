package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

func poolListCommand() *command {
	return &command{
		name:  "pool list",
		short: "list the pools of the control plane",
		long: `
List the pools with their scheme and servers. With --json, the answer of
ControlService.ListPools is printed: revision, and pools, each with name,
settings_json, scheme, groups, servers and revision.`,
		examples: []example{{"all pools", "mintmark pool list"}},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands); err != nil {
					return err
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				r, err := c.ListPools(ctx, connect.NewRequest(&mintmarkv1.ListPoolsRequest{}))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) { printPools(b, r.Msg.GetPools()) })
			}
		},
	}
}

func printPools(b *strings.Builder, pools []*mintmarkv1.Pool) {
	if len(pools) == 0 {
		fmt.Fprintln(b, "no pools (make one with `mintmark pool create NAME --scheme ranges`, or take a file with `mintmark import`)")
		return
	}
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "pool\tscheme\tservers\trevision")
	for _, p := range pools {
		scheme := p.GetScheme().GetKind()
		if scheme == "" {
			scheme = "-"
		}
		var names []string
		for _, s := range p.GetServers() {
			names = append(names, s.GetName())
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\n", p.GetName(), scheme, strings.Join(names, ", "), p.GetRevision())
	}
	_ = tw.Flush() // into memory
}

func poolCreateCommand() *command {
	return &command{
		name:     "pool create",
		synopsis: "NAME [--scheme ranges|bits|sealed] [--server NAME=ADDRESS]... [--set KEY=VALUE]... [--dry-run]",
		short:    "make a pool, or change the settings of one",
		long: `
Make a pool, or replace the settings of one that exists; its servers stay then
(see "mintmark server"). Servers that are given at once have spaces that leave
room for as many again; one by one works too, and opens a new generation where
the room is used up. A pool with a scheme is planned: every
server is given a space of its own, in the order that "mintmark rollout status"
shows. Schemes: "ranges" and "bits" give each server a part of the values that
IDs begin with; "sealed" gives it marks that nobody can tell apart without the
mark key, which balancers have. A pool without a scheme takes its spaces from
"ids" or "discover", as in a configuration file.

--set takes a setting of the configuration file, as KEY=VALUE, where VALUE is
JSON or a plain word; see docs/configuration.md, "pools[]".`,
		examples: []example{
			{"a planned pool", "mintmark pool create web --scheme ranges --server a=10.0.0.11:443 --server b=10.0.0.12:443 --set session_lifetime=8h"},
			{"servers nobody configures: their marks are read off them", `mintmark pool create stock --set 'discover={"probe": true}'`},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			scheme := fs.String("scheme", "", "`KIND` of the planned spaces: ranges, bits or sealed")
			rotate := fs.Duration("rotate-every", 0, "open a new generation so long after the last (0: by command only)")
			markBits := fs.Uint("mark-bits", 0, "length of the mark, of ranges and bits (0: the default)")
			reserve := fs.String("reserve", "", "`FRACTION` of a generation that belongs to nobody, as in 1/2 (default 1/2)")
			from := fs.Uint64("from-revision", 0, "refuse unless the pool is at this `REVISION` (0: whatever it is)")
			dryRun := fs.Bool("dry-run", false, "only show what would change")
			var set, servers []string
			fs.Func("server", "`NAME=ADDRESS` of a server of a new pool; may be given several times", func(s string) error {
				servers = append(servers, s)
				return nil
			})
			fs.Func("set", "`KEY=VALUE`, a setting of the pool; may be given several times", func(s string) error {
				set = append(set, s)
				return nil
			})
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands, "NAME"); err != nil {
					return err
				}
				settings, err := settingsJSON(set)
				if err != nil {
					return err
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				p := &mintmarkv1.Pool{Name: operands[0], SettingsJson: settings}
				for _, s := range servers {
					name, address, ok := strings.Cut(s, "=")
					if !ok {
						return usagef("--server %s is not NAME=ADDRESS", quote(s))
					}
					p.Servers = append(p.Servers, &mintmarkv1.Server{Name: name, Address: address})
				}
				if *scheme != "" {
					p.Scheme = &mintmarkv1.Scheme{Kind: *scheme, MarkBits: uint32(*markBits), Reserve: *reserve} //nolint:gosec // the server refuses more than 256
					if *rotate != 0 {
						p.Scheme.RotateEvery = durationpb.New(*rotate)
					}
				}
				r, err := c.PutPool(ctx, connect.NewRequest(&mintmarkv1.PutPoolRequest{Pool: p, FromRevision: *from, DryRun: *dryRun}))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) { printDiff(b, r.Msg.GetDiff(), *dryRun) })
			}
		},
	}
}

// settingsJSON makes an object of KEY=VALUE pairs.
func settingsJSON(set []string) (string, error) {
	if len(set) == 0 {
		return "", nil
	}
	m := make(map[string]json.RawMessage)
	for _, s := range set {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return "", usagef("--set %s is not KEY=VALUE", quote(s))
		}
		if _, twice := m[key]; twice {
			return "", usagef("--set %s is given twice", key)
		}
		raw := json.RawMessage(value)
		if !json.Valid(raw) {
			raw, _ = json.Marshal(value) // a string always has a form in JSON
		}
		m[key] = raw
	}
	b, err := json.Marshal(m)
	return string(b), err
}

func poolDeleteCommand() *command {
	return &command{
		name:     "pool delete",
		synopsis: "NAME [--from-revision REVISION]",
		short:    "delete a pool, with all that is known of its spaces",
		long: `
Delete a pool. Balancers close the listeners that name it, and sessions of its
servers are routed no more: the rollout does not wait for anybody.`,
		examples: []example{{"delete a pool", "mintmark pool delete web"}},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			from := fs.Uint64("from-revision", 0, "refuse unless the pool is at this `REVISION` (0: whatever it is)")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands, "NAME"); err != nil {
					return err
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				r, err := c.DeletePool(ctx, connect.NewRequest(&mintmarkv1.DeletePoolRequest{Name: operands[0], FromRevision: *from}))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) { fmt.Fprintf(b, "pool %s is deleted\n", operands[0]) })
			}
		},
	}
}

// printDiff shows what a change does to the spaces of a pool.
func printDiff(b *strings.Builder, d *mintmarkv1.PlanDiff, dryRun bool) {
	if len(d.GetAdded())+len(d.GetRetired())+len(d.GetUnchanged()) == 0 {
		fmt.Fprintln(b, changed(dryRun)+"; no space is planned")
		return
	}
	fmt.Fprintln(b, changed(dryRun)+":")
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, part := range []struct {
		sign   string
		spaces []*mintmarkv1.Space
	}{{"+", d.GetAdded()}, {"-", d.GetRetired()}, {" ", d.GetUnchanged()}} {
		for _, s := range part.spaces {
			fmt.Fprintf(tw, "  %s %s\tgeneration %d\t%s\t%s of all IDs\n", part.sign, s.GetOwner(), s.GetGeneration(), s.GetRule(), s.GetShare())
		}
	}
	_ = tw.Flush() // into memory
	fmt.Fprintf(b, "  reserve: %s of all IDs\n", d.GetReserve())
	if d.GetProblem() != "" {
		fmt.Fprintf(b, "  not yet possible: %s\n", d.GetProblem())
	}
}

func changed(dryRun bool) string {
	if dryRun {
		return "nothing was changed; this is what would be"
	}
	return "changed"
}

// ago is how long ago a time was, for people.
func ago(t time.Time) string {
	if t.IsZero() || t.Unix() == 0 {
		return "-"
	}
	return time.Since(t).Round(time.Second).String()
}
