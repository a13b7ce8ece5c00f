package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/mint"
)

// quicLBPool finds the pool of the scheme quic-lb that is meant: the one that is
// named, or the only one in a file without planned pools.
func quicLBPool(cfg *config.Config, name string) (pool route.PoolName, ok bool) {
	for i := range cfg.Pools {
		p := cfg.Pools[i].Name
		scheme := cfg.Schemes[p]
		switch {
		case name == string(p):
			return p, scheme.QUICLB != nil
		case name == "" && scheme.PlanFile != "":
			return "", false
		case name == "" && scheme.QUICLB != nil:
			if ok {
				return "", false
			}
			pool, ok = p, true
		}
	}
	return pool, ok
}

// assignQUICLB writes what a server of a quic-lb pool mints. It mints under the
// last configuration of the file: one that is added at the end goes to the
// balancers first, and to the servers by this.
func assignQUICLB(w io.Writer, scheme config.Scheme, pool route.PoolName, f planFlags) error {
	if f.assignment == "" {
		return usagef("servers of the pool %s have no ticket key names: write --assignment FILE", quote(string(pool)))
	}
	ids := scheme.ServerIDs[route.ServerName(f.mint)]
	if len(ids) == 0 {
		return withHint(fmt.Errorf("the pool %s has no server %s with a server ID", quote(string(pool)), quote(f.mint)), "give it one in the file")
	}
	a := mint.Assignment{Pool: string(pool), Server: f.mint}
	for _, number := range slices.Backward(scheme.QUICLBOrder) {
		i := slices.IndexFunc(ids, func(d quiclb.Decoded) bool { return d.Config == number })
		switch {
		case i >= 0:
			a.Keys = append(a.Keys, mint.Key{
				Generation: uint32(number), Mint: len(a.Keys) == 0,
				QUICLB: &mint.QUICLB{Config: scheme.QUICLB.Codec(number).Config(), ServerID: ids[i].ServerID},
			})
		case len(a.Keys) == 0:
			return withHint(errors.New("the server has no ID under the last configuration"), "give it one, as in server_ids: {%d: ...}", number)
		}
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	if err := writeSecret(f.assignment, append(text, '\n')); err != nil {
		return fmt.Errorf("writing the assignment: %w", err)
	}
	_, err = fmt.Fprintf(w, "written to %s: server %s of pool %s mints under configuration %d\n",
		f.assignment, f.mint, pool, a.Keys[0].Generation)
	return err
}
