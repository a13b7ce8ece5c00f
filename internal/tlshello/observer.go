// This file is hot: the server's first bytes of every observed connection
// pass through it. Budget: no allocation, nothing copied unless a message is
// spread over reads or records.

package tlshello

import (
	"encoding/binary"
	"time"
)

const (
	// MaxObserved is how many of the server's bytes an Observer looks at
	// before it gives up. The answer stands in the first kilobytes, except
	// that a NewSessionTicket of TLS 1.2 comes after the certificates. It
	// stops a server that never comes to the point from keeping a connection
	// away from the kernel's fast path.
	MaxObserved = 64 << 10

	// MaxTicket is how many bytes of a NewSessionTicket's ticket are kept.
	// Tickets have 100 to 700 bytes, a few thousand with a client's
	// certificates inside. It bounds what a server can make the balancer hold.
	MaxTicket = 4 << 10

	// maxServerHello is the longest ServerHello or HelloRetryRequest that is
	// read. With the largest post-quantum key share one has 1.7 KB; the rest
	// is for a HelloRetryRequest's cookie.
	maxServerHello = 4 << 10

	// maxCiphertextLen is the longest record of any version (RFC 5246, 6.2.3).
	maxCiphertextLen = 1<<14 + 2048
)

// An Outcome says what the server made of an offered session.
type Outcome uint8

// The outcomes.
const (
	// OutcomeUnknown: not yet known, or not to be known, because the server
	// refused, hung up, or said something that is not TLS.
	OutcomeUnknown Outcome = iota

	// OutcomeNone: the client offered nothing to resume in the version that
	// the server chose. That includes a session ID alone when the server chose
	// TLS 1.3: there it is a relic that clients invent and servers echo
	// (RFC 8446, 4.1.2), and no server could have resumed by it.
	OutcomeNone

	// OutcomeAccepted: the server resumed.
	OutcomeAccepted

	// OutcomeDeclined: the server did a full handshake. In TLS 1.2 and before
	// a session ID counts as offered even if the client invented it, because
	// that cannot be told.
	OutcomeDeclined
)

// String returns the outcome in lower case, as logs print it.
func (o Outcome) String() string {
	switch o {
	case OutcomeNone:
		return "none"
	case OutcomeAccepted:
		return "accepted"
	case OutcomeDeclined:
		return "declined"
	default:
		return "unknown"
	}
}

// An Observer watches what the server sends first and tells whether it
// accepted the offered session. It is fed the server's bytes in order, in
// pieces of any size, keeps a bounded amount, and never delays them.
//
// The zero Observer is done; Start makes it ready for a connection, and again
// for the next. It is not safe for concurrent use.
type Observer struct {
	// What the client offered: unchanged after Start.
	offeredID    sessionID
	offersTicket bool // one that is not empty
	identities   int
	wantMints    bool

	// Where in the server's bytes we are.
	state observerState
	seen  int // bytes

	recordHead    [recordHeaderLen]byte
	recordHeadLen int // bytes of recordHead that are there
	recordLeft    int // bytes of the record still to come

	messageHead    [messageHeaderLen]byte
	messageHeadLen int
	messageLeft    int
	keep           int    // bytes of the present message to keep
	kept           []byte // those, unless the message came in one piece; at the end the ticket

	// What has been found out.
	outcome      Outcome
	version      uint16
	retried      bool
	selected     int // the PSK accepted
	ticketComing bool
	assignedID   sessionID
	ticketLen    int
	ticketLife   time.Duration
}

// An observerState says what the Observer waits for.
type observerState uint8

const (
	stateDone   observerState = iota
	stateHello                // a ServerHello
	stateNext                 // the message after a ServerHello of TLS 1.2, which tells
	stateTicket               // nothing but a NewSessionTicket: the outcome is known
)

// A sessionID is the session_id of a hello, as a value.
type sessionID struct {
	bytes [32]byte
	len   int
}

func (id *sessionID) set(b []byte) { id.len = copy(id.bytes[:], b) }

func (id *sessionID) view() []byte { return id.bytes[:id.len] }

// Start makes o ready to watch the answer to h. It copies what it needs of h.
// If h offers nothing at all, o is done at once, with OutcomeNone.
func (o *Observer) Start(h *Hello) {
	*o = Observer{
		offersTicket: len(h.Ticket) > 0,
		identities:   h.NumPSK + h.SkippedPSK,
		state:        stateHello,
		kept:         o.kept[:0],
	}
	o.offeredID.set(h.SessionID)
	if o.offeredID.len == 0 && !o.offersTicket && o.identities == 0 {
		o.settle(OutcomeNone)
	}
}

// StartMints is Start for those who also want to know what the server mints
// in the clear: o goes on after the outcome, and without an offer, while a
// NewSessionTicket of TLS 1.2 may come. After a full handshake that is in the
// server's second flight, a round trip later. See AssignedSessionID and
// AssignedTicket.
func (o *Observer) StartMints(h *Hello) {
	o.Start(h)
	o.wantMints = true
	o.state = stateHello
	o.outcome = OutcomeUnknown
}

