package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// Load reads, checks and compiles the file at path. The error is a Problems
// when the file could be read and is not in order.
func Load(path string, o Options) (*Config, error) {
	data, err := Read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, o)
}

// Read returns what Parse needs of the file at path. The error is a Problems
// when the file is too large.
func Read(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("reading the configuration: %s is a directory", path)
	}
	data, err := readBounded(path, MaxFileSize)
	if errors.Is(err, errTooLarge) {
		return nil, Problems{tooLarge(path)}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return data, nil
}

func tooLarge(name string) Problem {
	return Problem{
		File: name, Line: 1, Reason: fmt.Sprintf("is larger than %d MiB", MaxFileSize>>20),
		Remedy: "check that this is the right file; write neighbouring values as one range",
	}
}

// Parse is Load for a file that was read already. name is what messages call
// it, and paths in it are relative to name's directory. The error is always a
// Problems.
func Parse(name string, data []byte, o Options) (*Config, error) {
	if len(data) > MaxFileSize {
		return nil, Problems{tooLarge(name)}
	}
	root, r := parseYAML(data)
	if root == nil {
		return nil, r.finish(name)
	}
	if o.Pools != nil {
		graft(root, o.Pools, r)
	}
	file, d := decodeFile(root, r)
	if file == nil {
		return nil, r.finish(name)
	}
	c := &checker{
		name: name, dir: filepath.Dir(name), opts: o,
		root: root, file: file, meant: d.meant,
		report: r, warnings: &report{},
		result: &Config{
			Path:     name,
			Schemes:  map[route.PoolName]Scheme{},
			Discover: map[route.PoolName]*Discover{},
			Learn:    map[route.PoolName]Learn{},
		},
		pools: map[string]*poolFacts{},
	}
	c.check()
	if len(r.problems) > 0 {
		return nil, r.finish(name)
	}
	c.warn()
	c.result.Warnings = c.warnings.finish(name)
	return c.result, nil
}

func (c *checker) check() {
	if c.root.kind != kindMapping {
		return // reported when the file was decoded
	}
	p := (*path)(nil)
	if c.require(p.field("version"), "write version: 1 at the top of the file") && c.file.Version != 1 {
		c.problemf(p.field("version"), "write version: 1", "there is no version %d of this format", c.file.Version)
	}
	c.result.ShutdownGrace = c.lasts(p.field("shutdown_grace"), c.file.ShutdownGrace, 0, 24*time.Hour)
	if c.file.Admin != nil && !c.report.has(p.field("admin")) {
		at := p.field("admin").field("listen")
		if c.require(at, `write an address such as "127.0.0.1:7071"`) {
			if a, ok := c.socket(c.file.Admin.Listen, at, ""); ok {
				c.result.Admin = &a
			}
		}
	}
	c.control()
	c.noteUses()
	c.allPools()
	c.listeners()
}

// finish returns the problems in order, and says when there are more.
func (r *report) finish(name string) Problems {
	for i := range r.problems {
		r.problems[i].File = name
	}
	sortProblems(r.problems, name)
	if r.more {
		last := r.problems[len(r.problems)-1]
		r.problems = append(r.problems, Problem{
			File: name, Line: last.Line,
			Reason: fmt.Sprintf("has more than %d problems", MaxProblems),
			Remedy: "remove these first; the others are shown then",
		})
	}
	return r.problems
}
