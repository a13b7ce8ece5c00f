package load

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// opLimit bounds one operation. Nothing on loopback takes as long, unless
	// it hangs.
	opLimit = 20 * time.Second
	// lateAfter is when an operation of a phase with a rate counts as late:
	// the workers could not keep up, or this program did not get the
	// processor.
	lateAfter = 10 * time.Millisecond
)

// A Kind is one sort of traffic.
type Kind interface {
	// Serve starts the servers.
	Serve(ctx context.Context) (*Servers, error)
	// Open makes clients that reach the servers through addr.
	Open(ctx context.Context, addr string) (Client, error)
}

// Servers are what clients reach through a proxy.
type Servers struct {
	Addrs []string
	// Marks are what the IDs that they mint begin with, in the same order.
	Marks []string
	// Stop ends them.
	Stop func()
	// CPU returns the processor time that they have used; it is nil for servers
	// in this program.
	CPU func() (time.Duration, error)
}

// A Client is one or more clients, made ready to work.
type Client interface {
	Run(ctx context.Context, phase Phase) (Sample, error)
	Close()
}

// A Phase says how much to do, and how fast.
type Phase struct {
	Ops int
	// Rate is in operations per second; 0 is as fast as the workers can.
	Rate float64
}

// A Sample is what came of a phase.
type Sample struct {
	Ops     int
	Elapsed time.Duration
	// Latencies are in ascending order: of each operation, from when it was
	// begun.
	Latencies []time.Duration
	// Late is how many operations began later than the rate asked for.
	Late int
	// Lost is how many more operations had no effect, where that is no fault.
	Lost int
	// Resumed is how many handshakes resumed a session.
	Resumed int
}

// drive has a number of workers do a phase's operations. do is called with the
// worker's number; the first fault ends all.
func drive(ctx context.Context, phase Phase, workers int, do func(ctx context.Context, worker int) error) (Sample, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, late atomic.Int64
	latencies := make([][]time.Duration, workers)
	began := time.Now()
	work := func(w int) error {
		for ctx.Err() == nil {
			i := next.Add(1) - 1
			if i >= int64(phase.Ops) {
				return nil
			}
			if phase.Rate > 0 {
				due := began.Add(time.Duration(float64(i) / phase.Rate * float64(time.Second)))
				time.Sleep(time.Until(due))
				if time.Since(due) > lateAfter {
					late.Add(1)
				}
			}
			start := time.Now()
			if err := do(ctx, w); err != nil {
				return err
			}
			latencies[w] = append(latencies[w], time.Since(start))
		}
		return context.Cause(ctx)
	}
	var group sync.WaitGroup
	for w := range workers {
		latencies[w] = make([]time.Duration, 0, phase.Ops/workers*2)
		group.Go(func() {
			if err := work(w); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	elapsed := time.Since(began)
	if err := context.Cause(ctx); err != nil {
		return Sample{}, fmt.Errorf("putting load on the proxy: %w", err)
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	return Sample{Ops: len(all), Elapsed: elapsed, Latencies: all, Late: int(late.Load())}, nil
}
