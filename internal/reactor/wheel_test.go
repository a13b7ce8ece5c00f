package reactor

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestWheelAgainstModel sets, stops and lets expire at random, and compares
// with a map: each timer expires once, never early, and no later than the
// first look after its tick.
func TestWheelAgainstModel(t *testing.T) {
	t.Parallel()
	const timers = 200
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var w wheel
		w.grow(timers - 1)
		due := map[uint32]int64{}
		now := int64(r.Uint64() % (1 << 50)) // the loop may have run for long
		w.now = now / tick
		for range 2000 {
			switch n := r.Uint32N(timers); r.IntN(4) {
			case 0, 1:
				ahead := time.Duration(1) << r.IntN(58)
				due[n] = now + r.Int64N(int64(ahead))
				w.set(n, due[n])
			case 2:
				delete(due, n)
				w.stop(n)
			default:
				step := int64(1) << r.IntN(52)
				if next := w.next(); next >= 0 && r.IntN(2) == 0 {
					step = max(next-now, 1)
				}
				now += step
				for n, ok := w.expired(now); ok; n, ok = w.expired(now) {
					if at, set := due[n]; !set || at > now {
						t.Fatalf("seed %d: timer %d expired at %d; it is set: %v, for %d", seed, n, now, set, at)
					}
					delete(due, n)
				}
			}
			next := w.next()
			for n, at := range due {
				if at+2*tick <= now {
					t.Fatalf("seed %d: timer %d for %d has not expired at %d", seed, n, at, now)
				}
				if next < 0 || next > at+2*tick {
					t.Fatalf("seed %d: the next look is at %d, and timer %d is for %d", seed, next, n, at)
				}
			}
			if w.pending != len(due) {
				t.Fatalf("seed %d: %d timers pending; want %d", seed, w.pending, len(due))
			}
		}
	}
}

// TestWheelRests holds that timers far ahead do not make the loop look often.
func TestWheelRests(t *testing.T) {
	t.Parallel()
	var w wheel
	w.grow(0)
	w.set(0, int64(10*time.Minute))
	looks := 0
	for at := w.next(); ; at = w.next() {
		looks++
		if _, ok := w.expired(at); ok {
			break
		}
	}
	if looks > wheels {
		t.Errorf("%d looks until a timer of ten minutes; want one a wheel", looks)
	}
}

func BenchmarkWheel(b *testing.B) {
	var w wheel
	const timers = 100_000
	w.grow(timers)
	for n := range uint32(timers) {
		w.set(n, int64(10*time.Minute)+int64(n))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.set(uint32(i%timers), int64(i)+int64(5*time.Second))
	}
}
