package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/config"
)

func serveCommand() *command {
	return &command{
		name:     "serve",
		synopsis: "-c FILE [--log-format text|json] [--log-level LEVEL]",
		short:    "run the balancer",
		long: `
Run the balancer that the configuration file describes, in the foreground,
until SIGTERM or SIGINT.

SIGTERM and SIGINT stop accepting, wait for the connections at most
shutdown_grace, and exit 0; a second one closes what is left at once. SIGHUP
reads the file again: all of it is put into effect, without dropping a
connection, or, when it has problems, nothing is.

The log goes to standard error. Under systemd, use Type=notify-reload; sockets
that systemd passes are used for the listeners bound to the same address or
named by FileDescriptorName=.`,
		examples: []example{
			{"run in the foreground", "mintmark serve -c /etc/mintmark/mintmark.yaml"},
			{"check first, then have a running balancer take the new file", "mintmark check -c mintmark.yaml && pkill -HUP mintmark"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			file := fs.String("c", "", "configuration `FILE`")
			format := fs.String("log-format", "text", "`FORMAT` of the log: text or json")
			level := fs.String("log-level", "info", "least `LEVEL` that is logged: debug, info, warn or error")
			return func(ctx context.Context, e *env, operands []string) error {
				if len(operands) > 0 {
					return usagef("serve takes no operands, got %s", quote(operands[0]))
				}
				if *file == "" {
					return usagef("serve needs a configuration file: -c FILE")
				}
				log, err := newLogger(e.stderr, *format, *level)
				if err != nil {
					return err
				}
				return serve(ctx, e, *file, log)
			}
		},
	}
}

// serve runs the balancer. A file with problems ends like `mintmark check`:
// all of them on standard error, status 2.
func serve(ctx context.Context, e *env, file string, log *slog.Logger) error {
	err := mintmark.Run(ctx, mintmark.Options{
		ConfigFile: file,
		Logger:     log,
		Version:    readVersion().Version,
	})
	if _, ok := errors.AsType[config.Problems](err); ok {
		fmt.Fprintln(e.stderr, err) // one line a problem, as `mintmark check` writes them
		return exitError(statusUsage)
	}
	return err
}

// newLogger returns the logger that the flags ask for.
func newLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("unknown log level %s: write debug, info, warn or error", quote(level))
	}
	o := &slog.HandlerOptions{Level: least}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, usagef("unknown log format %s: write text or json", quote(format))
}
