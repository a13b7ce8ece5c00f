package metrics

// Hot file: every connection counts here, on whichever processor its loop
// runs. Budget: a few atomic additions, no allocation but the first time.

import (
	"math"
	"math/bits"
	"runtime"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// maxStripes bounds the memory of a series on machines of many processors.
const maxStripes = 64

// cacheLine is the unit in which processors take memory from each other, in
// bytes. Where it is larger, stripes share one, and counting is only slower.
const cacheLine = 64

// stripes is how many stripes a metric has: a power of two, at least the
// number of processors.
var stripes = 1 << bits.Len(uint(min(runtime.GOMAXPROCS(0), maxStripes)-1)) //nolint:gochecknoglobals // never written

// A Stripe names the part of a striped metric that a loop counts in. Loops
// that count in parts of their own do not take each other's memory away, which
// costs a connection more than the counting itself. Any value will do; which
// one changes nothing of what a scrape shows.
type Stripe uint32

func (s Stripe) of(n int) int { return int(s) & (n - 1) }

// A sum is a striped number, modulo 2^64.
type sum []sumCell

type sumCell struct {
	n atomic.Uint64
	_ [cacheLine - 8]byte
}

func newSum() sum { return make(sum, stripes) }

func (c sum) add(s Stripe, n uint64) { c[s.of(len(c))].n.Add(n) }

func (c sum) load() uint64 {
	var n uint64
	for i := range c {
		n += c[i].n.Load()
	}
	return n
}

// A Counter is a number that only grows. It is safe for concurrent use.
type Counter struct {
	series
	sum sum
}

func newCounter(s series) *Counter { return &Counter{series: s, sum: newSum()} }

// Inc adds one.
func (c *Counter) Inc(s Stripe) { c.Add(s, 1) }

// Add adds n.
func (c *Counter) Add(s Stripe, n uint64) { c.sum.add(s, n) }

// Value returns the sum of what was added.
func (c *Counter) Value() uint64 { return c.sum.load() }

// Write implements prometheus.Metric.
func (c *Counter) Write(m *dto.Metric) error {
	v := float64(c.Value())
	m.Label = c.labels
	m.Counter = &dto.Counter{Value: &v, CreatedTimestamp: c.created}
	return nil
}

// A Gauge is a number that rises and falls. It is safe for concurrent use. Who
// adds and then loads sees what everybody has added before.
type Gauge struct{ sum sum }

func newGauge() *Gauge { return &Gauge{newSum()} }

// Add adds n, which may be negative. What was added in one stripe may be taken
// away in another.
func (g *Gauge) Add(s Stripe, n int64) { g.sum.add(s, uint64(n)) }

// Load returns the sum of what was added.
func (g *Gauge) Load() int64 { return int64(g.sum.load()) }

// maxBounds is how many buckets a Histogram may have beside that for all that
// is larger.
const maxBounds = 12

// A Histogram is a distribution of values. It is safe for concurrent use. A
// scrape may see the count of an observation that is under way, and not yet
// its part of the sum.
type Histogram struct {
	series
	bounds []float64
	// Made when they are first needed: there is a Histogram for each server,
	// and of many servers few are seen by every loop.
	cells []atomic.Pointer[histogramCell]
}

type histogramCell struct {
	sum    atomic.Uint64                // the bits of a float64
	counts [maxBounds + 1]atomic.Uint64 // by bucket, not added up
	_      [cacheLine - (maxBounds+2)*8%cacheLine]byte
}

func newHistogram(s series, bounds []float64) *Histogram {
	if len(bounds) > maxBounds {
		panic("metrics: internal error: too many buckets: " + s.desc.String())
	}
	return &Histogram{series: s, bounds: bounds, cells: make([]atomic.Pointer[histogramCell], stripes)}
}

// Observe adds a value.
func (h *Histogram) Observe(s Stripe, v float64) {
	slot := &h.cells[s.of(len(h.cells))]
	cell := slot.Load()
	if cell == nil {
		slot.CompareAndSwap(nil, new(histogramCell)) // alloc: one a stripe
		cell = slot.Load()
	}
	bucket := 0
	for bucket < len(h.bounds) && v > h.bounds[bucket] {
		bucket++
	}
	cell.counts[bucket].Add(1)
	for {
		sum := cell.sum.Load()
		if cell.sum.CompareAndSwap(sum, math.Float64bits(math.Float64frombits(sum)+v)) {
			return
		}
	}
}

// Write implements prometheus.Metric.
func (h *Histogram) Write(m *dto.Metric) error {
	var sum float64
	var counts [maxBounds + 1]uint64
	for i := range h.cells {
		cell := h.cells[i].Load()
		if cell == nil {
			continue
		}
		sum += math.Float64frombits(cell.sum.Load())
		for b := range counts {
			counts[b] += cell.counts[b].Load()
		}
	}
	var total uint64
	buckets := make([]*dto.Bucket, len(h.bounds))
	for b := range h.bounds {
		total += counts[b]
		upTo := total
		buckets[b] = &dto.Bucket{CumulativeCount: &upTo, UpperBound: &h.bounds[b]}
	}
	total += counts[len(h.bounds)]
	m.Label = h.labels
	m.Histogram = &dto.Histogram{SampleCount: &total, SampleSum: &sum, Bucket: buckets, CreatedTimestamp: h.created}
	return nil
}

// A series is what a striped metric is called.
type series struct {
	desc    *prometheus.Desc
	labels  []*dto.LabelPair
	created *timestamppb.Timestamp
}

// Desc implements prometheus.Metric.
func (s *series) Desc() *prometheus.Desc { return s.desc }

// A stripedVec is a metric with labels, of which each series is an M: a
// prometheus.CounterVec or HistogramVec of striped ones.
type stripedVec[M prometheus.Metric] struct{ *prometheus.MetricVec }

func newStripedVec[M prometheus.Metric](name, help string, labels []string, make func(series) M) stripedVec[M] {
	desc := prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	return stripedVec[M]{prometheus.NewMetricVec(desc, func(values ...string) prometheus.Metric {
		return make(series{desc, prometheus.MakeLabelPairs(desc, values), timestamppb.Now()})
	})}
}

// with returns the series of these labels, a new one if there is none.
func (v stripedVec[M]) with(labels ...string) M {
	m, err := v.GetMetricWithLabelValues(labels...)
	if err != nil {
		panic("metrics: internal error: " + err.Error()) // another number of labels than the vector was made with
	}
	return m.(M)
}
