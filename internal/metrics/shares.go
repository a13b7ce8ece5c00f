package metrics

import "github.com/mintmark/mintmark/internal/route"

// sharesOf returns the share of each owner of p's spaces.
func sharesOf(p *route.Pool) []ownerShare {
	_ = p
	return nil
}
