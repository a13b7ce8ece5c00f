package metrics_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/mintmark/mintmark/internal/metrics"
)

// anyStripe is more than there can be: numbers beyond wrap around.
const anyStripe = 1000

// TestStripesAddUp counts from many goroutines, in stripes of all numbers.
func TestStripesAddUp(t *testing.T) {
	t.Parallel()
	l := metrics.New("").Listener("front")
	const goroutines, times = 8, 1000
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range times {
				s := metrics.Stripe(rand.N(anyStripe))
				l.Accepted.Inc(s)
				l.BytesIn.Add(s, 3)
				l.HelloBytes.Observe(s, 300)
				l.HelloBytes.Observe(metrics.Stripe(rand.N(anyStripe)), 1e6)
				l.Active.Add(s, 2)
				l.Active.Add(metrics.Stripe(rand.N(anyStripe)), -1)
			}
		})
	}
	wg.Wait()
	const n = goroutines * times
	if got := l.Accepted.Value(); got != n {
		t.Errorf("a counter: got %d; want %d", got, n)
	}
	if got := l.BytesIn.Value(); got != 3*n {
		t.Errorf("a counter of more than one at a time: got %d; want %d", got, 3*n)
	}
	if got := l.Active.Load(); got != n {
		t.Errorf("a gauge: got %d; want %d", got, n)
	}
	h := written(t, l.HelloBytes).GetHistogram()
	if got, want := h.GetSampleSum(), n*(300+1e6); h.GetSampleCount() != 2*n || got != want {
		t.Errorf("a histogram: got %d observations of %v in all; want %d of %v", h.GetSampleCount(), got, 2*n, want)
	}
}

// TestStripesLookLikePrometheus compares what a scrape sees of a histogram with
// one of the Prometheus library.
func TestStripesLookLikePrometheus(t *testing.T) {
	t.Parallel()
	bounds := []float64{256, 512, 1024, 1460, 2048, 4096, 8192, 16384, 65536} // of hello_bytes
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "h", Buckets: bounds, ConstLabels: prometheus.Labels{"listener": "front"},
	})
	ours := metrics.New("").Listener("front").HelloBytes
	for _, b := range append(bounds, 0, 1e9) {
		for _, v := range []float64{b - 1, b, b + 1} {
			theirs.Observe(v)
			ours.Observe(metrics.Stripe(rand.N(anyStripe)), v)
		}
	}
	want, got := written(t, theirs), written(t, ours)
	ignore := protocmp.IgnoreFields(&dto.Histogram{}, "created_timestamp")
	if d := cmp.Diff(want, got, protocmp.Transform(), ignore); d != "" {
		t.Errorf("a scrape (-theirs +ours):\n%s", d)
	}
	if got.GetHistogram().GetCreatedTimestamp() == nil {
		t.Error("a scrape does not say when counting began")
	}
}

func written(t *testing.T, m prometheus.Metric) *dto.Metric {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// BenchmarkLoops counts connections on all processors at once, each in a
// stripe of its own and all in one.
func BenchmarkLoops(b *testing.B) {
	for name, apart := range map[string]metrics.Stripe{"striped": 1, "shared": 0} {
		b.Run(name, func(b *testing.B) {
			l := metrics.New("").Listener("front")
			var mu sync.Mutex
			var next metrics.Stripe
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				mu.Lock()
				next += apart
				s := next
				mu.Unlock()
				for pb.Next() {
					l.Accepted.Inc(s)
					l.HelloSeconds.Observe(s, .002)
					l.HelloBytes.Observe(s, 700)
					l.BytesIn.Add(s, 700)
					l.BytesOut.Add(s, 4000)
					l.Ended(s, "done")
				}
			})
		})
	}
}
