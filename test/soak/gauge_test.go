//go:build soak

package soak

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// A reading is what the balancer holds at a moment.
type reading struct {
	sockets, pipes, files float64 // descriptors
	goroutines            float64
	heap, resident        float64 // bytes
}

func (r reading) String() string {
	const mib = 1 << 20
	return fmt.Sprintf("%v sockets, %v ends of pipes, %v other descriptors, %v goroutines, heap %.1f MiB, resident %.1f MiB",
		r.sockets, r.pipes, r.files, r.goroutines, r.heap/mib, r.resident/mib)
}

// read reads what the balancer holds.
func (m *mix) read(t *testing.T) reading {
	t.Helper()
	page := m.balancer.Metrics()
	r := reading{
		goroutines: page.Sum("go_goroutines", nil),
		heap:       page.Sum("go_memstats_heap_alloc_bytes", nil),
		resident:   page.Sum("process_resident_memory_bytes", nil),
	}
	dir := fmt.Sprintf("/proc/%d/fd", m.balancer.PID())
	open, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range open {
		what, err := os.Readlink(filepath.Join(dir, f.Name()))
		switch {
		case err != nil: // closed meanwhile
		case strings.HasPrefix(what, "socket:"):
			r.sockets++
		case strings.HasPrefix(what, "pipe:"):
			r.pipes++
		default:
			r.files++
		}
	}
	return r
}

// atRest waits until there are no connections, and the garbage of those that
// were is collected, and reads what the balancer holds.
func (m *mix) atRest(t *testing.T) reading {
	t.Helper()
	lab.Eventually(t, settleLimit, "no connection is in progress", func() bool {
		return m.balancer.Metrics().Sum("mintmark_connections_active", nil) == 0
	})
	for _, o := range m.origins {
		lab.Eventually(t, settleLimit, o.name+" has no connection", func() bool { return o.open() == 0 })
	}
	for _, p := range m.pages {
		lab.Eventually(t, settleLimit, p.name+" has no connection", func() bool { return p.open.Load() == 0 })
	}
	// Buffers that are kept for later survive the first collection.
	for range 3 {
		const collected = "go_memstats_last_gc_time_seconds"
		before := m.balancer.Metrics().Sum(collected, nil)
		lab.Eventually(t, settleLimit, "garbage is collected", func() bool {
			return m.balancer.Metrics().Sum(collected, nil) != before
		})
	}
	return m.read(t)
}

// A gauge has readings under load, in the order of time.
type gauge []reading

// sampleEvery is how often a gauge reads, and every how many of them something
// is disturbed.
const (
	sampleEvery  = 500 * time.Millisecond
	disturbEvery = 4
)

// watch reads, and disturbs, until ctx ends.
func (m *mix) watch(ctx context.Context, t *testing.T, d *disturber) gauge {
	t.Helper()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	var g gauge
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return g
		case <-tick.C:
		}
		g = append(g, m.read(t))
		if i%disturbEvery == 0 {
			d.do(t)
		}
	}
}

// A quantity is one thing that a reading has, and how much more of it there
// may be.
type quantity struct {
	name  string
	of    func(reading) float64
	grown float64 // how much more under load, whole
	part  float64 // and as a part of what there was
	kept  float64 // how much more at rest; 0: it is not looked at
}

// keptPipes is how many ends of pipes a balancer may keep for later: for each
// of the three listeners that much goes through, as many pipes as were in use
// at once, one for each direction of a transfer, and as many large ones as
// internal/l4 has at all (maxLargePipes).
const keptPipes = 2 * 3 * (2*transfers + 16)

func quantities() []quantity {
	const mib = 1 << 20
	return []quantity{
		// A refused client has a second to take its alert, and a broken
		// connection to send what was written: of these there are some.
		{"sockets", func(r reading) float64 { return r.sockets }, 24, 0, 2},
		// As many pipes are kept as were ever needed at once: by chance more.
		{"ends of pipes", func(r reading) float64 { return r.pipes }, 2 * transfers, 0.25, keptPipes},
		{"other descriptors", func(r reading) float64 { return r.files }, 2, 0, 1},
		// On the portable engine those of connections that begin and end.
		{"goroutines", func(r reading) float64 { return r.goroutines }, 48, 0, 4},
		{"bytes of heap", func(r reading) float64 { return r.heap }, 6 * mib, 0.1, 4 * mib},
		// Memory goes back to the kernel late: only growth says something.
		{"resident bytes", func(r reading) float64 { return r.resident }, 8 * mib, 0.1, 0},
	}
}

// parts is into how many parts of the same length the time is cut. The first
// is for warming up.
const parts = 5

// ends returns the most of each quantity in the second part of the time, and
// in the last.
func (g gauge) ends(t *testing.T) (early, late reading) {
	t.Helper()
	n := len(g) / parts
	if n == 0 {
		t.Fatalf("%d readings are too few", len(g))
	}
	return most(g[n : 2*n]), most(g[len(g)-n:])
}

func most(in []reading) reading {
	var r reading
	for _, s := range in {
		r.sockets, r.pipes, r.files = max(r.sockets, s.sockets), max(r.pipes, s.pipes), max(r.files, s.files)
		r.goroutines, r.heap, r.resident = max(r.goroutines, s.goroutines), max(r.heap, s.heap), max(r.resident, s.resident)
	}
	return r
}

// wantNoGrowth compares what was there early and late, under the same load.
func wantNoGrowth(t *testing.T, early, late reading) {
	t.Helper()
	for _, q := range quantities() {
		if was, is := q.of(early), q.of(late); is > was+q.grown+was*q.part {
			t.Errorf("%s under load: from at most %.0f in the second fifth of the time to %.0f in the last", q.name, was, is)
		}
	}
}

// wantBack compares what is there without a client before the load and after.
func wantBack(t *testing.T, before, after reading) {
	t.Helper()
	for _, q := range quantities() {
		if was, is := q.of(before), q.of(after); q.kept > 0 && is > was+q.kept {
			t.Errorf("%s at rest: %.0f before the load and %.0f after it", q.name, was, is)
		}
	}
}
