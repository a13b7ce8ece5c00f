package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/mint"
)

// mintMark prints a ticket key name of a server, or puts its mark into a file
// for the SDK.
func mintMark(w io.Writer, plan *idspace.Plan, pool route.PoolName, f planFlags) error {
	if plan == nil {
		return withHint(errors.New("there is no plan yet"), "run `mintmark plan -c %s` first", f.file)
	}
	a, err := plan.Mint(idspace.Owner(f.mint))
	if err != nil {
		var owners []string
		for _, m := range plan.Members() {
			owners = append(owners, string(m.Owner))
		}
		return withHint(err, "the members are %s", strings.Join(owners, ", "))
	}
	if f.assignment != "" {
		return writeAssignment(w, plan, a, pool, f.assignment)
	}
	name := a.NewKeyName()
	_, err = fmt.Fprintln(w, hex.EncodeToString(name[:]))
	return err
}

// writeAssignment brings the assignment of a server up to the plan.
func writeAssignment(w io.Writer, plan *idspace.Plan, a *idspace.Assignment, pool route.PoolName, path string) error {
	last, err := readAssignment(path)
	if err != nil {
		return err
	}
	owner := string(a.Owner)
	if last.Server != "" && (last.Server != owner || last.Pool != string(pool)) {
		return withHint(fmt.Errorf("%s is of server %s of pool %s", path, quote(last.Server), quote(last.Pool)),
			"write another FILE: two servers with one mark would get each other's sessions")
	}
	next := mint.Assignment{Version: plan.Revision(), Pool: string(pool), Server: owner, Keys: []mint.Key{newMintKey(a)}}
	for _, k := range last.Keys {
		switch {
		case uint64(k.Generation) == a.Generation:
			k.Mint = true
			next.Keys[0] = k
		case slices.ContainsFunc(plan.Generations(), func(g idspace.Generation) bool { return g.Number == uint64(k.Generation) }):
			k.Mint = false
			next.Keys = append(next.Keys, k)
		}
	}
	text, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return err
	}
	if err := writeSecret(path, append(text, '\n')); err != nil {
		return fmt.Errorf("writing the assignment: %w", err)
	}
	_, err = fmt.Fprintf(w, "written to %s: server %s of pool %s mints in generation %d\n", path, owner, pool, a.Generation)
	return err
}

// readAssignment reads what writeAssignment wrote before, if it did.
func readAssignment(path string) (mint.Assignment, error) {
	var a mint.Assignment
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		return a, fmt.Errorf("reading the last assignment: %w", err)
	}
	return a, nil
}

func newMintKey(a *idspace.Assignment) mint.Key {
	name := a.NewKeyName()
	k := mint.Key{Generation: uint32(a.Generation), Mint: true, Name: name[:], Text: a.NewText()} //nolint:gosec // generations are opened by hand
	if a.Kind == idspace.SchemeSealed {
		k.ServerNumber = uint32(a.Spaces[0].First) //nolint:gosec // a server number is below 2^16
		k.MarkKey = a.Key.Reveal()
	}
	return k
}
