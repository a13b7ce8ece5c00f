package config

// A report collects problems. The zero report is ready for use.
type report struct {
	problems []Problem
	more     bool            // MaxProblems was reached
	seen     map[string]bool // paths that have a problem already
}

// add notes a problem of the value at p, in line. A value has one problem at
// most: the first is the cause, and what follows from it is noise.
func (r *report) add(line int, p *path, reason, remedy string) {
	if len(r.problems) >= MaxProblems {
		r.more = true
		return
	}
	at := p.String()
	if r.seen[at] && at != "" {
		return
	}
	if r.seen == nil {
		r.seen = make(map[string]bool)
	}
	r.seen[at] = true
	r.problems = append(r.problems, Problem{Line: line, Path: at, Reason: reason, Remedy: remedy})
}

func (r *report) fault(line int, p *path, f *fault) { r.add(line, p, f.reason, f.remedy) }

// has reports whether the value at p has a problem.
func (r *report) has(p *path) bool { return r.seen[p.String()] }
