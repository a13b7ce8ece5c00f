package config

import (
	"strings"
	"unicode"
)

// A report collects problems. The zero report is ready for use.
type report struct {
	problems []Problem
	more     bool            // there are more than MaxProblems
	seen     map[string]bool // paths of values that have a problem, shown or not
}

// add notes a problem of the value at p, in line. A value has one problem at
// most: the first is the cause, and what follows from it is noise.
func (r *report) add(line int, p *path, reason, remedy string) {
	if p != nil && r.has(p) {
		return
	}
	r.mark(p)
	if r.full() {
		r.more = true
		return
	}
	r.problems = append(r.problems, Problem{Line: line, Path: p.String(), Reason: oneLine(reason), Remedy: oneLine(remedy)})
}

// oneLine makes sure of a message that may hold the words of others, such as
// an error with a path in it: it stays one line that can be read.
func oneLine(s string) string {
	const most = 800 // bytes
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, s)
}

// full reports whether no more problems are shown.
func (r *report) full() bool { return len(r.problems) >= MaxProblems }

func (r *report) fault(line int, p *path, f *fault) { r.add(line, p, f.reason, f.remedy) }

// mark notes that the value at p cannot be used, for a reason that is told
// elsewhere.
func (r *report) mark(p *path) {
	if r.seen == nil {
		r.seen = make(map[string]bool)
	}
	r.seen[p.String()] = true
}

// has reports whether the value at p has a problem.
func (r *report) has(p *path) bool { return len(r.seen) > 0 && r.seen[p.String()] }
