package main

import (
	"context"
	"errors"
	"flag"
)

func explainCommand() *command {
	return &command{
		name:     "explain",
		synopsis: "-c FILE --listener L [--field F] VALUE|@FILE|- [--json]",
		short:    "say where an ID or a captured hello would go, and why",
		long:     `Say where an ID or a captured hello would go, and why.`,
		setup: func(fs *flag.FlagSet) runFunc {
			_ = fs.String("c", "", "read the configuration from `FILE`")
			return func(context.Context, *env, []string) error { return errors.ErrUnsupported }
		},
	}
}
