package learn

import (
	"encoding/binary"
	"fmt"
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

// Ten million distinct IDs offered to a list of 100,000 entries: it holds no
// more than it may, and takes no more memory than at the start.
func TestListUnderFlood(t *testing.T) {
	const entries, offered = 100_000, 10_000_000
	l := New(Config{MaxEntries: entries, Lifetime: time.Hour})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	buf := id(0)
	for n := range uint64(offered) {
		binary.BigEndian.PutUint64(buf[24:], n)
		l.Learn(idspace.FieldSessionID, buf, "a")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := l.Len(); n > entries {
		t.Errorf("%d entries; want at most %d", n, entries)
	} else if n < entries*99/100 {
		t.Errorf("%d entries after a flood; want nearly all %d in use", n, entries)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > entries {
		t.Errorf("the heap grew by %d bytes during the flood; want next to nothing", grown)
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

func BenchmarkListServer(b *testing.B) {
	for _, entries := range []int{1000, 100_000, 10_000_000} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) {
			l := New(Config{MaxEntries: entries, Lifetime: time.Hour})
			x := id(0)
			for n := range uint64(entries) {
				binary.BigEndian.PutUint64(x[24:], n)
				l.Learn(idspace.FieldSessionID, x, "a")
			}
			b.ReportAllocs()
			n := uint64(0)
			for b.Loop() {
				n += 0x9e3779b97f4a7c15
				binary.BigEndian.PutUint64(x[24:], n%uint64(entries))
				l.Server(idspace.FieldSessionID, x)
			}
		})
	}
}
