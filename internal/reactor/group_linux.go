package reactor

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// A Group is a set of loops among which work is spread.
type Group struct {
	loops []*Loop
	next  atomic.Uint32
}

// New returns a Group of n loops, or one for each processor when n is 0. They
// stand still before Run.
func New(n int) (*Group, error) {
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	g := &Group{}
	for range n {
		l, err := newLoop()
		if err != nil {
			g.Close()
			return nil, err
		}
		g.loops = append(g.loops, l)
	}
	return g, nil
}

// Loops returns the loops.
func (g *Group) Loops() []*Loop { return g.loops }

// Next returns the numbers of the loops in turn.
func (g *Group) Next() int { return int(g.next.Add(1) % uint32(len(g.loops))) }

// Run runs the loops until ctx ends, and returns nil then. It may be called
// once. Whoever has handlers registered ends them before: what is posted later
// is not called.
//
// While it runs, the Go scheduler has a processor more for each loop. A loop
// keeps one even while it waits for events; were there no idle one beside,
// the runtime would take it away and give it back thousands of times a second,
// and a busy loop would keep other goroutines waiting.
func (g *Group) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + len(g.loops))
	defer func() { runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) - len(g.loops)) }()
	errs := make([]error, len(g.loops))
	var wg sync.WaitGroup
	for i, l := range g.loops {
		stopped := false
		wg.Go(func() {
			errs[i] = l.run(&stopped)
			cancel() // the others too
		})
		wg.Go(func() {
			<-ctx.Done()
			l.Post(func() { stopped = true })
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close gives back the descriptors of a Group that does not run (any more).
func (g *Group) Close() {
	for _, l := range g.loops {
		l.close()
	}
}
