package metrics

import "github.com/mintmark/mintmark/internal/route"

// sharesOf returns the share of each owner of p's spaces: in the field where
// it is largest, when spaces are bound to fields.
func sharesOf(p *route.Pool) []ownerShare {
	t := p.Config.Table
	if t == nil {
		return nil
	}
	shares := t.LargestShare()
	out := make([]ownerShare, 0, len(shares.Owners))
	for i, r := range shares.Owners {
		f, _ := r.Float64() // the nearest is near enough for a graph
		out = append(out, ownerShare{pool: p.Config.Name, owner: string(t.Owners()[i]), share: f})
	}
	return out
}
