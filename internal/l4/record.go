package l4

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// A record is what is known about a connection, whatever engine moves its
// bytes. It is owned by whoever does. There is one for each connection for as
// long as it lasts: what is needed only until it is forwarded stands in its
// opening.
type record struct {
	proxy    *Proxy
	settings *settings
	serial   uint64 // the second half of its connID
	accepted time.Time

	client      netip.AddrPort // as the socket, or a trusted peer's PROXY header, says
	sni         string         // for the access log
	pool        *route.Pool
	poolMetrics *metrics.Pool
	server      *route.Server // nil until connected; a slot is taken on it
	routedBy    route.RoutedBy
	field       idspace.Field
	stripe      metrics.Stripe // where it counts
	forwarded   bool
	watched     bool // by the witness
	outcome     tlshello.Outcome
	cause       route.Cause        // why refused, or why routed so
	refusal     *tlshello.Error    // what is wrong with the hello; nil: nothing
	observer    *tlshello.Observer // watches the server's first flight; nil: nobody does
	offered     []route.Candidate  // copies, for the witness; nil in pools that are not watched
}

func newRecord(p *Proxy, st *settings, serial uint64, accepted time.Time, peer netip.AddrPort, stripe metrics.Stripe) record {
	return record{proxy: p, settings: st, serial: serial, accepted: accepted, client: peer, stripe: stripe}
}

func (r *record) id() connID { return connID{r.proxy.epoch, r.serial} }

// choose finds a pool for what o has read, and prepares the decision.
func (r *record) choose(o *opening, now time.Time) route.Cause {
	r.pool = r.settings.Listener.PoolFor(o.hello.SNI)
	if r.pool == nil {
		return route.CauseNoRoute
	}
	h := r.settings.pools[r.pool]
	r.poolMetrics, r.watched = h.metrics, h.watched
	o.consider(r.client, now)
	return ""
}

// pick picks a server and takes a slot on it. It returns why there is none.
func (r *record) pick(o *opening) route.Cause {
	d := r.pool.Pick(o.candidates, &o.facts)
	r.server, r.routedBy, r.field, r.cause = d.Server, d.RoutedBy, d.Field, d.Cause
	o.skipped = d.Skipped
	switch {
	case d.Server != nil:
		return ""
	case len(o.facts.Exclude) > 0:
		return CauseConnectFailed // the reason why there was no better choice
	}
	return d.Cause
}

// passOver gives the server back that could not be connected to. It returns
// why no other may be tried.
func (r *record) passOver(o *opening, err error) route.Cause {
	s := r.server
	r.proxy.log.Debug("connecting to a server", "pool", string(r.pool.Config.Name), "server", string(s.Config.Name), "error", err)
	o.facts.Exclude = append(o.facts.Exclude, s)
	r.server = nil
	s.Release()
	switch {
	case r.proxy.running.Err() != nil:
		return CauseShutdown
	case len(o.facts.Exclude) == MaxAttempts:
		return CauseConnectFailed
	}
	return ""
}

// decided counts the decision, once it is final; cause says why the connection
// is refused.
func (r *record) decided(o *opening, cause route.Cause) {
	by := r.routedBy
	if cause != "" {
		by = route.ByRefused
	}
	r.poolMetrics.Decided(r.stripe, r.field, by)
	if n := o.hello.SkippedPSK; n > 0 {
		r.poolMetrics.Skipped(idspace.FieldPSK, n)
	}
	if o.skipped > 0 {
		r.poolMetrics.Skipped(idspace.FieldSessionID, o.skipped)
	}
}

// watchesAnswer reports whether the server's first flight is of interest.
func (r *record) watchesAnswer(o *opening) bool {
	return r.settings.TLS && (len(o.candidates) > 0 || r.watched)
}

// observe lets an observer watch the server's first flight.
func (r *record) observe(first *opening) {
	o, ok := r.proxy.observers.Get().(*tlshello.Observer)
	if !ok {
		o = new(tlshello.Observer) // alloc: kept for the next
	}
	if r.watched {
		r.remember(first.candidates)
		o.StartMints(&first.hello)
	} else {
		o.Start(&first.hello)
	}
	r.observer = o
}

// observed takes down what the observer has found out, and lets it go. Only
// for an ID that chose the server it is counted: that another server declines
// it says nothing about the routing.
func (r *record) observed() {
	o := r.observer
	if o == nil {
		return
	}
	r.observer = nil
	r.outcome = o.Outcome()
	if r.watched {
		r.testify(o)
	}
	r.proxy.observers.Put(o)
	switch r.outcome {
	case tlshello.OutcomeAccepted, tlshello.OutcomeDeclined:
	default:
		return
	}
	switch by := r.routedBy; by {
	case route.ByMint, route.ByGroup, route.ByLearned:
		r.poolMetrics.Resumed(r.server, by, r.outcome == tlshello.OutcomeAccepted)
	default:
	}
}

// show lets the observer see what the client was sent.
func (r *record) show(b []byte) {
	if r.observer.Feed(b) {
		r.observed()
	}
}

// panicked counts and logs a panic that ends the connection.
func (r *record) panicked(v any, stack []byte) {
	r.proxy.metrics.Panics.Inc()
	r.proxy.log.Error("closing a connection because of a fault in this program, please report it",
		"panic", fmt.Sprint(v), "stack", string(stack))
}

// An ending is how a connection ended.
type ending struct {
	how     end
	in, out int64 // bytes from and to the client
}

// finish counts the end of the connection, gives its slot back and writes its
// line.
func (r *record) finish(e ending) {
	if r.server != nil {
		r.server.Release()
	}
	m := r.proxy.metrics
	switch {
	case r.forwarded:
		m.Ended(r.stripe, e.how.String())
	case e.how == endShutdown:
		r.cause = CauseShutdown
		m.Refused(string(r.cause))
	case e.how == endPanic:
		r.cause = CausePanic
		m.Refused(string(r.cause))
	}
	// The log of today, not the one that was open when the connection began:
	// that one may be closed.
	if st := r.proxy.settings.Load(); st.AccessLog != nil {
		r.log(st, e)
	}
}

func (r *record) log(st *settings, end ending) {
	e := entry{
		id: r.id(), accepted: r.accepted, duration: time.Since(r.accepted),
		listener: st.Listener.Name, client: r.client, sni: r.sni,
		field: r.field, routedBy: r.routedBy,
		outcome: r.outcome,
		in:      end.in, out: end.out,
		cause: r.cause, end: end.how,
	}
	if r.pool != nil {
		e.pool = r.pool.Config.Name
	}
	if r.server != nil {
		e.server = r.server.Config.Name
	} else {
		e.routedBy = route.ByRefused
	}
	buf := r.proxy.buffers.get(firstBuffer)
	defer r.proxy.buffers.put(buf)
	if _, err := st.AccessLog.Write(e.appendTo(buf.b[:0], st.json)); err != nil {
		r.proxy.metrics.LogDropped.Inc()
	}
}
