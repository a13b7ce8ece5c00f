package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

func tokenCreateCommand() *command {
	return &command{
		name:     "token create",
		synopsis: "ROLE NAME [--lifetime DURATION] [--reusable]",
		short:    "make a token with which somebody joins",
		long: `
Make a token and print it, once. ROLE is balancer, agent, viewer or admin; NAME
is the balancer's or the person's, and POOL/SERVER of an agent.

A token works once, within its lifetime, and is exchanged for a certificate:
"token_file" of a balancer or an agent, "mintmark login" of a person. Whoever had
joined under that name is refused from then on. A --reusable token is for
programs that act as admin or viewer: it is sent with each request, works until
it expires, and is to be kept like a password.`,
		examples: []example{
			{"for a balancer", "mintmark token create balancer lb1 > lb1.token"},
			{"for the agent beside a server", "mintmark token create agent web/a > a.token"},
			{"for a script that reads", "mintmark token create viewer dashboard --reusable --lifetime 2160h"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			cf := newControlFlags(fs)
			lifetime := fs.Duration("lifetime", time.Hour, "how long the token works")
			reusable := fs.Bool("reusable", false, "a bearer token of an admin or viewer that works until it expires")
			return func(ctx context.Context, e *env, operands []string) error {
				if err := needOperands(operands, "ROLE", "NAME"); err != nil {
					return err
				}
				m := &mintmarkv1.CreateTokenRequest{Role: operands[0], Name: operands[1], Lifetime: durationpb.New(*lifetime), Reusable: *reusable}
				if m.GetRole() == "agent" {
					var err error
					if m.Pool, m.Name, err = splitServer(operands[1]); err != nil {
						return err
					}
				}
				c, err := cf.dial(ctx)
				if err != nil {
					return err
				}
				r, err := c.CreateToken(ctx, connect.NewRequest(m))
				if err != nil {
					return callError(err)
				}
				return cf.show(e.stdout, r.Msg, func(b *strings.Builder) { fmt.Fprintln(b, r.Msg.GetToken()) })
			}
		},
	}
}
