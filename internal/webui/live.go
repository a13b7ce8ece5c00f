package webui

import (
	"sync"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/explain"
)

// A Source is the balancer in this process.
type Source interface {
	// Sample returns what it has counted up to now, and how its servers are.
	Sample() *Sample
	// Read reads a value as a listener does; the error is an
	// *explain.InputError if the value is nothing that can be explained.
	Read(listener, value string, field idspace.Field) (*explain.Message, error)
	// Explain says what it would do with a message that a listener hears; nil
	// if it has no such listener.
	Explain(listener string, m *explain.Message) *explain.Explanation
}

// A Sample is what a balancer has counted, and the state of its servers.
type Sample struct {
	Time     time.Time
	Balancer string // its name
	Ready    bool
	Reason   string // why it is not ready
	// Waiting are listeners that are not open because nobody made their pool.
	Waiting   []WaitingListener
	Listeners []ListenerSample
	Flows     []Flow
	Pools     []PoolSample
}

// A WaitingListener waits for a pool.
type WaitingListener struct{ Listener, Pool string }

// A ListenerSample is one listener.
type ListenerSample struct {
	Name    string
	Address string
	Active  int64
	Refused uint64 // before a pool was chosen
}

// A RoutedBy is an index of Flow.By. The words are those of decisions.
type RoutedBy int

// The ways in which a message was routed, in the order in which they are
// stacked.
const (
	ByMint RoutedBy = iota
	ByGroup
	ByLearned
	ByBalance
	ByRefused
	numRoutedBy
)

// String returns the word for b.
func (b RoutedBy) String() string {
	return [numRoutedBy]string{"mint", "group", "learned", "balance", "refused"}[b]
}

// A Flow is what a listener has sent to a pool.
type Flow struct {
	Listener, Pool string
	By             [numRoutedBy]uint64
}

// A PoolSample is one pool.
type PoolSample struct {
	Name string
	// Offered counts sessions that clients offered to the server that was
	// chosen by their ID, Accepted those that it took, and ByChance what it
	// would have been had each gone to any server in turn.
	Offered, Accepted uint64
	ByChance          float64
	Alarms            []string
	Servers           []ServerSample
}

// A ServerSample is one server.
type ServerSample struct {
	Name, Address, Group string
	Up, Draining         bool
	Weight               int
	Connections          int64
	Offered, Accepted    uint64
	// Mints is the name that its tickets begin with, in hex, and Layout how
	// they are laid out, as the last probe saw them.
	Mints, Layout, ProbeError string
	ForeignMints              uint64
	LastForeign               string // an example
}

// How traffic is remembered.
const (
	// sampleInterval is how often the balancer is asked. A page shows what
	// happened half of that ago on average.
	sampleInterval = 500 * time.Millisecond
	// keepSamples is five minutes of them.
	keepSamples = 600
	// keepChanges is how many changes of a server's health are remembered.
	keepChanges = 50
)

type flowKey struct{ listener, pool string }

type serverKey struct{ pool, server string }

// traffic remembers the last minutes.
type traffic struct {
	mu      sync.Mutex
	last    *Sample
	flows   map[flowKey]*series
	resumed map[string]*resumedSeries
	health  map[serverKey][]healthChange
}

// series is a ring of rates, per second.
type series struct {
	rates [keepSamples][numRoutedBy]float32
	n     int // how many there were
	base  [numRoutedBy]uint64
}

// resumedSeries is a ring of what happened in each interval.
type resumedSeries struct {
	offered, accepted [keepSamples]uint32
	byChance          [keepSamples]float32
	n                 int
}

// A healthChange is that a server went up or down.
type healthChange struct {
	At time.Time
	Up bool
}

func newTraffic() *traffic {
	return &traffic{
		flows: make(map[flowKey]*series), resumed: make(map[string]*resumedSeries), health: make(map[serverKey][]healthChange),
	}
}

