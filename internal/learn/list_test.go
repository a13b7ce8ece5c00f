package learn

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

var _ route.LearnedList = (*List)(nil)

// clock is a clock that tests turn by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func id(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 24, 32), n) }

func TestListExpires(t *testing.T) {
	t.Parallel()
	c := &clock{time.Unix(1_700_000_000, 0)}
	l := New(Config{MaxEntries: 100, Lifetime: time.Hour, Now: c.now})
	l.Learn(idspace.FieldSessionID, id(1), "a")
	c.t = c.t.Add(59 * time.Minute)
	if s, ok := l.Server(idspace.FieldSessionID, id(1)); !ok || s != "a" {
		t.Errorf("before the end of its lifetime: got %q, %t; want a", s, ok)
	}
	l.Learn(idspace.FieldSessionID, id(1), "b") // assigned again, by another
	c.t = c.t.Add(59 * time.Minute)
	if s, ok := l.Server(idspace.FieldSessionID, id(1)); !ok || s != "b" {
		t.Errorf("after it was assigned again: got %q, %t; want b", s, ok)
	}
	c.t = c.t.Add(2 * time.Minute)
	if s, ok := l.Server(idspace.FieldSessionID, id(1)); ok {
		t.Errorf("after its lifetime: got %q; want nothing", s)
	}
	if n := l.Len(); n != 0 {
		t.Errorf("Len is %d; want 0", n)
	}
}

func TestListTellsFieldsApart(t *testing.T) {
	t.Parallel()
	l := New(Config{MaxEntries: 100, Lifetime: time.Hour})
	l.Learn(idspace.FieldCookie, id(1), "a")
	if s, ok := l.Server(idspace.FieldTicket, id(1)); ok {
		t.Errorf("a cookie was found as a ticket, of %q", s)
	}
}

// The list agrees with a map of the same entries, but for those that were
// evicted: it may forget, it may never name another server.
func TestListAgainstMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := &clock{time.Unix(1_700_000_000, 0)}
		size := rapid.IntRange(1, 64).Draw(t, "size")
		l := New(Config{MaxEntries: size, Lifetime: 10 * time.Second, Now: c.now})
		type known struct {
			server route.ServerName
			until  time.Time
		}
		twin := make(map[uint64]known)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			n := rapid.Uint64Range(0, 200).Draw(t, "id")
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				s := route.ServerName(fmt.Sprint("s", rapid.IntRange(0, 5).Draw(t, "server")))
				l.Learn(idspace.FieldSessionID, id(n), s)
				twin[n] = known{s, c.t.Add(10 * time.Second)}
				if got, ok := l.Server(idspace.FieldSessionID, id(n)); !ok || got != s {
					t.Fatalf("just learned %s, got %q, %t", s, got, ok)
				}
			case 1:
				got, ok := l.Server(idspace.FieldSessionID, id(n))
				want, was := twin[n]
				if ok && (!was || got != want.server || !c.t.Before(want.until)) {
					t.Fatalf("ID %d: got %q; the map has %+v at %v", n, got, want, c.t)
				}
			case 2:
				c.t = c.t.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "seconds")) * time.Second)
			}
		}
		if most := (size + bucketEntries - 1) / bucketEntries * bucketEntries; l.Len() > most {
			t.Fatalf("%d entries; want at most %d", l.Len(), most)
		}
	})
}

// offered is how many IDs TestListUnderFlood offers. The race detector makes
// it twenty times as slow, so that make test runs it once more without.
const offered = 10_000_000 / raceDivisor

