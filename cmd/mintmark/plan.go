package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/sealed"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/route"
)

func planCommand() *command {
	return &command{
		name:     "plan",
		synopsis: "-c FILE --pool POOL [--dry-run] [--json] [FLAGS]",
		short:    "give the servers of a pool their spaces",
		long: `
Compute the next plan of a pool from the last one and the servers and shares of
the configuration file, show what changes, and write the plan_file that the
pool names. With --dry-run nothing is written.

A new server takes its space from the reserve, so no ID that was minted ever
changes its owner. A server that is gone, or whose share is 0, mints no more,
and its space is kept for its old IDs until --dead says that none is left. When
the reserve is used up, --open-generation opens a new generation, in which
every server gets a fresh space; the old ones are still routed.

Take the new plan to every balancer before a server mints by it. With
--open-generation --prepare the new generation is routed and not minted;
--start-minting then lets the servers go over to it.

With --mint OWNER, nothing is changed: a name for a TLS ticket key of that
server is printed, 16 bytes in hex, the first bytes of the key files that
nginx, HAProxy and Apache read. Each call makes another one. With --assignment
FILE it goes into FILE instead, for a server that mints with the SDK (mint.File
in Go, mint.mjs for Node.js). A mark of this generation that is in FILE stays,
and so do those of earlier generations that the plan still has. FILE may hold a
mark key: it is written with mode 0600. For a pool of the scheme quic-lb, which has
no plan, FILE gets the server's part of its configurations, and the server mints
under the last of the file.

The plan of a sealed pool holds its mark keys. It is written with mode 0600,
and the keys are never shown.

With --json, one object is printed. Its keys: pool, plan_file, kind, revision,
changed, written, generations (number, slot, state, mark_bits, reserve, values,
retired_at) and spaces (owner, generation, state, rule, share, change), where
change is "new", "changed", "gone" or "".`,
		examples: []example{
			{"see what adding a server to the file would do", "mintmark plan -c mintmark.yaml --pool app --dry-run"},
			{"write the plan, then have the balancer take it", "mintmark plan -c mintmark.yaml --pool app && pkill -HUP mintmark"},
			{"a ticket key for nginx, of 80 bytes", "{ mintmark plan -c mintmark.yaml --pool app --mint a | xxd -r -p; openssl rand 64; } > ticket.key"},
			{"what a server of Go or Node.js mints", "mintmark plan -c mintmark.yaml --pool app --mint a --assignment a.json"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			var f planFlags
			fs.StringVar(&f.file, "c", "", "configuration `FILE`")
			fs.StringVar(&f.pool, "pool", "", "`POOL` to plan; not needed when the file has one planned pool")
			fs.BoolVar(&f.dryRun, "dry-run", false, "show the plan and write nothing")
			fs.BoolVar(&f.open, "open-generation", false, "open a new generation")
			fs.BoolVar(&f.prepare, "prepare", false, "with --open-generation: route it, and mint the old one still")
			fs.BoolVar(&f.start, "start-minting", false, "let the prepared generation be minted")
			fs.Func("dead", "`OWNER` of whose retired space no ID is left; may be repeated", func(s string) error {
				f.dead = append(f.dead, idspace.Owner(s))
				return nil
			})
			fs.Func("dead-generation", "`NUMBER` of a generation of which no ID is left; may be repeated", func(s string) error {
				n, err := strconv.ParseUint(s, 10, 64)
				f.deadGenerations = append(f.deadGenerations, n)
				return err
			})
			fs.StringVar(&f.mint, "mint", "", "print a ticket key name for `OWNER`")
			fs.StringVar(&f.assignment, "assignment", "", "with --mint: put the mark into `FILE`, which the SDK reads")
			fs.BoolVar(&f.asJSON, "json", false, "print one JSON object")
			return func(_ context.Context, e *env, operands []string) error {
				if len(operands) > 0 {
					return usagef("plan takes no operands, got %s", quote(operands[0]))
				}
				return runPlan(e, f)
			}
		},
	}
}

type planFlags struct {
	file, pool, mint, assignment string
	dryRun, open, prepare, start bool
	asJSON                       bool
	dead                         []idspace.Owner
	deadGenerations              []uint64
}

func (f planFlags) check() error {
	changes := f.open || f.start || len(f.dead) > 0 || len(f.deadGenerations) > 0
	switch {
	case f.file == "":
		return usagef("plan needs a configuration file: -c FILE")
	case f.prepare && !f.open:
		return usagef("--prepare goes with --open-generation")
	case f.mint != "" && (changes || f.dryRun || f.asJSON):
		return usagef("--mint only prints: use it alone")
	case f.assignment != "" && f.mint == "":
		return usagef("--assignment goes with --mint OWNER")
	}
	return nil
}

func runPlan(e *env, f planFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	cfg, err := config.Load(f.file, config.Options{WithoutPlans: true})
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return refuse(e, f.file, problems)
	}
	if err != nil {
		return err
	}
	if quic, ok := quicLBPool(cfg, f.pool); ok && f.mint != "" {
		return assignQUICLB(e.stdout, cfg.Schemes[quic], quic, f)
	}
	pool, scheme, err := plannedPool(cfg, f.pool)
	if err != nil {
		return err
	}
	prev, err := readPlan(scheme.PlanFile)
	if err != nil {
		return err
	}
	if f.mint != "" {
		return mintMark(e.stdout, prev, pool.Name, f)
	}
	next, err := nextPlan(prev, f, pool, scheme)
	if err != nil {
		return planHint(err, f, pool.Name)
	}
	r := newPlanReport(pool.Name, scheme.PlanFile, prev, next)
	if r.Changed && !f.dryRun {
		if err := writeSecret(scheme.PlanFile, next.Encode()); err != nil {
			return fmt.Errorf("writing the plan: %w", err)
		}
		r.Written = true
	}
	if f.asJSON {
		return writeJSON(e.stdout, r)
	}
	return r.print(e.stdout)
}

