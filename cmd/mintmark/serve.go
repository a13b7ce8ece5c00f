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
		synopsis: "-c FILE [--serve-stale] [--log-format text|json] [--log-level LEVEL]",
		short:    "run the balancer, and the control plane if the file has one",
		long: `
Run the balancer that the configuration file describes, in the foreground,
until SIGTERM or SIGINT.

SIGTERM and SIGINT stop accepting, wait for the connections at most
shutdown_grace, and exit 0; a second one closes what is left at once. SIGHUP
reads the file again: all of it is put into effect, without dropping a
connection, or, when it has problems, nothing is.

With "control:" in the file the pools come from a control plane: one in this
process (listen, store), or one elsewhere (connect). The first start of a
control plane prints the token of the first admin on standard error, once. A
balancer that starts while the control plane is away opens nothing, unless
--serve-stale lets it route by the last snapshot on its disk.

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
			stale := fs.Bool("serve-stale", false, "route by the last snapshot while the control plane is away at the start")
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
				return serve(ctx, e, *file, *stale, log)
			}
		},
	}
}

// serve runs the balancer. A file with problems ends like `mintmark check`:
// all of them on standard error, status 2.
func serve(ctx context.Context, e *env, file string, stale bool, log *slog.Logger) error {
	err := mintmark.Run(ctx, mintmark.Options{
		ConfigFile:   file,
		Logger:       log,
		Version:      readVersion().Version,
		ServeStale:   stale,
		OnAdminToken: func(token, url string) { printAdminToken(e.stderr, token, url) },
	})
	if _, ok := errors.AsType[config.Problems](err); ok {
		fmt.Fprintln(e.stderr, err) // one line a problem, as `mintmark check` writes them
		return exitError(statusUsage)
	}
	return err
}

// printAdminToken shows the first admin's token, which is in no log: logs are
// kept and copied.
func printAdminToken(w io.Writer, token, url string) {
	fmt.Fprintf(w, `
This control plane has started for the first time. Log in as its first admin,
in a browser at

  %s

or in a shell with

  mintmark login %s

by this token, which works once, within a day, and is not shown again:

  %s

`, url, url, token)
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
