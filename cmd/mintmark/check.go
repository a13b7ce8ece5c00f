package main

import (
	"context"
	"errors"
	"flag"
)

func checkCommand() *command {
	return &command{
		name:     "check",
		synopsis: "-c FILE [--json]",
		short:    "check a configuration file",
		long:     `Check a configuration file and print every problem at once.`,
		setup: func(fs *flag.FlagSet) runFunc {
			_ = fs.String("c", "", "read the configuration from `FILE`")
			_ = fs.Bool("json", false, "print one JSON object")
			return func(context.Context, *env, []string) error { return errors.ErrUnsupported }
		},
	}
}