// plannedPool finds the pool to plan: the one that is named, or the only one.
func plannedPool(cfg *config.Config, name string) (*route.PoolConfig, config.Scheme, error) {
	var found *route.PoolConfig
	var names []string
	for i := range cfg.Pools {
		p := &cfg.Pools[i]
		if cfg.Schemes[p.Name].PlanFile == "" {
			continue
		}
		names = append(names, string(p.Name))
		if name == string(p.Name) || name == "" {
			found = p
		}
	}
	switch {
	case len(names) == 0:
		return nil, config.Scheme{}, withHint(errors.New("no pool of the file is planned"),
			"give a pool `scheme: {kind: sealed}` and a `plan_file`")
	case name == "" && len(names) > 1:
		return nil, config.Scheme{}, usagef("several pools are planned: write --pool with one of %s", strings.Join(names, ", "))
	case found == nil:
		return nil, config.Scheme{}, usagef("%s is no planned pool of the file: write one of %s", quote(name), strings.Join(names, ", "))
	}
	return found, cfg.Schemes[found.Name], nil
}

// readPlan reads the last plan, nil if there is none yet.
func readPlan(path string) (*idspace.Plan, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no plan is what a new pool has
	}
	if err != nil {
		return nil, fmt.Errorf("reading the last plan: %w", err)
	}
	plan, err := idspace.ParsePlan(data)
	if err != nil {
		return nil, withHint(fmt.Errorf("reading the last plan, %s: %w", path, err),
			"restore it from a backup; without it nobody knows which IDs are taken")
	}
	return plan, nil
}

// nextPlan makes the change that the flags and the file ask for.
func nextPlan(prev *idspace.Plan, f planFlags, pool *route.PoolConfig, scheme config.Scheme) (*idspace.Plan, error) {
	c := idspace.Change{
		At: time.Now().UTC().Truncate(time.Second), SessionLifetime: pool.SessionLifetime,
		DeadOwners: f.dead, DeadGenerations: f.deadGenerations,
		Members: append([]idspace.Member{}, scheme.Members...), StartMinting: f.start,
	}
	kind := idspace.SchemeKind(scheme.Kind)
	if prev == nil {
		c.Scheme = &idspace.Scheme{Kind: kind}
	} else if prev.Kind() != kind {
		return nil, withHint(fmt.Errorf("the plan has the scheme %s and the file asks for %s", prev.Kind(), kind),
			"a pool keeps its scheme, or its old IDs would be lost: make another pool, or move the plan away and lose them")
	}
	if prev == nil || f.open {
		c.Open = &idspace.OpenGeneration{Prepared: f.prepare}
		if kind == idspace.SchemeSealed {
			c.Open.Key = sealed.NewKey()
		}
	}
	return idspace.NextPlan(prev, c)
}

// planHint says what to do about a plan that cannot be made.
func planHint(err error, f planFlags, pool route.PoolName) error {
	again := fmt.Sprintf("mintmark plan -c %s --pool %s", f.file, pool)
	if r, ok := errors.AsType[*idspace.ReserveError](err); ok && r.Kind != idspace.SchemeSealed {
		return withHint(err, "open a wider generation, old IDs are still routed: `%s --open-generation`", again)
	}
	if s, ok := errors.AsType[*idspace.SlotError](err); ok {
		return withHint(err, "when no session of generation %d is left: `%s --dead-generation %d`", s.Generation, again, s.Generation)
	}
	return err
}

