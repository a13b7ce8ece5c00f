package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/mintmark/mintmark/internal/explain"
)

// printExplanation writes an explanation for people, or as JSON.
func printExplanation(x *explain.Explanation, w io.Writer, asJSON bool) error {
	x.Complete()
	if asJSON {
		return writeJSON(w, x)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "field\t%s\n", x.Field)
	fmt.Fprintf(tw, "rule\t%s\n", orDash(x.Rule))
	fmt.Fprintf(tw, "owner\t%s\n", orDash(x.Owner))
	if x.Generation != nil {
		fmt.Fprintf(tw, "generation\t%d\n", *x.Generation)
	} else {
		fmt.Fprint(tw, "generation\t-\n")
	}
	fmt.Fprintf(tw, "routed_by\t%s\n", x.RoutedBy)
	if x.Server != nil {
		fmt.Fprintf(tw, "server\t%s (%s), pool %s\n", *x.Server, x.Address, *x.Pool)
	} else {
		fmt.Fprintf(tw, "server\t-\n")
	}
	if x.QUICLB != nil {
		writeCID(tw, x.QUICLB)
	}
	fmt.Fprintf(tw, "reason\t%s\n", x.Reason)
	if err := tw.Flush(); err != nil {
		return err
	}
	for i, s := range x.Steps {
		if i == 0 {
			fmt.Fprintln(w, "\nStep by step:")
		}
		fmt.Fprintln(w, "  "+s)
	}
	for i, n := range x.Notes {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, "Note: "+n+".")
	}
	return nil
}

func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}
