package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

// planned compiles the spaces of a pool whose scheme is planned, out of its
// plan.
func (c *checker) planned(f *FilePool, p *path) *idspace.Table {
	if c.managed() {
		return c.managedPlan(f, p)
	}
	at := p.field("plan_file")
	if !c.written(at) {
		if !c.meant[at.String()] {
			c.problemf(p.field("scheme"), fmt.Sprintf("write plan_file: %s.plan, then run `%s`", planName(f.Name), c.planCommand(f)),
				"the scheme %s is planned, and there is no plan_file", f.Scheme.Kind)
		}
		return nil
	}
	if c.report.has(at) {
		return nil
	}
	if f.PlanFile == "" {
		c.problem(at, "is empty", "write the path of a file, relative to the directory of this one")
		return nil
	}
	if len(c.result.Schemes[route.PoolName(f.Name)].Members) == 0 {
		c.problem(p.field("scheme"), "there is nobody to plan for: every share is 0", "give at least one server a share")
		return nil
	}
	if c.opts.WithoutPlans {
		return nil
	}
	plan, ok := c.readPlan(f, at)
	if !ok {
		return nil
	}
	if kind := string(plan.Kind()); kind != f.Scheme.Kind {
		c.problemf(at, fmt.Sprintf("write scheme: {kind: %s}, or another plan_file and run `%s`", kind, c.planCommand(f)),
			"holds a plan of the scheme %s, and the pool has %s", kind, f.Scheme.Kind)
		return nil
	}
	c.comparePlan(plan, f, p)
	t, err := plan.Table()
	if err != nil {
		c.problemf(at, fmt.Sprintf("restore the plan from a backup, or write it again with `%s`", c.planCommand(f)),
			"cannot be compiled: %v", err)
		return nil
	}
	c.planOwners(t, f, p)
	return t
}

// managedPlan compiles the plan that the control plane sent for a pool. It may
// be behind the servers, or ahead of them: the rollout knows why.
func (c *checker) managedPlan(f *FilePool, p *path) *idspace.Table {
	if c.opts.Pools == nil || c.opts.Pools.Plans[f.Name] == nil {
		return nil
	}
	plan, err := idspace.ParsePlan(c.opts.Pools.Plans[f.Name])
	if err == nil {
		var t *idspace.Table
		if t, err = plan.Table(); err == nil {
			return t
		}
	}
	c.problemf(p.field("scheme"), "update this program, if it is older than the control plane", "the plan of pool %s: %v", f.Name, err)
	return nil
}

// planCommand is the command that brings the plan of a pool up to date.
func (c *checker) planCommand(f *FilePool) string {
	return fmt.Sprintf("mintmark plan -c %s --pool %s", c.name, planName(f.Name))
}

// planName is the name of the pool as it can stand in a command.
func planName(name string) string {
	if nameFault(name) != nil {
		return "POOL"
	}
	return name
}

func (c *checker) readPlan(f *FilePool, at *path) (*idspace.Plan, bool) {
	name := c.relative(f.PlanFile)
	data, err := readBounded(name, MaxPlanSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.problemf(at, fmt.Sprintf("run `%s`", c.planCommand(f)), "there is no file %s", quote(name))
		return nil, false
	case err != nil:
		c.problemf(at, "make the file readable, or write another path", "cannot be read: %v", err)
		return nil, false
	}
	plan, err := idspace.ParsePlan(data)
	if err != nil {
		c.problemf(at, "restore the plan from a backup; it is not meant to be edited", "%s holds no plan: %v", quote(name), err)
		return nil, false
	}
	return plan, true
}

// comparePlan checks that those who are to have a space are those who have one.
func (c *checker) comparePlan(plan *idspace.Plan, f *FilePool, p *path) {
	planned := map[idspace.Owner]uint32{}
	for _, m := range plan.Members() {
		planned[m.Owner] = max(1, m.Share)
	}
	bring := fmt.Sprintf("run `%s`", c.planCommand(f))
	check := func(name string, share int, at *path, what string) {
		has, ok := planned[idspace.Owner(name)]
		delete(planned, idspace.Owner(name))
		switch {
		case share > 0 && !ok:
			c.problemf(at, bring, "%s %s has no space in the plan", what, quote(name))
		case share == 0 && ok:
			c.problemf(at.field("share"), bring, "%s %s has a space in the plan", what, quote(name))
		case share > 0 && int64(share) != int64(has):
			c.warnf(at.field("share"), bring, "the plan gives %s %s the share %d", what, quote(name), has)
		}
	}
	for i := range f.Servers {
		check(f.Servers[i].Name, f.Servers[i].Share, p.field("servers").item(i), "server")
	}
	for i := range f.Groups {
		check(f.Groups[i].Name, f.Groups[i].Share, p.field("groups").item(i), "group")
	}
	for _, name := range sortedOwners(planned) {
		c.problemf(p.field("plan_file"), fmt.Sprintf("put it back, or retire its space with `%s`", c.planCommand(f)),
			"the plan gives %s a space, and the pool has no such server or group", quote(name))
		return // one problem a path; the command deals with all of them
	}
}

// planOwners checks that everybody to whom the plan still routes is in the
// pool.
func (c *checker) planOwners(t *idspace.Table, f *FilePool, p *path) {
	known := map[idspace.Owner]bool{}
	for i := range f.Servers {
		known[idspace.Owner(f.Servers[i].Name)] = true
	}
	for i := range f.Groups {
		known[idspace.Owner(f.Groups[i].Name)] = true
	}
	at := p.field("plan_file")
	for _, owner := range t.Owners() {
		if !known[owner] && !c.report.has(at) {
			c.problemf(at, fmt.Sprintf("keep it in the file with share: 0 and draining: true while IDs of it may be left; when none is, run `%s --dead %s`",
				c.planCommand(f), spellKey(string(owner))),
				"the plan still routes the IDs of %s, which is being retired, and the pool has no such server or group",
				quote(string(owner)))
		}
	}
}

func sortedOwners(m map[idspace.Owner]uint32) []string {
	names := make(map[string]bool, len(m))
	for owner := range m {
		names[string(owner)] = true
	}
	return choices(names)
}

var errTooLarge = errors.New("too large")

// readBounded reads a file of at most limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("reading %s: %w: more than %d bytes", name, errTooLarge, limit)
	}
	return data, nil
}
