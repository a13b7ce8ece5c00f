package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Resumed is how often a server accepted and declined sessions whose ID chose
// it.
type Resumed struct{ Accepted, Declined uint64 }

// Resumptions returns the counts of mintmark_resumptions_total by pool and
// server, for those who show them to people.
func (s *Set) Resumptions() map[string]map[string]Resumed {
	series := make(chan prometheus.Metric)
	go func() {
		s.vecs.resumptions.Collect(series)
		close(series)
	}()
	out := make(map[string]map[string]Resumed)
	for m := range series {
		var d dto.Metric
		if m.Write(&d) != nil {
			continue // a counter can always be written
		}
		labels := make(map[string]string)
		for _, l := range d.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		servers := out[labels["pool"]]
		if servers == nil {
			servers = make(map[string]Resumed)
			out[labels["pool"]] = servers
		}
		r := servers[labels["server"]]
		if n := uint64(d.GetCounter().GetValue()); labels["result"] == "accepted" {
			r.Accepted += n
		} else {
			r.Declined += n
		}
		servers[labels["server"]] = r
	}
	return out
}
