package hellotest

import (
	"crypto/sha256"
	"encoding/binary"
)

// Handshake messages of a server (RFC 5246, A.4, and RFC 5077, 3.3).
const (
	MsgHelloRequest       = 0
	MsgServerHello        = 2
	MsgNewSessionTicket   = 4
	MsgCertificate        = 11
	MsgServerKeyExchange  = 12
	MsgCertificateRequest = 13
	MsgServerHelloDone    = 14
	MsgCertificateStatus  = 22
)

// ServerOptions say what a ServerHello says. The zero ServerOptions make the
// ServerHello of a TLS 1.2 full handshake without a session ID.
type ServerOptions struct {
	SessionID    []byte      // session_id, or legacy_session_id_echo
	Version      uint16      // of supported_versions: 0x0304; 0 writes no such extension
	Legacy       uint16      // legacy_version; 0 means 0x0303
	Accept       bool        // writes pre_shared_key with Selected
	Selected     uint16      // selected_identity
	Retry        bool        // a HelloRetryRequest
	Ticket       bool        // the empty session_ticket extension: a NewSessionTicket will come
	KeyShare     int         // bytes of a key_share extension's data, written first
	Extensions   []Extension // written last
	NoExtensions bool        // no extension block at all, as old servers do
}

// ServerHello returns the handshake message.
func ServerHello(o ServerOptions) []byte {
	var b builder
	if o.Legacy == 0 {
		o.Legacy = 0x0303
	}
	b.u16(o.Legacy)
	if o.Retry {
		// RFC 8446, 4.1.3: the random of a HelloRetryRequest is the hash of its name.
		random := sha256.Sum256([]byte("HelloRetryRequest"))
		b.raw(random[:])
	} else {
		b.raw(pattern(32, 0x71))
	}
	b.vec8(o.SessionID)
	b.u16(0x1301)
	b.u8(0)
	if o.NoExtensions {
		return message(MsgServerHello, b)
	}
	var e []byte
	if o.KeyShare > 0 {
		e = appendExtension(e, 51, pattern(o.KeyShare, 0x33))
	}
	if o.Accept {
		e = appendExtension(e, ExtPreSharedKey, binary.BigEndian.AppendUint16(nil, o.Selected))
	}
	if o.Version != 0 {
		e = appendExtension(e, ExtSupportedVersions, binary.BigEndian.AppendUint16(nil, o.Version))
	}
	if o.Ticket {
		e = appendExtension(e, ExtSessionTicket, nil)
	}
	for _, x := range o.Extensions {
		e = appendExtension(e, x.Type, x.Data)
	}
	b.vec16(e)
	return message(MsgServerHello, b)
}

// NewSessionTicket returns the handshake message of TLS 1.2 (RFC 5077, 3.3).
// The lifetime hint is in seconds.
func NewSessionTicket(lifetime uint32, ticket []byte) []byte {
	var b builder
	b.raw(binary.BigEndian.AppendUint32(nil, lifetime))
	b.vec16(ticket)
	return message(MsgNewSessionTicket, b)
}

// ServerMessage returns a handshake message of that type with n arbitrary
// bytes, for messages that are only passed over.
func ServerMessage(kind byte, n int) []byte { return message(kind, pattern(n, kind)) }

// ChangeCipherSpec returns the record.
func ChangeCipherSpec() []byte { return Record(TypeChangeCipherSpec, []byte{1}) }
