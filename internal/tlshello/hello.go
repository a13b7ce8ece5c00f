package tlshello

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// MaxIdentities is how many PSK identities are looked at. Clients send one
// or two; it stops a hello of thousands from buying thousands of look-ups.
const MaxIdentities = 8

// maxHostName is the longest host_name accepted. DNS allows no longer name
// (RFC 1035, 3.1), and the name ends up in logs.
const maxHostName = 255

// The extensions that are read. All are below 64: see parseExtensions.
const (
	extServerName        = 0  // RFC 6066, 3
	extALPN              = 16 // RFC 7301, 3.1
	extSessionTicket     = 35 // RFC 5077, 3.2
	extPreSharedKey      = 41 // RFC 8446, 4.2.11
	extEarlyData         = 42 // RFC 8446, 4.2.10
	extSupportedVersions = 43 // RFC 8446, 4.2.1

	extensionsRead = 1<<extServerName | 1<<extALPN | 1<<extSessionTicket |
		1<<extPreSharedKey | 1<<extEarlyData | 1<<extSupportedVersions
)

const (
	versionTLS12 = 0x0303
	versionTLS13 = 0x0304
)

// A Hello is what a ClientHello says. Its slices are views into the bytes
// given to Parser.Parse, or into the Parser's own buffer when the hello was
// spread over several records; they are valid until either changes.
type Hello struct {
	SessionID   []byte                // legacy_session_id, up to 32 bytes, possibly empty
	Ticket      []byte                // session_ticket extension's data, possibly empty
	HasTicket   bool                  // session_ticket extension present (even empty)
	Identities  [MaxIdentities][]byte // PSK identities, in order; none is empty
	NumPSK      int                   // how many of Identities are set
	SkippedPSK  int                   // further identities, not looked at
	SNI         []byte                // host_name, up to 255 bytes, possibly empty; lower case is not forced
	ALPN        []byte                // the ProtocolNameList without its length, undecoded; see ALPNProtocols
	MaxVersion  uint16                // highest version offered (0x0304 for TLS 1.3), GREASE ignored
	OffersTLS13 bool                  // TLS 1.3 or later is among the versions offered
	EarlyData   bool                  // early_data extension present
	Length      int                   // bytes of input that the hello's records span
}

// ALPNProtocols returns the protocol names of the ALPN extension in the
// client's order of preference, as views like the other fields of h.
func (h *Hello) ALPNProtocols() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for names := reader(h.ALPN); len(names) > 0; {
			name, ok := names.vec8()
			if !ok || !yield(name) {
				return
			}
		}
	}
}

// ParseMessage parses a ClientHello that stands alone, without records, as
// QUIC carries it and as people paste it. Like Parser.Parse it returns nil,
// ErrNeedMore or *Error, and fills h with views into message; h.Length is the
// length of the message. What follows the message is not looked at.
func ParseMessage(message []byte, h *Hello) error {
	if len(message) >= 1 && message[0] != messageClientHello {
		return errType
	}
	if len(message) < messageHeaderLen {
		return ErrNeedMore
	}
	length := messageHeaderLen + uint24(message[1:])
	if length > MaxHello {
		return errTooLong
	}
	if len(message) < length {
		return ErrNeedMore
	}
	if refusal := parseBody(message[messageHeaderLen:length], h); refusal != nil {
		return refusal
	}
	h.Length = length
	return nil
}

// parseBody parses a complete ClientHello (RFC 8446, 4.1.2) after its
// handshake header.
func parseBody(body []byte, h *Hello) *Error {
	*h = Hello{}
	r := reader(body)
	version, ok := r.u16()
	if !ok {
		return errTruncated
	}
	if _, ok = r.take(32); !ok { // random
		return errTruncated
	}
	if h.SessionID, ok = r.vec8(); !ok {
		return errTruncated
	}
	if len(h.SessionID) > 32 {
		return errSessionID
	}
	suites, ok := r.vec16()
	if !ok {
		return errTruncated
	}
	if len(suites) == 0 || len(suites)%2 != 0 {
		return errCipherSuites
	}
	compression, ok := r.vec8()
	if !ok {
		return errTruncated
	}
	if len(compression) == 0 {
		return errCompression
	}
	// RFC 8446, 4.2.1: without supported_versions nothing above TLS 1.2 is
	// agreed on, whatever legacy_version says.
	h.MaxVersion = uint16(min(version, versionTLS12))
	if len(r) == 0 {
		return nil // RFC 5246, 7.4.1.2: the whole block may be missing
	}
	extensions, ok := r.vec16()
	if !ok || len(r) != 0 {
		return errExtensions
	}
	return parseExtensions(extensions, h)
}

