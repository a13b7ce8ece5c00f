package route

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

// seenSlots is how many generations of an owner are told apart: the slots of
// a plan, idspace.PlanSlots, rounded up.
const seenSlots = 8

// seenGrain is how exact the times of a Seen are. An ID that is seen again
// within it writes nothing, so that cores do not take the memory from each
// other.
const seenGrain = int64(time.Second)

// A Seen remembers when an ID of each owner and generation slot was last seen,
// to about a second. It outlives snapshots: each new Pool is given the same. It
// is safe for concurrent use.
type Seen struct {
	mu     sync.Mutex
	owners map[idspace.Owner]*seenOwner
}

// seenOwner holds the times of one owner by slot, in nanoseconds since 1970;
// 0: never.
type seenOwner [seenSlots]atomic.Int64

// NewSeen returns a Seen that has seen nothing.
func NewSeen() *Seen { return &Seen{owners: make(map[idspace.Owner]*seenOwner)} }

// of returns the times of an owner.
func (s *Seen) of(name idspace.Owner) *seenOwner {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.owners[name]
	if o == nil {
		o = new(seenOwner)
		s.owners[name] = o
	}
	return o
}

// Each calls f for every owner and slot of which an ID was seen.
func (s *Seen) Each(f func(owner idspace.Owner, slot uint8, last time.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, o := range s.owners {
		for slot := range o {
			if n := o[slot].Load(); n != 0 {
				f(name, uint8(slot), time.Unix(0, n))
			}
		}
	}
}

// Keep forgets all owners but those named.
func (s *Seen) Keep(names map[idspace.Owner]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.owners {
		if !names[name] {
			delete(s.owners, name)
		}
	}
}

// see notes that an ID was seen; at 0, nothing.
func (o *seenOwner) see(slot uint8, at int64) {
	t := &o[slot%seenSlots]
	if at-t.Load() >= seenGrain {
		t.Store(at)
	}
}
