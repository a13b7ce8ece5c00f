package sealed

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// lookups are the shapes that cost differently: a mark of the first and of the
// last generation, something that is no mark, and both forms.
func lookups(t testing.TB, generations int) map[string]func() bool {
	gs := testGenerations(t, generations)
	s := mustSet(t, gs...)
	mark := func(g Generation) *Encoder {
		e, err := NewEncoder(g.Key, 7)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	first, last := mark(gs[0]), mark(gs[generations-1])
	firstRaw, lastRaw, lastText := first.AppendRaw(nil), last.AppendRaw(nil), last.AppendText(nil)
	no, noText := []byte("0123456789abcdef0123456789abcdef"), []byte("0123456789abcdef01234-not-one")
	return map[string]func() bool{
		"raw/first": func() bool { _, _, ok := s.Lookup(firstRaw); return ok },
		"raw/last":  func() bool { _, _, ok := s.Lookup(lastRaw); return ok },
		"raw/none":  func() bool { _, _, ok := s.Lookup(no); return !ok },
		"text/last": func() bool { _, _, ok := s.LookupText(lastText); return ok },
		"text/none": func() bool { _, _, ok := s.LookupText(noText); return !ok },
	}
}

// BenchmarkSetLookup must show at most 40 ns a generation.
func BenchmarkSetLookup(b *testing.B) {
	const limit = 40.0
	for _, n := range []int{1, 2, MaxGenerations} {
		for name, look := range lookups(b, n) {
			b.Run(fmt.Sprintf("generations=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if !look() {
						b.Fatal("wrong answer")
					}
				}
				per := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(n)
				b.ReportMetric(per, "ns/generation")
				if fastest := fastestOf(func() { look() }) / float64(n); fastest > limit {
					b.Errorf("%.0f ns a generation; want at most %.0f", fastest, limit)
				}
			})
		}
	}
}

// fastestOf returns how long f takes, in ns: the fastest of many short runs,
// because whatever else the machine does only makes it slower.
func fastestOf(f func()) float64 {
	const runs, calls = 500, 500
	fastest := time.Duration(math.MaxInt64)
	for range runs {
		start := time.Now()
		for range calls {
			f()
		}
		fastest = min(fastest, time.Since(start))
	}
	return float64(fastest.Nanoseconds()) / calls
}

func TestLookupDoesNotAllocate(t *testing.T) {
	for name, look := range lookups(t, MaxGenerations) {
		// The collector may empty the pool in between, so an average below one
		// is none.
		if got := testing.AllocsPerRun(1000, func() {
			if !look() {
				t.Fatal("wrong answer")
			}
		}); got >= 1 {
			t.Errorf("%s: %v allocations a lookup; want 0", name, got)
		}
	}
}

func TestEncoderDoesNotAllocate(t *testing.T) {
	e, err := NewEncoder(mustKey(t, testKey), 7)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, TextSize)
	for form, appendTo := range map[string]func([]byte) []byte{"raw": e.AppendRaw, "text": e.AppendText} {
		if got := testing.AllocsPerRun(100, func() { appendTo(buf) }); got != 0 {
			t.Errorf("%s: %v allocations a mark; want 0", form, got)
		}
	}
}

func BenchmarkEncoder(b *testing.B) {
	e, err := NewEncoder(NewKey(), 7)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, TextSize)
	b.Run("raw", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.AppendRaw(buf)
		}
	})
	b.Run("text", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.AppendText(buf)
		}
	})
}
