package l4

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// An opening is what a connection needs only until it is forwarded. Openings
// are used again: they are large, and every connection needs one for a
// moment.
type opening struct {
	pool       *sync.Pool
	intake     intake
	parser     tlshello.Parser
	hello      tlshello.Hello
	candidates []route.Candidate
	facts      route.Facts
	dialed     netip.AddrPort // what the client connected to, as a PROXY header says; zero: none said
	skipped    int            // random session IDs that the decision did not look up

	candidateSpace [tlshello.MaxIdentities + 2]route.Candidate
	excludeSpace   [MaxAttempts]*route.Server
}

// openings keeps openings for the next connection.
type openings struct{ pool sync.Pool }

func (p *openings) get(r *record) *opening {
	o, ok := p.pool.Get().(*opening)
	if !ok {
		o = &opening{pool: &p.pool} // alloc: kept for the next
	}
	o.intake = intake{buffers: &r.proxy.buffers, budget: &r.proxy.budget}
	return o
}

// release gives back o and all that it holds.
func (o *opening) release() {
	o.intake.release()
	o.parser.Reset()
	*o = opening{pool: o.pool, parser: o.parser}
	o.pool.Put(o)
}

// receive reads what has to be read before a server is chosen: a PROXY header
// from a trusted peer, and the hello. Both together have one deadline.
func (c *conn) receive(first *opening) route.Cause {
	st := c.settings
	fromProxy := st.trusts(c.peer.Addr())
	if !fromProxy && !st.TLS {
		return ""
	}
	if err := c.from.conn.SetReadDeadline(c.accepted.Add(st.HelloTimeout)); err != nil {
		return CauseClientClosed // the only reason for which it fails
	}
	if fromProxy {
		if cause := c.receiveProxyHeader(first); cause != "" {
			return cause
		}
	}
	if st.TLS {
		if cause := c.receiveHello(first); cause != "" {
			return cause
		}
	}
	if err := c.from.conn.SetReadDeadline(time.Time{}); err != nil {
		return CauseClientClosed
	}
	return ""
}

func (c *conn) receiveProxyHeader(first *opening) route.Cause {
	for {
		if done, cause := c.takeProxyHeader(first); done {
			return cause
		}
		if cause := c.readMore(&first.intake); cause != "" {
			return cause
		}
	}
}

func (c *conn) receiveHello(first *opening) route.Cause {
	for {
		if done, cause := c.takeHello(first, time.Now()); done {
			return cause
		}
		if cause := c.readMore(&first.intake); cause != "" {
			return cause
		}
	}
}

// takeProxyHeader reads the PROXY header from what has arrived. done is false
// when more is needed.
func (r *record) takeProxyHeader(first *opening) (done bool, cause route.Cause) {
	in := &first.intake
	n, err := proxyHeaderLength(in.bytes())
	if errors.Is(err, errNeedMoreHeader) {
		return false, ""
	}
	var client, dialed netip.AddrPort
	ok := false
	if err == nil {
		client, dialed, ok, err = parseProxyHeader(in.bytes()[:n])
	}
	if err != nil {
		r.proxy.log.Debug("reading a PROXY header", "peer", r.client, "error", err)
		return true, CauseProxyHeader
	}
	if ok {
		r.client, first.dialed = client, dialed
	}
	in.use(n)
	return true, ""
}

// takeHello parses the hello in what has arrived. done is false when more is
// needed.
func (r *record) takeHello(first *opening, now time.Time) (done bool, cause route.Cause) {
	in := &first.intake
	if len(in.bytes()) == 0 {
		return false, ""
	}
	if err := first.parser.Parse(in.bytes(), &first.hello); err != nil {
		if refusal, ok := errors.AsType[*tlshello.Error](err); ok {
			r.refusal = refusal
			return true, route.Cause(refusal.Cause)
		}
		return false, ""
	}
	// A hello in several records was copied into the parser's own buffer.
	if n := first.hello.Length; n > firstRecord(in.bytes()) && !in.charge(n) {
		return true, CauseHelloBudget
	}
	m := r.proxy.metrics
	m.HelloSeconds.Observe(r.stripe, now.Sub(r.accepted).Seconds())
	m.HelloBytes.Observe(r.stripe, float64(first.hello.Length))
	if r.settings.AccessLog != nil {
		r.sni = string(first.hello.SNI[:min(len(first.hello.SNI), maxAuthority)]) // alloc: outlives the hello
	}
	return true, ""
}

// firstRecord returns the length of the TLS record that b begins with.
func firstRecord(b []byte) int {
	const header = 5 // type, version, length (RFC 8446, 5.1)
	return header + int(binary.BigEndian.Uint16(b[header-2:]))
}

// readMore waits for more bytes, and says why there are none.
func (c *conn) readMore(in *intake) route.Cause {
	if err := in.more(&c.from); err != nil {
		return c.whyNoMore(err)
	}
	return ""
}

// whyNoMore says why no more bytes come from the client.
func (r *record) whyNoMore(err error) route.Cause {
	switch {
	case errors.Is(err, errHelloBudget):
		return CauseHelloBudget
	case errors.Is(err, errIntakeFull):
		return route.Cause(tlshello.CauseTooLarge) // the parser says so earlier
	case errors.Is(err, os.ErrDeadlineExceeded):
		return CauseHelloTimeout
	case errors.Is(err, io.EOF):
		return CauseClientClosed
	case r.proxy.running.Err() != nil:
		return CauseShutdown
	}
	r.proxy.log.Debug("reading from a client", "client", r.client, "error", err)
	return CauseClientClosed
}

// consider prepares the decision: the candidates in the order in which they
// are looked up, and the facts.
func (o *opening) consider(client netip.AddrPort, now time.Time) {
	h := &o.hello
	o.candidates = o.candidateSpace[:0]
	for _, id := range h.Identities[:h.NumPSK] {
		o.candidates = append(o.candidates, route.Candidate{Field: idspace.FieldPSK, ID: id})
	}
	if len(h.Ticket) > 0 {
		o.candidates = append(o.candidates, route.Candidate{Field: idspace.FieldTicket, ID: h.Ticket})
	}
	if len(h.SessionID) > 0 {
		o.candidates = append(o.candidates, route.Candidate{Field: idspace.FieldSessionID, ID: h.SessionID})
	}
	o.facts = route.Facts{
		Client:      client,
		OffersTLS13: h.OffersTLS13,
		HasTicket:   len(h.Ticket) > 0 || h.NumPSK > 0,
		EarlyData:   h.EarlyData,
		Now:         now,
		Exclude:     o.excludeSpace[:0],
	}
}