// writeSecret replaces the file at path, all or nothing, readable for nobody
// else. When it returns nil, the file is on disk.
func writeSecret(path string, data []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when the rename worked
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// planReport is the JSON contract of `mintmark plan --json`.
type planReport struct {
	Pool        route.PoolName     `json:"pool"`
	PlanFile    string             `json:"plan_file"`
	Kind        idspace.SchemeKind `json:"kind"`
	Revision    uint64             `json:"revision"`
	Changed     bool               `json:"changed"`
	Written     bool               `json:"written"`
	Generations []planGeneration   `json:"generations"`
	Spaces      []planSpace        `json:"spaces"`
}

type planGeneration struct {
	Number    uint64                  `json:"number"`
	Slot      uint8                   `json:"slot"`
	State     idspace.GenerationState `json:"state"`
	MarkBits  int                     `json:"mark_bits"`
	Reserve   uint64                  `json:"reserve"` // values that belong to nobody
	Values    uint64                  `json:"values"`
	RetiredAt *time.Time              `json:"retired_at,omitempty"`
}

type planSpace struct {
	Owner      idspace.Owner      `json:"owner"` // "" for the reserve
	Generation uint64             `json:"generation"`
	State      idspace.SpaceState `json:"state"`
	Rule       string             `json:"rule"`
	Share      string             `json:"share"` // of all IDs, as a fraction
	Change     string             `json:"change"`
}

func newPlanReport(pool route.PoolName, file string, prev, next *idspace.Plan) planReport {
	r := planReport{Pool: pool, PlanFile: file, Kind: next.Kind(), Revision: next.Revision(), Changed: true}
	before := map[string]idspace.Space{} // by rule and generation
	if prev != nil {
		r.Changed = prev.Revision() != next.Revision()
		for _, s := range prev.Spaces() {
			before[spaceKey(s)] = s
		}
	}
	for _, g := range next.Generations() {
		pg := planGeneration{Number: g.Number, Slot: g.Slot, State: g.State, MarkBits: g.MarkBits, Reserve: g.Reserve, Values: g.Values}
		if !g.RetiredAt.IsZero() {
			pg.RetiredAt = &g.RetiredAt
		}
		r.Generations = append(r.Generations, pg)
	}
	for _, s := range next.Spaces() {
		change := "new"
		if old, ok := before[spaceKey(s)]; ok {
			delete(before, spaceKey(s))
			if change = "changed"; old.State == s.State && old.Owner == s.Owner {
				change = ""
			}
		}
		r.Spaces = append(r.Spaces, newPlanSpace(s, change))
	}
	if prev != nil {
		for _, s := range prev.Spaces() { // in their order, which a map has not
			if _, gone := before[spaceKey(s)]; gone && s.State != idspace.SpaceReserve {
				r.Spaces = append(r.Spaces, newPlanSpace(s, "gone"))
			}
		}
	}
	return r
}

func spaceKey(s idspace.Space) string {
	return fmt.Sprintf("%d %s %s", s.Generation, s.Owner, s.Rule)
}

func newPlanSpace(s idspace.Space, change string) planSpace {
	return planSpace{
		Owner: s.Owner, Generation: s.Generation, State: s.State, Rule: s.Rule,
		Share: s.Share.RatString(), Change: change,
	}
}

func (r planReport) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "pool %s, scheme %s, revision %d\n", r.Pool, r.Kind, r.Revision)
	for _, g := range r.Generations {
		fmt.Fprintf(&b, "generation %d, slot %d: %s, marks of %d bits, %d of %d values in reserve\n",
			g.Number, g.Slot, g.State, g.MarkBits, g.Reserve, g.Values)
	}
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\n\towner\tgeneration\tstate\tspace\tshare")
	signs := map[string]string{"new": "+", "changed": "~", "gone": "-"}
	for _, s := range r.Spaces {
		owner := string(s.Owner)
		if owner == "" {
			owner = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%s\t%s\n", signs[s.Change], owner, s.Generation, s.State, s.Rule, s.Share)
	}
	_ = tw.Flush() // into memory
	switch {
	case r.Written:
		fmt.Fprintf(&b, "\nwritten to %s; reload every balancer before a server mints by it\n", r.PlanFile)
	case r.Changed:
		fmt.Fprintf(&b, "\nnothing was written\n")
	default:
		fmt.Fprintf(&b, "\nnothing changes\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
