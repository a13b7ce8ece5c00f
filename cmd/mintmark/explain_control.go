package main

import (
	"context"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

// explainPool asks the control plane whose an ID is. Of several candidates the
// first that has an owner is told, as a balancer would have it.
func explainPool(ctx context.Context, e *env, cf controlFlags, pool, operand, fieldName string) error {
	field, err := explainField(fieldName)
	if err != nil {
		return err
	}
	m, err := readMessage(e.stdin, operand, field)
	if err != nil {
		return err
	}
	c, err := cf.dial(ctx)
	if err != nil {
		return err
	}
	var answer *mintmarkv1.ExplainResponse
	for _, candidate := range m.Candidates {
		r, err := c.Explain(ctx, connect.NewRequest(&mintmarkv1.ExplainRequest{
			Pool: pool, Field: candidate.Field.String(), Id: candidate.ID,
		}))
		if err != nil {
			return callError(err)
		}
		if answer == nil || answer.GetOwner() == "" {
			answer = r.Msg
		}
	}
	if answer == nil {
		return fmt.Errorf("the hello carries no ID: such a client is balanced")
	}
	return cf.show(e.stdout, answer, func(b *strings.Builder) {
		if answer.GetOwner() == "" {
			fmt.Fprintln(b, answer.GetReason())
			return
		}
		fmt.Fprintf(b, "owner       %s\nfield       %s\n", answer.GetOwner(), answer.GetField())
		if answer.GetRule() != "" {
			fmt.Fprintf(b, "rule        %s\n", answer.GetRule())
		}
		if answer.Generation != nil {
			fmt.Fprintf(b, "generation  %d (%s)\n", answer.GetGeneration(), answer.GetPhase())
		}
		fmt.Fprintf(b, "reason      %s\n", answer.GetReason())
	})
}