// Ten million distinct IDs offered to a list of 100,000 entries: it takes the
// memory that was stated, from the start, and no more; it keeps as many IDs as
// it may, the youngest; and what rules decide is not changed by it.
func TestListUnderFlood(t *testing.T) {
	const entries = 100_000
	before := heap()
	l := New(Config{MaxEntries: entries, Lifetime: time.Hour})
	bound := int64(entries*EntryBytes + 64<<10) // and what else a test needs meanwhile
	if grown := heap() - before; grown > bound {
		t.Errorf("an empty list takes %d bytes; want at most %d", grown, bound)
	}
	p := poolOf(t, 0, func(c *route.PoolConfig) { c.Learned = l })
	before = heap() - entries*EntryBytes
	buf := id(0)
	l.Learn(idspace.FieldSessionID, []byte("aaaa-owned"), "c")
	for n := range uint64(offered) {
		binary.BigEndian.PutUint64(buf[24:], n)
		l.Learn(idspace.FieldSessionID, buf, "b")
	}
	if grown := heap() - before; grown > bound {
		t.Errorf("after the flood the list takes %d bytes; want at most %d", grown, bound)
	}
	if n := l.Len(); n > entries {
		t.Errorf("%d entries; want at most %d", n, entries)
	} else if n < entries*99/100 {
		t.Errorf("%d entries after a flood; want nearly all %d in use", n, entries)
	}
	// The youngest are still there: a flood evicts what is oldest.
	found := 0
	for n := uint64(offered - 1000); n < offered; n++ {
		binary.BigEndian.PutUint64(buf[24:], n)
		if _, ok := l.Server(idspace.FieldSessionID, buf); ok {
			found++
		}
	}
	if found < 990 {
		t.Errorf("%d of the last 1000 IDs are known; want nearly all", found)
	}
	for rule, want := range map[string]string{"aaaa-owned": "a", "bbbb-other": "b"} {
		d := p.Explain([]route.Candidate{{Field: idspace.FieldSessionID, ID: []byte(rule)}}, &route.Facts{})
		if got := string(d.Server.Config.Name); got != want || d.RoutedBy != route.ByMint {
			t.Errorf("%s went to %s by %s; want %s by mint", rule, got, d.RoutedBy, want)
		}
	}
	runtime.KeepAlive(l)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestListConcurrently(t *testing.T) {
	t.Parallel()
	l := New(Config{MaxEntries: 64, Lifetime: time.Hour})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			name := route.ServerName(fmt.Sprint("s", g))
			for n := range uint64(2000) {
				l.Learn(idspace.FieldTicket, id(n%100), name)
				l.Server(idspace.FieldTicket, id((n+7)%100))
			}
		})
	}
	wg.Wait()
}

func TestListAllocations(t *testing.T) {
	l := New(Config{MaxEntries: 1000, Lifetime: time.Hour})
	x := id(1)
	l.Learn(idspace.FieldTicket, x, "a")
	if n := testing.AllocsPerRun(100, func() {
		l.Learn(idspace.FieldTicket, x, "a")
		l.Server(idspace.FieldTicket, x)
	}); n != 0 {
		t.Errorf("%v allocations; want 0", n)
	}
}

// BenchmarkListServer looks IDs up that the list has just been offered, as
// many as it holds and a hundred times as many. A lookup in a list of 100,000
// entries must take at most 150 ns.
func BenchmarkListServer(b *testing.B) {
	const limit = 150.0 // ns
	for _, c := range []struct{ entries, offered int }{
		{1000, 1000}, {100_000, 100_000}, {100_000, 10_000_000}, {10_000_000, 10_000_000},
	} {
		b.Run(fmt.Sprintf("%d/offered=%d", c.entries, c.offered), func(b *testing.B) {
			l := New(Config{MaxEntries: c.entries, Lifetime: time.Hour})
			x := id(0)
			for n := range uint64(c.offered) {
				binary.BigEndian.PutUint64(x[24:], n)
				l.Learn(idspace.FieldSessionID, x, "a")
			}
			b.ReportAllocs()
			n := uint64(0)
			for b.Loop() {
				n += 0x9e3779b97f4a7c15
				binary.BigEndian.PutUint64(x[24:], n%uint64(c.offered))
				l.Server(idspace.FieldSessionID, x)
			}
			fastest := fastestOf(func() {
				n += 0x9e3779b97f4a7c15
				binary.BigEndian.PutUint64(x[24:], n%uint64(c.offered))
				l.Server(idspace.FieldSessionID, x)
			})
			b.ReportMetric(fastest, "fastest-ns/op")
			if c.entries <= 100_000 && fastest > limit {
				b.Errorf("a lookup among %d entries took %.0f ns; want at most %.0f", c.entries, fastest, limit)
			}
		})
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
