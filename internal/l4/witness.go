package l4

import (
	"bytes"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// A Witness is told what servers were seen to do with session IDs. Its methods
// are called by the goroutines of connections: they must be quick and safe for
// concurrent use, and must not keep an ID that they are given.
type Witness interface {
	// Watches reports whether anything in p is of interest. It is asked once
	// for each pool when settings are made; the others cost nothing.
	Watches(p *route.Pool) bool
	// Resumed says whether s accepted the session that a client offered. The
	// ID is the one that the server answered to, nil when it is not known or
	// when by is mint or group, because then it says nothing new.
	Resumed(s *route.Server, by route.RoutedBy, field idspace.Field, id []byte, accepted bool)
	// Minted says that s assigned an ID in the clear: the session_id of TLS
	// 1.2 and before, or a ticket of TLS 1.2. whole is false when only the
	// beginning of a long ticket was kept.
	Minted(s *route.Server, field idspace.Field, id []byte, whole bool)
}

// remember keeps a copy of what the client offered, of which the server's
// answer will say which one it took. The hello itself is gone by then.
func (r *record) remember(candidates []route.Candidate) {
	switch r.routedBy {
	case route.ByMint, route.ByGroup:
		return
	default:
	}
	for _, o := range candidates {
		o.ID = bytes.Clone(o.ID) // alloc: for IDs without an owner in watched pools
		r.offered = append(r.offered, o)
	}
}

// answered returns the offer that the server answered to.
func (r *record) answered(o *tlshello.Observer) route.Candidate {
	if i, ok := o.SelectedIdentity(); ok {
		if i < len(r.offered) && r.offered[i].Field == idspace.FieldPSK {
			return r.offered[i]
		}
		return route.Candidate{Field: idspace.FieldPSK}
	}
	// TLS 1.2 and before: the ticket if there was one, else the session ID
	// (RFC 5077, 3.4). They stand behind the PSK identities, in this order.
	for _, x := range r.offered {
		if x.Field != idspace.FieldPSK {
			return x
		}
	}
	return route.Candidate{}
}

// testify tells the witness what the observer has seen.
func (r *record) testify(o *tlshello.Observer) {
	w, s := r.settings.Witness, r.server
	switch r.outcome {
	case tlshello.OutcomeAccepted, tlshello.OutcomeDeclined:
		x := r.answered(o)
		w.Resumed(s, r.routedBy, x.Field, x.ID, r.outcome == tlshello.OutcomeAccepted)
	default:
	}
	ticket, length := o.AssignedTicket()
	switch {
	case len(ticket) > 0:
		// Beside a ticket, a session ID is decoration (GnuTLS, Java).
		w.Minted(s, idspace.FieldTicket, ticket, len(ticket) == length)
	case len(o.AssignedSessionID()) > 0:
		w.Minted(s, idspace.FieldSessionID, o.AssignedSessionID(), true)
	}
}
