package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is something wrong with a file, with what to write instead. It
// reads as one line: File:Line: Path: Reason; Remedy.
type Problem struct {
	File   string `json:"file"`           // as it was given to Load, or the plan's path
	Line   int    `json:"line"`           // from 1; of the enclosing mapping when something is missing
	Path   string `json:"path,omitempty"` // pools[2].servers[0].address; "" for the file as a whole
	Reason string `json:"reason"`
	Remedy string `json:"remedy"`
}

// String returns the problem as one line.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Reason + "; " + p.Remedy)
	return b.String()
}

// Problems is the error of a file with problems: all of them, by line.
type Problems []Problem

// Error returns one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// sortProblems puts problems in the order of their lines, those of the
// configuration file first. Problems of one line keep the order in which they
// were found.
func sortProblems(ps []Problem, file string) {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.File != b.File {
			switch file {
			case a.File:
				return -1
			case b.File:
				return 1
			}
			return cmp.Compare(a.File, b.File)
		}
		return cmp.Compare(a.Line, b.Line)
	})
}

// A fault is a problem whose place is not known yet.
type fault struct{ reason, remedy string }

func faultf(remedy, format string, args ...any) *fault {
	return &fault{reason: fmt.Sprintf(format, args...), remedy: remedy}
}

// quote writes a word of the file in quotes, shortened when it is long, so
// that a message stays one readable line.
func quote(s string) string {
	const most = 60 // runes
	s = strings.ToValidUTF8(s, "\uFFFD")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
