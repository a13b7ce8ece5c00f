package route

import (
	"encoding/hex"
	"fmt"

	"github.com/mintmark/mintmark/idspace"
)

// A trace collects the steps of a decision for people to read.
type trace struct{ lines []string }

// traceBytes is how much of an ID a step shows. It is enough to tell rules
// apart, and short enough that logs do not hold whole tickets.
const traceBytes = 8

func (t *trace) addf(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

func candidateText(i int, id *Candidate) string {
	shown, more := id.ID, ""
	if len(shown) > traceBytes {
		shown, more = shown[:traceBytes], ".."
	}
	return fmt.Sprintf("candidate %d %v %s%s (%d bytes)", i+1, id.Field, hex.EncodeToString(shown), more, len(id.ID))
}

func (t *trace) skipped(i int, id *Candidate) {
	t.addf("%s: may be random, not looked up", candidateText(i, id))
}

func (t *trace) unmatched(i int, id *Candidate) {
	t.addf("%s: belongs to nobody", candidateText(i, id))
}

func (t *trace) matched(i int, id *Candidate, p *Pool, m idspace.Match) {
	by := "function"
	if m.Rule >= 0 {
		by = "rule " + p.Config.Table.Rules()[m.Rule].Source
	}
	t.addf("%s: %s, generation %d, belongs to %s", candidateText(i, id), by, m.Generation, p.owners[m.Owner].name())
}

// away adds why an ID does not go to s, its owner.
func (t *trace) away(s *Server, q *query) {
	why := "has no connection: connecting to it failed"
	switch {
	case q.bars(s):
		why = "could accept the early data that is bound to server " + string(q.bound.Config.Name)
	case !s.State.Up.Load():
		why = "is down"
	case !s.takes(q.now, nil):
		why = "has been draining for longer than drain_timeout"
	}
	t.addf("server %s %s", s.Config.Name, why)
}

// outcome says what was decided.
func (d *Decision) outcome() string {
	if d.Server == nil {
		return fmt.Sprintf("%v, %s", d.RoutedBy, d.Cause)
	}
	return fmt.Sprintf("server %s, routed by %v, %s", d.Server.Config.Name, d.RoutedBy, d.Cause)
}
