package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/mintmark/mintmark/internal/route"
)

// Decided is how often a listener sent to a pool, or refused to, by how.
type Decided struct {
	Listener, Pool string
	By             [numRoutedBy]uint64 // indexed by route.RoutedBy
}

// Decisions returns the counts of mintmark_decisions_total of all fields
// together, for those who show them to people. A listener that has decided
// nothing yet is not in it.
func (s *Set) Decisions() []Decided {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Decided
	for name, l := range s.listeners {
		for pool, p := range l.pools {
			d := Decided{Listener: string(name), Pool: string(pool)}
			for field := range p.decisions {
				for by := range p.decisions[field] {
					if c := p.decisions[field][by].Load(); c != nil {
						d.By[by] += c.Value()
					}
				}
			}
			out = append(out, d)
		}
	}
	return out
}

func valueOf(c prometheus.Counter) uint64 {
	var d dto.Metric
	if c.Write(&d) != nil {
		return 0 // a counter can always be written
	}
	return uint64(d.GetCounter().GetValue())
}

// RefusedBefore returns how many connections of a listener were refused before
// a pool was chosen, and how many are in progress.
func (s *Set) RefusedBefore(name route.ListenerName) (refused uint64, active int64) {
	s.mu.Lock()
	l := s.listeners[name]
	s.mu.Unlock()
	if l == nil {
		return 0, 0
	}
	for _, c := range l.refused.all() {
		refused += valueOf(c.metric)
	}
	return refused, l.Active.Load()
}
