package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// commands is the command table, in the order in which help lists it. A new
// subcommand is one file with a function like these, and one line here.
func commands() []*command {
	all := []*command{
		serveCommand(),
		agentCommand(),
		checkCommand(),
		explainCommand(),
		planCommand(),
		statusCommand(),
		probeCommand(),
		loginCommand(),
		poolListCommand(),
		poolCreateCommand(),
		poolDeleteCommand(),
		serverAddCommand(),
		serverRemoveCommand(),
	}
	all = append(all, serverChangeCommands()...)
	return append(all,
		rolloutStatusCommand(),
		rolloutAdvanceCommand(),
		rolloutRotateCommand(),
		tokenCreateCommand(),
		agentsCommand(),
		importCommand(),
		exportCommand(),
		auditCommand(),
		demoCommand(),
		completionCommand(),
		versionCommand(),
	)
}

// An env is what a command sees of the process that runs it.
type env struct {
	stdin  io.Reader
	stdout io.Writer // the result, and nothing else
	stderr io.Writer // talk: errors, hints, warnings, progress
}

// A command is one subcommand.
type command struct {
	name     string
	synopsis string // flags and operands as the usage line shows them
	short    string // one line for the list of commands, without a full stop
	long     string // what it does, for `mintmark help NAME`; paragraphs apart by an empty line
	examples []example
	// setup defines the command's flags on fs and returns what runs once they
	// are parsed. So every call has flags of its own and none is global.
	setup func(fs *flag.FlagSet) runFunc
}

// An example is shown by help.
type example struct{ what, line string }

// A runFunc runs a command with its operands. The error decides the exit
// status: see exitStatus.
type runFunc func(ctx context.Context, e *env, operands []string) error

// run is the program: it finds the subcommand, parses its flags, runs it and
// returns the exit status. Tests call it in their own process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr}
	return exitStatus(e, dispatch(ctx, e, args))
}

func dispatch(ctx context.Context, e *env, args []string) error {
	if len(args) == 0 {
		printOverview(e.stderr)
		return exitError(statusUsage)
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return help(e, rest)
	case "-version", "--version":
		name = "version"
	}
	c, rest := lookUp(name, rest)
	if c == nil {
		return unknownCommand(name, rest)
	}
	fs := newFlagSet(c.name)
	fn := c.setup(fs)
	operands, err := parseFlags(fs, rest)
	switch {
	case errors.Is(err, flag.ErrHelp):
		printCommand(e.stdout, c)
		return nil
	case err != nil:
		return &usageError{command: c.name, reason: err.Error()}
	}
	err = fn(ctx, e, operands)
	if u, ok := errors.AsType[*usageError](err); ok && u.command == "" {
		u.command = c.name
	}
	return err
}

func findCommand(name string) *command {
	all := commands()
	i := slices.IndexFunc(all, func(c *command) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

// lookUp finds the command that args begin with, of one word or of two, and
// returns what follows.
func lookUp(name string, rest []string) (*command, []string) {
	if len(rest) > 0 {
		if c := findCommand(name + " " + rest[0]); c != nil {
			return c, rest[1:]
		}
	}
	return findCommand(name), rest
}

// verbs are the second words of the commands that begin with name.
func verbs(name string) []string {
	var all []string
	for _, c := range commands() {
		if verb, ok := strings.CutPrefix(c.name, name+" "); ok {
			all = append(all, verb)
		}
	}
	return all
}

func unknownCommand(name string, rest []string) error {
	all := verbs(name)
	switch {
	case len(all) == 0:
		return &usageError{reason: "unknown command " + quote(name)}
	case len(rest) == 0:
		return &usageError{reason: fmt.Sprintf("%s needs one of %s", name, strings.Join(all, ", "))}
	default:
		return &usageError{reason: fmt.Sprintf("unknown command %s: after %s comes one of %s", quote(name+" "+rest[0]), name, strings.Join(all, ", "))}
	}
}

// newFlagSet returns a set that neither exits nor prints: both are the
// business of run.
func newFlagSet(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs
}

// parseFlags parses flags that may stand before, between and after the
// operands, as people type them. After "--" everything is an operand, so that
// a base64url value may begin with a hyphen.
func parseFlags(fs *flag.FlagSet, args []string) (operands []string, err error) {
	for len(args) > 0 {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		left := fs.Args()
		if read := len(args) - len(left); read > 0 && args[read-1] == "--" {
			return append(operands, left...), nil
		}
		if len(left) == 0 {
			break
		}
		operands = append(operands, left[0])
		args = left[1:]
	}
	return operands, nil
}

// quote writes a word that somebody typed, so that its ends can be seen and
// control characters do not reach a terminal.
func quote(s string) string {
	const most = 80 // runes; a pasted hello must not fill the screen
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(strings.ToValidUTF8(s, "\uFFFD"))
}