// Done reports whether the observer has seen all that it can.
func (o *Observer) Done() bool { return o.state == stateDone }

// Outcome returns what is known so far.
func (o *Observer) Outcome() Outcome { return o.outcome }

// SelectedIdentity returns the index of the PSK that a TLS 1.3 server
// accepted, and false unless it accepted one.
//
// The index counts all identities of the hello, the skipped ones too. It is
// not known when the hello offered several and was answered by a
// HelloRetryRequest, because the client may drop some of them from its second
// hello (RFC 8446, 4.1.2).
func (o *Observer) SelectedIdentity() (int, bool) {
	if o.outcome != OutcomeAccepted || o.version < versionTLS13 || o.retried && o.identities > 1 {
		return 0, false
	}
	return o.selected, true
}

// Version returns the version that the server chose (0x0304 for TLS 1.3), 0
// while it is not known.
func (o *Observer) Version() uint16 { return o.version }

// AssignedSessionID returns the session ID that a server of TLS 1.2 or before
// gave to the session, if it is not empty and not the client's. In TLS 1.3
// there is none, only an echo. It is a view, valid until o is started again.
//
// Servers also hand out IDs by which nothing can be resumed (nginx without a
// session cache), and IDs beside tickets (GnuTLS, Java).
func (o *Observer) AssignedSessionID() []byte { return o.assignedID.view() }

// AssignedTicket returns the ticket of the NewSessionTicket of TLS 1.2 (RFC
// 5077, 3.3), up to MaxTicket bytes of it, and the length that it had on the
// wire, 0 when none was seen. It is a view, valid until o is started again.
func (o *Observer) AssignedTicket() (ticket []byte, length int) {
	if o.ticketLen == 0 {
		return nil, 0
	}
	return o.kept, o.ticketLen
}

// TicketLifetime returns the lifetime hint of that ticket, 0 when the server
// gave none.
func (o *Observer) TicketLifetime() time.Duration { return o.ticketLife }

// Feed gives o the server's next bytes and reports whether the observer has
// seen all that it can; the bytes of the connection may be spliced from then on.
func (o *Observer) Feed(b []byte) (done bool) {
	if o.state == stateDone {
		return true
	}
	b = b[:min(len(b), MaxObserved-o.seen)]
	o.seen += len(b)
	for len(b) > 0 && o.state != stateDone {
		if o.recordLeft == 0 {
			n := copy(o.recordHead[o.recordHeadLen:], b)
			o.recordHeadLen += n
			b = b[n:]
			if o.recordHeadLen == recordHeaderLen {
				o.recordHeadLen = 0
				o.beginRecord()
			}
			continue
		}
		n := min(len(b), o.recordLeft)
		if o.recordHead[0] == recordHandshake {
			o.handshake(b[:n])
		}
		o.recordLeft -= n
		b = b[n:]
	}
	if o.seen == MaxObserved {
		o.state = stateDone
	}
	return o.state == stateDone
}

func (o *Observer) beginRecord() {
	o.recordLeft = int(binary.BigEndian.Uint16(o.recordHead[3:]))
	if o.recordHead[1] != 3 || o.recordLeft > maxCiphertextLen {
		o.state = stateDone // not TLS
		return
	}
	switch o.recordHead[0] {
	case recordHandshake:
	case recordAlert:
		// A warning, such as unrecognized_name, may come before the
		// ServerHello; after a fatal one nothing comes.
	case recordChangeCipherSpec:
		switch o.state {
		case stateNext:
			// RFC 5077, 3.4: resumed, and the ticket is not renewed.
			o.settle(OutcomeAccepted)
			o.state = stateDone
		case stateTicket:
			o.state = stateDone // what follows is encrypted
		default:
			// After a HelloRetryRequest, for middleboxes (RFC 8446, D.4).
		}
	default:
		o.state = stateDone
	}
}

// handshake takes the next bytes of the stream of handshake messages, whose
// boundaries have nothing to do with those of records.
func (o *Observer) handshake(b []byte) {
	for len(b) > 0 && o.state != stateDone {
		if o.messageHeadLen < messageHeaderLen {
			n := copy(o.messageHead[o.messageHeadLen:], b)
			o.messageHeadLen += n
			b = b[n:]
			if o.messageHeadLen < messageHeaderLen {
				return
			}
			o.messageLeft = uint24(o.messageHead[1:])
			o.kept = o.kept[:0]
			o.keep = 0
			o.beginMessage(o.messageHead[0])
		}
		n := min(len(b), o.messageLeft)
		message := b[:n]
		b = b[n:]
		o.messageLeft -= n
		if o.keep > 0 && (o.messageLeft > 0 || len(o.kept) > 0) {
			o.kept = append(o.kept, message[:min(n, o.keep-len(o.kept))]...)
			message = o.kept
		}
		if o.messageLeft == 0 {
			o.messageHeadLen = 0
			o.endMessage(o.messageHead[0], message)
		}
	}
}

// settle notes the outcome and decides whether to go on for a ticket.
func (o *Observer) settle(outcome Outcome) {
	o.outcome = outcome
	o.state = stateDone
	if o.wantMints && o.ticketComing {
		o.state = stateTicket
	}
}
