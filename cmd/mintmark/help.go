package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// help is `mintmark help [COMMAND]`.
func help(e *env, args []string) error {
	if len(args) == 0 {
		printOverview(e.stdout)
		return nil
	}
	if args[0] == "help" {
		fmt.Fprint(e.stdout, "Usage: mintmark help [COMMAND]\n\nShow the list of commands, or how to use one of them.\n")
		return nil
	}
	c, _ := lookUp(args[0], args[1:])
	if c == nil && len(args) == 1 && len(verbs(args[0])) > 0 {
		fmt.Fprintf(e.stdout, "Usage: mintmark %s COMMAND [FLAGS] [OPERANDS]\n\nCommands:\n", args[0])
		printCommands(e.stdout, args[0]+" ")
		fmt.Fprintf(e.stdout, "\nRun `mintmark help %s COMMAND` for its flags and examples.\n", args[0])
		return nil
	}
	if c == nil {
		return unknownCommand(args[0], args[1:])
	}
	printCommand(e.stdout, c)
	return nil
}

func printOverview(w io.Writer) {
	fmt.Fprint(w, `Mintmark is a load balancer that routes by session IDs that servers mint.

Usage: mintmark COMMAND [FLAGS] [OPERANDS]

Commands:
`)
	printCommands(w, "")
	fmt.Fprintln(w, "\nRun `mintmark help COMMAND` for its flags and examples.")
}

// printCommands lists the commands that begin with prefix.
func printCommands(w io.Writer, prefix string) {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, c := range commands() {
		if strings.HasPrefix(c.name, prefix) {
			fmt.Fprintf(tw, "  %s\t%s\n", c.name, c.short)
		}
	}
	if prefix == "" {
		fmt.Fprintf(tw, "  help\tshow how to use a command\n")
	}
	_ = tw.Flush() // the writer of help has nobody to tell that it is gone
}

func printCommand(w io.Writer, c *command) {
	fmt.Fprintf(w, "Usage: mintmark %s\n\n%s\n", strings.TrimSpace(c.name+" "+c.synopsis), strings.TrimSpace(c.long))
	fs := newFlagSet(c.name)
	c.setup(fs)
	printFlags(w, fs)
	if len(c.examples) > 0 {
		fmt.Fprint(w, "\nExamples:\n")
	}
	for _, x := range c.examples {
		fmt.Fprintf(w, "  # %s\n  %s\n", x.what, x.line)
	}
}

func printFlags(w io.Writer, fs *flag.FlagSet) {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(tw, "\nFlags:\n")
			first = false
		}
		value, usage := flag.UnquoteUsage(f)
		name := flagName(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			usage += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		fmt.Fprintf(tw, "  %s\t%s\n", strings.TrimSpace(name+" "+value), usage)
	})
	_ = tw.Flush()
}

// flagName is a flag as it is written.
func flagName(f *flag.Flag) string {
	if len(f.Name) == 1 {
		return "-" + f.Name
	}
	return "--" + f.Name
}