// add takes a sample. What the balancer has no more is forgotten.
func (t *traffic) add(s *Sample) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.last
	t.last = s
	seconds := sampleInterval.Seconds()
	if last != nil {
		if d := s.Time.Sub(last.Time).Seconds(); d > 0 {
			seconds = d
		}
	}
	flows := make(map[flowKey]*series, len(s.Flows))
	for i := range s.Flows {
		f := &s.Flows[i]
		k := flowKey{f.Listener, f.Pool}
		sr := t.flows[k]
		if sr == nil {
			sr = &series{base: f.By}
			if last != nil {
				sr.base = [numRoutedBy]uint64{} // its first traffic came since
			}
		}
		at := &sr.rates[sr.n%keepSamples]
		for by := range f.By {
			at[by] = float32(float64(since(f.By[by], sr.base[by])) / seconds)
		}
		sr.base, sr.n = f.By, sr.n+1
		flows[k] = sr
	}
	t.flows = flows
	t.addPools(last, s)
}

// since is what was counted since; a counter that went back was reset.
func since(now, before uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

func (t *traffic) addPools(last, s *Sample) {
	before := make(map[string]*PoolSample)
	if last != nil {
		for i := range last.Pools {
			before[last.Pools[i].Name] = &last.Pools[i]
		}
	}
	resumed := make(map[string]*resumedSeries, len(s.Pools))
	health := make(map[serverKey][]healthChange)
	for i := range s.Pools {
		p := &s.Pools[i]
		r := t.resumed[p.Name]
		if r == nil {
			r = &resumedSeries{}
		}
		if b := before[p.Name]; b != nil {
			k := r.n % keepSamples
			r.offered[k] = uint32(min(since(p.Offered, b.Offered), 1<<31))    //nolint:gosec // bounded
			r.accepted[k] = uint32(min(since(p.Accepted, b.Accepted), 1<<31)) //nolint:gosec // bounded
			r.byChance[k] = float32(max(0, p.ByChance-b.ByChance))
			r.n++
		}
		resumed[p.Name] = r
		for j := range p.Servers {
			srv := &p.Servers[j]
			k := serverKey{p.Name, srv.Name}
			h := t.health[k]
			if len(h) == 0 || h[len(h)-1].Up != srv.Up {
				h = append(h, healthChange{s.Time, srv.Up})
				if len(h) > keepChanges {
					h = append([]healthChange{}, h[len(h)-keepChanges:]...)
				}
			}
			health[k] = h
		}
	}
	t.resumed, t.health = resumed, health
}

// sample returns the last one; nil if there is none.
func (t *traffic) sample() *Sample {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// flow returns the rates of a flow, oldest first, each the mean of two
// intervals so that a picture has no noise that nobody can see.
func (t *traffic) flow(k flowKey) [][numRoutedBy]float32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.flows[k]
	if s == nil {
		return nil
	}
	have := min(s.n, keepSamples) &^ 1
	out := make([][numRoutedBy]float32, 0, have/2)
	for i := s.n - have; i < s.n; i += 2 {
		a, b := &s.rates[i%keepSamples], &s.rates[(i+1)%keepSamples]
		var mean [numRoutedBy]float32
		for by := range mean {
			mean[by] = (a[by] + b[by]) / 2
		}
		out = append(out, mean)
	}
	return out
}

// A rate is how many sessions came home, and how many would by chance, both of
// those offered in a while; below 0: none was offered.
type rate struct{ Home, Chance float64 }

// rateWindow is over how many intervals a rate is: ten seconds.
const rateWindow = 20

// rates returns the resumption rate over time, oldest first, and that of the
// last window.
func (t *traffic) rates(pool string) ([]rate, rate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.resumed[pool]
	if s == nil {
		return nil, rate{-1, -1}
	}
	have := min(s.n, keepSamples)
	first := s.n - have
	var out []rate
	var offered, accepted, chance float64
	now := rate{-1, -1}
	for i := first; i < s.n; i++ {
		k := i % keepSamples
		offered += float64(s.offered[k])
		accepted += float64(s.accepted[k])
		chance += float64(s.byChance[k])
		if old := i - rateWindow; old >= first {
			k := old % keepSamples
			offered -= float64(s.offered[k])
			accepted -= float64(s.accepted[k])
			chance -= float64(s.byChance[k])
		}
		now = rate{-1, -1}
		if offered > 0 {
			now = rate{accepted / offered, max(0, chance) / offered}
		}
		if (s.n-1-i)%2 == 0 {
			out = append(out, now)
		}
	}
	return out, now
}

// changes returns the changes of a server's health, oldest first.
func (t *traffic) changes(pool, server string) []healthChange {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]healthChange(nil), t.health[serverKey{pool, server}]...)
}