// parseExtensions and the two loops over ALPN names and identities below run
// up to 32,000 times for one hello, so they slice by hand: a reader, which
// keeps its rest in memory, takes five times as long.
func parseExtensions(r []byte, h *Hello) *Error {
	const headerLen = 4 // type, length
	var seen uint64
	for len(r) > 0 {
		if len(r) < headerLen {
			return errExtensions
		}
		kind := binary.BigEndian.Uint16(r)
		end := headerLen + int(binary.BigEndian.Uint16(r[2:]))
		if end > len(r) {
			return errExtensions
		}
		data := r[headerLen:end:end]
		r = r[end:]
		if kind >= 64 || extensionsRead&(1<<kind) == 0 {
			continue
		}
		// RFC 8446, 4.2, forbids any extension twice. Of those that are read
		// the server might take the other one; the rest is its own affair.
		if seen&(1<<kind) != 0 {
			return errDuplicate
		}
		seen |= 1 << kind

		var refusal *Error
		switch kind {
		case extServerName:
			refusal = h.parseServerName(data)
		case extALPN:
			refusal = h.parseALPN(data)
		case extSessionTicket:
			h.Ticket, h.HasTicket = data, true
		case extEarlyData:
			h.EarlyData = true
			if len(data) != 0 {
				refusal = errEarlyData
			}
		case extSupportedVersions:
			refusal = h.parseVersions(data)
		case extPreSharedKey:
			refusal = h.parsePreSharedKey(data)
			if len(r) != 0 {
				refusal = errPSKNotLast // RFC 8446, 4.2.11: servers MUST check
			}
		}
		if refusal != nil {
			return refusal
		}
	}
	return nil
}

// parseServerName reads RFC 6066, 3. Name types other than host_name are
// passed over; all of them begin with a 16-bit length.
func (h *Hello) parseServerName(data reader) *Error {
	list, ok := data.vec16()
	if !ok || len(data) != 0 || len(list) == 0 {
		return errServerName
	}
	for r := reader(list); len(r) > 0; {
		kind, ok := r.u8()
		if !ok {
			return errServerName
		}
		name, ok := r.vec16()
		if !ok || len(name) == 0 {
			return errServerName
		}
		if kind != 0 {
			continue
		}
		if h.SNI != nil {
			return errTwoNames // RFC 6066, 3: forbidden; and which one would the server take?
		}
		// A server in C would see a name with a zero byte end there.
		if len(name) > maxHostName || bytes.IndexByte(name, 0) >= 0 {
			return errHostName
		}
		h.SNI = name
	}
	return nil
}

// parseALPN reads RFC 7301, 3.1, and checks that ALPNProtocols can rely on it.
func (h *Hello) parseALPN(data reader) *Error {
	list, ok := data.vec16()
	if !ok || len(data) != 0 || len(list) == 0 {
		return errALPN
	}
	for r := list; len(r) > 0; {
		end := 1 + int(r[0])
		if end == 1 || end > len(r) {
			return errALPN
		}
		r = r[end:]
	}
	h.ALPN = list
	return nil
}

// parseVersions reads RFC 8446, 4.2.1. Only versions of TLS (0x03..) count;
// that leaves out GREASE (RFC 8701, 2: 0x?a?a) and the drafts of TLS 1.3 (0x7f..).
func (h *Hello) parseVersions(data reader) *Error {
	list, ok := data.vec8()
	if !ok || len(data) != 0 || len(list) == 0 || len(list)%2 != 0 {
		return errVersions
	}
	h.MaxVersion = 0 // legacy_version does not count any more
	for r := reader(list); len(r) > 0; {
		v, _ := r.u16()
		if v>>8 == 3 {
			h.MaxVersion = max(h.MaxVersion, uint16(v))
		}
	}
	h.OffersTLS13 = h.MaxVersion >= versionTLS13
	return nil
}

// parsePreSharedKey reads RFC 8446, 4.2.11. All identities are walked, which
// takes about two nanoseconds each, but only the first are handed out. The
// binders are bound to the identities by cryptography that only the server
// can check; here they are passed over as one vector.
func (h *Hello) parsePreSharedKey(data reader) *Error {
	const (
		lenLen     = 2
		ageLen     = 4      // obfuscated_ticket_age
		minBinders = 1 + 32 // one PskBinderEntry
	)
	identities, ok := data.vec16()
	if !ok || len(identities) == 0 {
		return errPreSharedKey
	}
	binders, ok := data.vec16()
	if !ok || len(data) != 0 || len(binders) < minBinders {
		return errPreSharedKey
	}
	count := 0
	for r := identities; len(r) > 0; count++ {
		if len(r) < lenLen {
			return errPreSharedKey
		}
		end := lenLen + int(binary.BigEndian.Uint16(r))
		if end == lenLen || end+ageLen > len(r) {
			return errPreSharedKey
		}
		if count < MaxIdentities {
			h.Identities[count] = r[lenLen:end:end]
		}
		r = r[end+ageLen:]
	}
	h.NumPSK = min(count, MaxIdentities)
	h.SkippedPSK = count - h.NumPSK
	return nil
}
