// Package mintmark runs the balancer inside a Go program. It is for programs
// that bring a function of their own from session ID to server; everybody
// else runs the command of the same name.
//
// A program names its functions, the configuration file uses the names:
//
//	pools:
//	  - name: shop
//	    scheme: {kind: function, name: customers}
//	    servers:
//	      - {name: a, address: 10.0.0.1:443, number: 1}
//
// See examples/function for a whole program.
package mintmark

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/daemon"
)

// Options say what Run runs.
type Options struct {
	// ConfigFile is the path of the configuration file. It is read again at
	// each SIGHUP.
	ConfigFile string
	// Functions are the program's functions, by the name that the file uses.
	// Their Lookup runs for every ID that the balancer sees, from several
	// goroutines at once.
	Functions map[string]idspace.Function
	// Logger receives what happens. nil discards it.
	Logger *slog.Logger
	// Version is the value of the version label of mintmark_build_info.
	Version string
	// ServeStale lets a balancer that starts while its control plane is away
	// route by the last snapshot that it has. It is not ready before the
	// control plane has answered once.
	ServeStale bool
	// OnAdminToken, when set, is given the token of the first admin when a
	// control plane in this process starts for the first time, and its URL.
	OnAdminToken func(token, url string)
	// OnReady, when set, is called once when every socket is open and each
	// server has been asked for its health, with the admin address, which is
	// "" when the file has none.
	OnReady func(adminAddress string)
}

// Run runs a balancer until ctx ends or the process receives SIGTERM or
// SIGINT, then drains it for at most the file's shutdown_grace and returns
// nil. A second signal ends the drain at once. SIGHUP reloads the file, all or
// nothing; the last good configuration stays when the new one has problems.
//
// The error of a file with problems names all of them. Run takes the process's
// signals SIGTERM, SIGINT and SIGHUP while it runs, and the sockets that
// systemd passed; so a process should run one balancer at a time.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	abort := make(chan struct{})
	d := daemon.New(daemon.Config{
		Path:      o.ConfigFile,
		Functions: o.Functions,
		Logger:    o.Logger,
		Version:   o.Version,
		Abort:     abort,
		OnReady:   o.OnReady,

		ServeStale:   o.ServeStale,
		OnAdminToken: o.OnAdminToken,
	})
	signals := make(chan os.Signal, 4) // a burst: more than this says nothing new
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	ended := make(chan struct{})
	handled := make(chan struct{})
	go func() {
		defer close(handled)
		handleSignals(ctx, d, signals, ended, cancel, abort)
	}()
	err := d.Run(ctx)
	close(ended)
	<-handled
	return err
}

// handleSignals acts on signals until ended is closed.
func handleSignals(ctx context.Context, d *daemon.Daemon, signals <-chan os.Signal, ended <-chan struct{},
	stop context.CancelCauseFunc, abort chan<- struct{},
) {
	stops := 0
	for {
		select {
		case <-ended:
			return
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				_ = d.Reload(ctx) // Reload logs and counts its errors
			case stops == 0:
				stops++
				stop(fmt.Errorf("received %v", s))
			case stops == 1:
				stops++
				close(abort)
			}
		}
	}
}
