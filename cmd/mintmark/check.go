package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/mintmark/mintmark/internal/config"
)

func checkCommand() *command {
	return &command{
		name:     "check",
		synopsis: "-c FILE [--json]",
		short:    "check a configuration file",
		long: `
Check a configuration file, with the plans that it names, as the balancer
would read it. Nothing is opened and nobody is asked.

Every problem is printed at once, one a line, with its place and what to write
instead:

  mintmark.yaml:14: pools[0].servers[1].address: "10.0.0.1" has no port; write "10.0.0.1:443"

The exit status is 0 when the file is in order, 2 when it has problems. What is
legal and probably not meant is a warning, on standard error too, and does not
change the status.

With --json, one object is printed. Its keys: file; ok; problems and warnings,
both lists of objects with file, line, path, reason and remedy.`,
		examples: []example{
			{"before a reload", "mintmark check -c mintmark.yaml && pkill -HUP mintmark"},
			{"the lines with problems", "mintmark check -c mintmark.yaml --json | jq '.problems[].line'"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			file := fs.String("c", "", "configuration `FILE`")
			asJSON := fs.Bool("json", false, "print one JSON object")
			return func(_ context.Context, e *env, operands []string) error {
				if len(operands) > 0 {
					return usagef("check takes no operands, got %s", quote(operands[0]))
				}
				if *file == "" {
					return usagef("check needs a configuration file: -c FILE")
				}
				return check(e, *file, *asJSON)
			}
		},
	}
}

// checkResult is the JSON contract of `mintmark check --json`.
type checkResult struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Problems []config.Problem `json:"problems"` // never null
	Warnings []config.Problem `json:"warnings"` // never null; empty when there are problems
}

func check(e *env, file string, asJSON bool) error {
	cfg, err := config.Load(file, config.Options{})
	problems, found := errors.AsType[config.Problems](err)
	switch {
	case err != nil && !found:
		return err
	case asJSON:
		return checkJSON(e.stdout, file, cfg, problems)
	case found:
		return refuse(e, file, problems)
	}
	warn(e, cfg.Warnings)
	servers := 0
	for i := range cfg.Pools {
		servers += len(cfg.Pools[i].Servers)
	}
	_, err = fmt.Fprintf(e.stdout, "%s: ok: %s, %s, %s\n", file,
		count(len(cfg.Listeners), "listener"), count(len(cfg.Pools), "pool"), count(servers, "server"))
	return err
}

func checkJSON(w io.Writer, file string, cfg *config.Config, problems config.Problems) error {
	r := checkResult{File: file, OK: len(problems) == 0, Problems: problems, Warnings: []config.Problem{}}
	if r.OK {
		r.Problems = []config.Problem{}
		r.Warnings = append(r.Warnings, cfg.Warnings...)
	}
	if err := writeJSON(w, r); err != nil {
		return err
	}
	if !r.OK {
		return exitError(statusUsage)
	}
	return nil
}

// refuse tells the person all problems of a configuration file, and returns
// the error that ends the program with status 2.
func refuse(e *env, file string, problems config.Problems) error {
	for _, p := range problems {
		fmt.Fprintln(e.stderr, p)
	}
	fmt.Fprintf(e.stderr, "mintmark: error: %s has %s\n", file, count(len(problems), "problem"))
	return exitError(statusUsage)
}

// warn tells the person what is probably not meant.
func warn(e *env, warnings []config.Problem) {
	for _, w := range warnings {
		w.Path = "warning: " + w.Path
		fmt.Fprintln(e.stderr, w)
	}
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
