package config

import (
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

// A checker looks for what is wrong with a file that could be decoded, and
// compiles it on the way. Its result counts only when no problem was found.
type checker struct {
	name     string // of the file, as it was given
	dir      string // that paths in the file are relative to
	opts     Options
	root     *node
	file     *File
	meant    map[string]bool
	report   *report
	warnings *report

	result *Config
	// pools holds what listeners need to know of each pool that has a name.
	pools map[string]*poolFacts
	// uses holds which protocols the listeners of each pool speak, as far as the
	// file says so in the right place.
	uses map[string]uses
	// absent is a pool that the listener at hand names and the control plane
	// does not have.
	absent string
	// sockets are the addresses listened on so far.
	sockets []socket
}

func (c *checker) problem(p *path, reason, remedy string) {
	c.report.add(p.line(c.root), p, reason, remedy)
}

func (c *checker) problemf(p *path, remedy, reason string, args ...any) {
	c.problem(p, fmt.Sprintf(reason, args...), remedy)
}

func (c *checker) fault(p *path, f *fault) {
	if f != nil {
		c.problem(p, f.reason, f.remedy)
	}
}

func (c *checker) warnf(p *path, remedy, reason string, args ...any) {
	c.warnings.add(p.line(c.root), p, fmt.Sprintf(reason, args...), remedy)
}

// sound reports whether p has a value, and none of the problems found so far
// is about it.
func (c *checker) sound(p *path) bool {
	return p.resolve(c.root) != nil && !c.report.has(p)
}

// written reports whether the file has a value at p.
func (c *checker) written(p *path) bool { return p.resolve(c.root) != nil }

// require notes a problem when the setting is missing, and reports whether it
// can be looked at.
func (c *checker) require(p *path, remedy string) bool {
	if p.resolve(c.root) == nil {
		if !c.meant[p.String()] && !c.report.has(p.parent) {
			c.problem(p, "is missing", remedy)
		}
		return false
	}
	return !c.report.has(p)
}

// item is the path of the i-th item of the list at p, which may stand without
// brackets when it has one item.
func (c *checker) item(p *path, i int) *path {
	if n := p.resolve(c.root); n != nil && n.kind != kindList {
		return p
	}
	return p.item(i)
}

// between checks that the number at p is in range.
func (c *checker) between(p *path, v, least, most int) {
	if v < least || v > most {
		c.problemf(p, fmt.Sprintf("write a number from %d to %d", least, most), "%d is out of range", v)
	}
}

// lasts checks that the duration at p is in range, and returns it.
func (c *checker) lasts(p *path, v Duration, least, most time.Duration) time.Duration {
	d := time.Duration(v)
	if d != 0 && (d < least || d > most) || d == 0 && least != 0 {
		if c.written(p) {
			c.problemf(p, fmt.Sprintf("write a time from %s to %s", Duration(least), Duration(most)), "%s is out of range", v)
		}
	}
	return d
}

// checkName checks a name and that it is not among those taken, which maps
// names to the path where they stand.
func (c *checker) checkName(p *path, name string, taken map[string]*path) {
	if !c.require(p, "give it a name") {
		return
	}
	if f := nameFault(name); f != nil {
		c.fault(p, f)
		return
	}
	if first, ok := taken[name]; ok {
		c.problemf(p, "give each a name of its own", "%s is already the name of %s in line %d",
			quote(name), first.parent, first.line(c.root))
		return
	}
	taken[name] = p
}

func nameFault(name string) *fault {
	remedy := "write letters, digits, dots, hyphens and underscores, beginning with a letter or digit"
	if name == "" {
		return faultf(remedy, "is empty")
	}
	if len(name) > MaxNameLength {
		return faultf(fmt.Sprintf("write at most %d characters", MaxNameLength), "%s is too long", quote(name))
	}
	for i, r := range name {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && (i == 0 || r != '.' && r != '-' && r != '_') {
			return faultf(remedy, "%s has a %q where none may be", quote(name), r)
		}
	}
	return nil
}

// choices returns the names that can be recommended, sorted.
func choices[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		if nameFault(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// poolFacts is what the checks of listeners need to know of a pool.
type poolFacts struct {
	config    *route.PoolConfig
	path      *path
	protocols map[Protocol]bool // of the listeners that use it
	limit     int               // of all its servers' connections; 0: none
	cidLength int               // of its servers' connection IDs; 0: not known
	read      idspace.FieldSet  // what listeners of protocol http read for it
}

// CheckName returns why name cannot be that of a pool, server, group or
// listener; nil if it can.
func CheckName(name string) error {
	if f := nameFault(name); f != nil {
		return fmt.Errorf("%s; %s", f.reason, f.remedy)
	}
	return nil
}
