package tlshello

// An Outcome says what the server made of an offered session.
type Outcome uint8

// The outcomes.
const (
	OutcomeUnknown  Outcome = iota // not yet known, or not to be known
	OutcomeNone                    // the client offered nothing to resume
	OutcomeAccepted                // the server resumed
	OutcomeDeclined                // the server did a full handshake
)

// An Observer watches what the server sends first and tells whether it
// accepted the offered session. It is fed the server's bytes in order, in
// pieces of any size, keeps a bounded amount, and never delays them.
type Observer struct{}

// Start makes o ready to watch the answer to h. It copies what it needs of h.
func (o *Observer) Start(h *Hello) {}

// Feed gives o the server's next bytes and reports whether the observer has
// seen all that it can; the bytes of the connection may be spliced from then on.
func (o *Observer) Feed(b []byte) (done bool) { return true }

// Outcome returns what is known so far.
func (o *Observer) Outcome() Outcome { return OutcomeUnknown }

// SelectedIdentity returns the index of the PSK that a TLS 1.3 server
// accepted, and false unless it accepted one.
func (o *Observer) SelectedIdentity() (int, bool) { return 0, false }
