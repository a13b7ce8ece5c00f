// Command peers runs Mintmark side by side with HAProxy and nginx and tells
// what each needs for the same work. bench/README.md says how to read it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mintmark/mintmark/bench/internal/proxy"
	"github.com/mintmark/mintmark/bench/internal/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "peers: error:", err)
		}
		os.Exit(1)
	}
}

const (
	// limit bounds the whole program.
	limit = 30 * time.Minute
	// quickly is by how much QUICK divides the number of operations.
	quickly = 5
	// garbage makes this program collect its own less often: what it does with
	// the processor is in the way of the proxies.
	garbage = 400
)

// A bench is the program with its options.
type bench struct {
	env    proxy.Env
	rounds int
	quick  bool
	log    io.Writer // where it says what it does
}

// ops returns how many operations a run of a workload has.
func (b *bench) ops(w *workload) int {
	if b.quick && w.measure != report.Memory {
		return w.ops / quickly
	}
	return w.ops
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("peers", flag.ContinueOnError)
	flags.SetOutput(stderr)
	b := bench{log: stderr}
	names := flags.String("workload", "", "the workloads, separated by commas (default: all)")
	peers := flags.String("peers", "", "the peers, separated by commas; the first is compared with the others (default: as the workload has it)")
	flags.IntVar(&b.rounds, "rounds", 5, "how often each peer runs")
	flags.BoolVar(&b.quick, "quick", false, "a fifth of the operations, to see that it works")
	flags.StringVar(&b.env.Mintmark, "mintmark", "", "the mintmark to run (default: build this tree's)")
	flags.StringVar(&b.env.Baseline, "baseline", "", "another mintmark, for the peer \"baseline\"")
	out := flags.String("out", "", "the directory for the results as JSON, Markdown and charts (default: only print)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, grow, err := choose(*names, *peers)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("all of it took more than %v", limit))
	defer cancel()
	debug.SetGCPercent(garbage)
	if b.env.Dir, err = os.MkdirTemp("", "mintmark-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.env.Dir)
	if b.env.Mintmark == "" {
		if b.env.Mintmark, err = build(ctx, b.env.Dir); err != nil {
			return err
		}
	}
	result := report.Result{Machine: machine(ctx, b.env.Mintmark), Quick: b.quick}
	for i := range chosen {
		w, err := b.measure(ctx, &chosen[i])
		if err != nil {
			return err
		}
		w.Summary(stdout)
		result.Workloads = append(result.Workloads, w)
	}
	if grow {
		if result.Growth, err = b.growth(ctx); err != nil {
			return err
		}
		summary(stdout, result.Growth)
	}
	if *out == "" {
		return nil
	}
	return result.Write(*out)
}

// choose returns the workloads with these names, with these peers, and whether
// growth is among them; of an empty list, all.
func choose(names, peers string) (chosen []workload, grow bool, err error) {
	all := workloads()
	known := []string{growthName}
	for _, w := range all {
		known = append(known, w.name)
	}
	if names == "" {
		chosen, grow = all, true
	} else {
		for name := range strings.SplitSeq(names, ",") {
			switch i := slices.Index(known, name); i {
			case -1:
				return nil, false, fmt.Errorf("there is no workload %q; there are %s", name, strings.Join(known, ", "))
			case 0:
				grow = true
			default:
				chosen = append(chosen, all[i-1])
			}
		}
	}
	if peers == "" {
		return chosen, grow, nil
	}
	var list []proxy.Peer
	for name := range strings.SplitSeq(peers, ",") {
		if !slices.Contains(proxy.Peers(), proxy.Peer(name)) {
			return nil, false, fmt.Errorf("there is no peer %q; there are %v", name, proxy.Peers())
		}
		list = append(list, proxy.Peer(name))
	}
	for i := range chosen {
		chosen[i].peers = list
	}
	return chosen, grow, nil
}

// build builds this tree's mintmark.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "mintmark")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "github.com/mintmark/mintmark/cmd/mintmark")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building mintmark: %w\n%s", err, out)
	}
	return binary, nil
}
