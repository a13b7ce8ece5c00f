package daemon

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/mintmark/mintmark/internal/discover"
	"github.com/mintmark/mintmark/internal/route"
)

// Status is what a balancer tells of itself: the answer to GET /status on the
// admin address, and the JSON contract of `mintmark status --json`.
type Status struct {
	Ready     bool         `json:"ready"`
	Reason    string       `json:"reason,omitempty"` // why it is not ready
	Config    string       `json:"config"`           // path of the file
	Listeners []string     `json:"listeners"`
	Pools     []PoolStatus `json:"pools"`
	// Revision is that of the last snapshot of the control plane that was
	// acknowledged, and Waiting the listeners whose pool it does not have.
	Revision uint64          `json:"revision,omitempty"`
	Waiting  []WaitingStatus `json:"waiting,omitempty"`
}

// A WaitingStatus is a listener that is not open, because the control plane
// does not have its pool.
type WaitingStatus struct {
	Listener string `json:"listener"`
	Pool     string `json:"pool"`
}

// PoolStatus is one pool of a Status.
type PoolStatus struct {
	Name        string         `json:"name"`
	Resumptions Resumptions    `json:"resumptions"`
	Alarms      []AlarmStatus  `json:"alarms"`
	Learned     *int           `json:"learned,omitempty"` // entries of the learned list
	Servers     []ServerStatus `json:"servers"`
}

// Resumptions counts the sessions that clients offered to the server that
// Mintmark chose by their ID.
type Resumptions struct {
	Offered  uint64 `json:"offered"`
	Accepted uint64 `json:"accepted"`
	// Rate is Accepted in Offered, RoundRobin what it would be had each been
	// sent to any server of the pool in turn: a server accepts its own
	// sessions and its group's.
	Rate       float64 `json:"rate"`
	RoundRobin float64 `json:"round_robin"`
}

// An AlarmStatus is a discovered name that cannot be trusted.
type AlarmStatus struct {
	Name    string   `json:"name"` // hex
	Servers []string `json:"servers"`
	Reason  string   `json:"reason"`
}

// ServerStatus is one server of a PoolStatus.
type ServerStatus struct {
	Name        string      `json:"name"`
	Address     string      `json:"address"`
	Group       string      `json:"group,omitempty"`
	Up          bool        `json:"up"`
	Draining    bool        `json:"draining"`
	Weight      int         `json:"weight"`
	Connections int64       `json:"connections"`
	Resumptions Resumptions `json:"resumptions"`
	// Layout and Mints are what the last probe read off the server's tickets:
	// how they are laid out, and the name that they begin with, in hex.
	Layout string `json:"layout,omitempty"`
	Mints  string `json:"mints,omitempty"`
	// ProbeError is why the last probe found nothing.
	ProbeError   string        `json:"probe_error,omitempty"`
	ForeignMints uint64        `json:"foreign_mints"`
	Examples     []ForeignMint `json:"foreign_examples,omitempty"`
}

// A ForeignMint is an ID that a server assigned outside its space.
type ForeignMint struct {
	Time  time.Time `json:"time"`
	Field string    `json:"field"`
	Mark  string    `json:"mark"`            // the first bytes, in hex
	Owner string    `json:"owner,omitempty"` // whose space it lies in
}

func (d *Daemon) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(d.Status()) // the client may have gone
}

// Status returns the balancer's state at this moment.
func (d *Daemon) Status() Status {
	s := Status{Config: d.cfg.Path, Listeners: []string{}, Pools: []PoolStatus{}}
	if reason := d.notReady.Load(); reason != nil {
		s.Reason = *reason
	} else {
		s.Ready = true
	}
	counts := d.metrics.Resumptions()
	d.mu.Lock()
	defer d.mu.Unlock()
	snap := d.snapshot.Load()
	if d.current == nil || snap == nil {
		return s
	}
	s.Revision = d.revision
	for _, w := range d.current.Waiting {
		s.Waiting = append(s.Waiting, WaitingStatus(w))
	}
	for i := range d.current.Listeners {
		s.Listeners = append(s.Listeners, string(d.current.Listeners[i].Name))
	}
	for i := range d.current.Pools {
		p := snap.Pools[d.current.Pools[i].Name]
		ps := PoolStatus{Name: string(p.Config.Name), Alarms: alarmStatus(d.layouts[p.Config.Name]), Servers: []ServerStatus{}}
		if list := d.lists[p.Config.Name]; list != nil {
			n := list.Len()
			ps.Learned = &n
		}
		byChance := 0.0 // resumptions that round robin would have found
		for _, srv := range p.Servers {
			ss := d.serverStatus(srv)
			c := counts[string(p.Config.Name)][ss.Name]
			ss.Resumptions = resumptions(c.Accepted, c.Declined, float64(c.Accepted)*float64(sharers(srv))/float64(len(p.Servers)))
			byChance += ss.Resumptions.RoundRobin * float64(ss.Resumptions.Offered)
			ps.Resumptions.Accepted += c.Accepted
			ps.Resumptions.Offered += c.Accepted + c.Declined
			ps.Servers = append(ps.Servers, ss)
		}
		ps.Resumptions = resumptions(ps.Resumptions.Accepted, ps.Resumptions.Offered-ps.Resumptions.Accepted, byChance)
		s.Pools = append(s.Pools, ps)
	}
	return s
}

func resumptions(accepted, declined uint64, byChance float64) Resumptions {
	r := Resumptions{Offered: accepted + declined, Accepted: accepted}
	if r.Offered > 0 {
		r.Rate = float64(accepted) / float64(r.Offered)
		r.RoundRobin = byChance / float64(r.Offered)
	}
	return r
}

// sharers counts the servers that accept a session of s: its group, or itself.
func sharers(s *route.Server) int {
	if s.Config.Group == "" {
		return 1
	}
	n := 0
	for _, o := range s.Pool.Servers {
		if o.Config.Group == s.Config.Group {
			n++
		}
	}
	return n
}

func alarmStatus(l discover.Layout) []AlarmStatus {
	out := []AlarmStatus{}
	for _, a := range l.Alarms {
		as := AlarmStatus{Name: hex.EncodeToString(a.Prefix), Reason: a.Reason}
		for _, s := range a.Servers {
			as.Servers = append(as.Servers, string(s))
		}
		out = append(out, as)
	}
	return out
}

func (d *Daemon) serverStatus(s *route.Server) ServerStatus {
	_, draining := s.DrainingSince()
	out := ServerStatus{
		Name: string(s.Config.Name), Address: s.Config.Address.String(), Group: string(s.Config.Group),
		Up: s.State.Up.Load(), Draining: draining, Weight: s.Config.Weight, Connections: s.State.Conns.Load(),
	}
	if seen, ok := d.probes[serverKey{s.Pool.Config.Name, s.Config.Name}]; ok {
		out.Layout, out.Mints = string(seen.layout), hex.EncodeToString(seen.name)
		if seen.err != nil {
			out.ProbeError = seen.err.Error()
		}
	}
	count, examples := d.watch.Foreign(s.Pool.Config.Name, s.Config.Name)
	out.ForeignMints = count
	for _, x := range examples {
		out.Examples = append(out.Examples, ForeignMint{Time: x.Time, Field: x.Field.String(), Mark: x.Mark, Owner: string(x.Owner)})
	}
	return out
}
