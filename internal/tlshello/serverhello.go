package tlshello

import (
	"encoding/binary"
	"time"
)

// Handshake messages of a server (RFC 8446, B.3, and RFC 5077, 3.3).
const (
	messageHelloRequest     = 0
	messageServerHello      = 2
	messageNewSessionTicket = 4
)

// helloRetryRandom marks a ServerHello as a HelloRetryRequest: SHA-256 of that
// word (RFC 8446, 4.1.3).
const helloRetryRandom = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" +
	"\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"

// beginMessage looks at a message's type, decides by it where that is enough,
// and says how much of the message to keep.
func (o *Observer) beginMessage(kind byte) {
	if kind == messageHelloRequest {
		return // RFC 5246, 7.4.1.1: may come at any time and says nothing
	}
	switch o.state {
	case stateHello:
		if kind != messageServerHello || o.messageLeft > maxServerHello {
			o.state = stateDone
			return
		}
		o.keep = maxServerHello
	case stateNext:
		// RFC 5077, 3.4: a server that resumes goes on with NewSessionTicket
		// or ChangeCipherSpec. Any other message belongs to a full handshake:
		// Certificate, or ServerKeyExchange when the server is anonymous.
		if kind == messageNewSessionTicket {
			o.settle(OutcomeAccepted)
		} else {
			o.settle(OutcomeDeclined)
		}
	default:
	}
	if o.state == stateTicket && kind == messageNewSessionTicket {
		o.keep = ticketHeaderLen + MaxTicket
	}
}

// endMessage reads a message that is complete, or as much of it as was kept.
func (o *Observer) endMessage(kind byte, message []byte) {
	switch {
	case kind == messageServerHello && o.state == stateHello:
		var sh serverHello
		if !sh.parse(message) {
			o.state = stateDone
			return
		}
		o.serverHello(&sh)
	case kind == messageNewSessionTicket && o.state == stateTicket:
		o.newSessionTicket(message)
		o.state = stateDone
	}
}

// A serverHello is what of a ServerHello matters here (RFC 8446, 4.1.3).
type serverHello struct {
	version   int // of supported_versions, or else legacy_version
	retry     bool
	sessionID []byte
	accepts   bool // pre_shared_key present
	selected  int
	ticket    bool // session_ticket present
}

// parse reports whether the message is well-formed as far as it is read.
func (sh *serverHello) parse(message []byte) bool {
	r := reader(message)
	var ok bool
	if sh.version, ok = r.u16(); !ok {
		return false
	}
	random, ok := r.take(32)
	if !ok {
		return false
	}
	if sh.sessionID, ok = r.vec8(); !ok || len(sh.sessionID) > 32 {
		return false
	}
	if _, ok = r.take(3); !ok { // cipher suite and compression method
		return false
	}
	sh.retry = string(random) == helloRetryRandom
	if len(r) == 0 {
		return true // RFC 5246, 7.4.1.3: the extension block may be missing
	}
	extensions, ok := r.vec16()
	if !ok || len(r) != 0 {
		return false
	}
	return sh.parseExtensions(extensions)
}

func (sh *serverHello) parseExtensions(r reader) bool {
	for len(r) > 0 {
		kind, ok := r.u16()
		if !ok {
			return false
		}
		data, ok := r.vec16()
		if !ok {
			return false
		}
		switch kind {
		case extSupportedVersions, extPreSharedKey:
			if len(data) != 2 {
				return false
			}
			v := int(binary.BigEndian.Uint16(data))
			if kind == extSupportedVersions {
				sh.version = v
			} else {
				sh.accepts, sh.selected = true, v
			}
		case extSessionTicket:
			sh.ticket = true
		}
	}
	return true
}

// serverHello draws the conclusions.
func (o *Observer) serverHello(sh *serverHello) {
	switch {
	case sh.version>>8 != 3:
		o.state = stateDone // a version that we know nothing about
	case sh.version >= versionTLS13 && sh.retry && !o.retried:
		o.retried = true // the client says hello again, then comes the true answer
	case sh.version >= versionTLS13 && !sh.retry:
		o.serverHello13(sh)
	case sh.version < versionTLS13 && !o.retried:
		o.serverHello12(sh)
	default:
		o.state = stateDone // a second HelloRetryRequest, or another version after one
	}
}

// serverHello13 reads an answer of TLS 1.3. Whatever the server mints comes
// encrypted, so there is nothing to wait for.
func (o *Observer) serverHello13(sh *serverHello) {
	o.version = uint16(sh.version)
	switch {
	case sh.accepts && sh.selected < o.identities:
		o.selected = sh.selected
		o.settle(OutcomeAccepted)
	case sh.accepts:
		o.settle(OutcomeUnknown) // accepts what was not offered: RFC 8446, 4.2.11, has the client give up
	case o.identities > 0 || o.offersTicket:
		o.settle(OutcomeDeclined)
	default:
		o.settle(OutcomeNone)
	}
}

// serverHello12 reads an answer of TLS 1.2 or before.
func (o *Observer) serverHello12(sh *serverHello) {
	o.version = uint16(sh.version)
	o.ticketComing = sh.ticket
	echoed := o.offeredID.len > 0 && string(sh.sessionID) == string(o.offeredID.view())
	if !echoed {
		o.assignedID.set(sh.sessionID)
	}
	switch {
	case echoed:
		// RFC 5246, 7.4.1.3, by ID; RFC 5077, 3.4, by ticket.
		o.settle(OutcomeAccepted)
	case o.offersTicket && o.offeredID.len == 0:
		// There was nothing to echo. A session_id in the answer says nothing
		// either: some servers assign one beside a ticket.
		o.state = stateNext
	case o.offersTicket || o.offeredID.len > 0 || o.identities > 0:
		o.settle(OutcomeDeclined)
	default:
		o.settle(OutcomeNone)
	}
}

// ticketHeaderLen is the length of a NewSessionTicket without its ticket:
// lifetime hint and length.
const ticketHeaderLen = 4 + 2

// newSessionTicket reads RFC 5077, 3.3.
func (o *Observer) newSessionTicket(message []byte) {
	if len(message) < ticketHeaderLen {
		return
	}
	length := int(binary.BigEndian.Uint16(message[4:]))
	// An empty ticket says that there is none after all (RFC 5077, 3.3).
	if length == 0 || ticketHeaderLen+length != uint24(o.messageHead[1:]) {
		return
	}
	o.ticketLen = length
	o.ticketLife = time.Duration(binary.BigEndian.Uint32(message)) * time.Second
	ticket := message[ticketHeaderLen:][:min(length, MaxTicket)]
	// message may be kept itself: then this moves the ticket to its front.
	o.kept = append(o.kept[:0], ticket...)
}
