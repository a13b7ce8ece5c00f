// Package tlshello reads the ClientHello of a TLS connection, and watches
// the server's first flight, without terminating TLS.
package tlshello

import "errors"

// MaxHello is the largest ClientHello accepted, records included.
const MaxHello = 64 << 10

// MaxIdentities is how many PSK identities are looked at.
const MaxIdentities = 8

// ErrNeedMore says that the bytes so far are a proper beginning of a hello.
var ErrNeedMore = errors.New("tlshello: need more bytes")

// A Cause says why bytes are not an acceptable hello. Its names label
// mintmark_refused_total.
type Cause string

// The causes. The label is what metrics and logs print.
const (
	CauseNotTLS   Cause = "not_tls"   // the first bytes are not a TLS handshake record
	CauseTooLarge Cause = "too_large" // longer than MaxHello
	CauseBadHello Cause = "bad_hello" // malformed
)

// An Error is a refusal of a hello.
type Error struct {
	Cause  Cause
	Detail string
}

func (e *Error) Error() string { return "tlshello: " + string(e.Cause) + ": " + e.Detail }

// A Hello is what a ClientHello says. Its slices are views into the bytes
// given to Parser.Parse, or into the Parser's own buffer when the hello was
// spread over several records; they are valid until either changes.
type Hello struct {
	SessionID   []byte                // legacy_session_id, possibly empty
	Ticket      []byte                // session_ticket extension's data, possibly empty
	HasTicket   bool                  // session_ticket extension present (even empty)
	Identities  [MaxIdentities][]byte // PSK identities, in order
	NumPSK      int                   // how many of Identities are set
	SkippedPSK  int                   // further identities, not looked at
	SNI         []byte                // host_name, possibly empty; lower case is not forced
	ALPN        []byte                // the ProtocolNameList, undecoded; see ALPNProtocols
	MaxVersion  uint16                // highest version offered (0x0304 for TLS 1.3), GREASE ignored
	OffersTLS13 bool
	EarlyData   bool // early_data extension present
	Length      int  // bytes of input that the hello's records span
}

// A Parser parses one ClientHello incrementally. The zero Parser is ready
// for use. It is not safe for concurrent use.
type Parser struct{}

// Parse reads buf, which holds all bytes received so far: each call passes
// the same bytes as the one before with more appended (the backing array may
// move). It returns nil when the hello is complete, ErrNeedMore, or *Error.
func (p *Parser) Parse(buf []byte, h *Hello) error { return ErrNeedMore }

// Reset makes p ready for another hello and keeps its buffer.
func (p *Parser) Reset() {}

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

// AppendAlert appends a fatal TLS alert record with the description given
// (RFC 8446, 6) to b.
func AppendAlert(b []byte, description byte) []byte {
	return append(b, 0x15, 0x03, 0x03, 0x00, 0x02, 0x02, description)
}
