// Package sealed makes and reads sealed marks: parts of a session ID that say
// which server minted it, and that only the holder of a mark key can read or
// make.
//
// # The mark
//
// A mark is one block of AES-128 under the mark key of a generation:
//
//	AES-128(mark key, server number (32 bits) | zero (32 bits) | nonce (64 bits))
//
// with all numbers big-endian. The zero bits tell a mark from other bytes: a
// random value passes for a mark of a known server with a chance of
// (servers / 2^64) a generation. The nonce is a counter from a random start,
// so that an [Encoder] never makes the same mark twice.
//
// A mark stands at the head of an ID, in one of two forms:
//
//   - raw, [Size] bytes: exactly the key name of a TLS session ticket (RFC
//     5077, section 4), which is also the head of a TLS 1.3 PSK identity of a
//     stock server; or the first half of a TLS session ID;
//   - text, [TextSize] characters of base64url without padding (RFC 4648,
//     section 5): the head of a cookie, header or other text ID. The
//     application's own random characters follow. There is one text for a
//     mark: the 22nd character carries two bits of it and four that must be
//     zero, and anything else is no mark.
//
// # Reading marks
//
// A [Set] holds the mark keys of up to [MaxGenerations] live generations and
// tries each in turn. A generation is told by its key alone: nothing in a mark
// is in the clear.
//
// # What it protects, and what it does not
//
// Without the key, nobody can tell whose a mark is, whether two different
// marks are of one server, how many servers there are, or make a mark that a
// balancer would follow.
//
// A mark routes; it does not authenticate. Whoever sees one can send it again,
// or put it before bytes of his own, and the message goes to the server that
// the mark names. That server must not believe an ID because it arrived: an
// ID needs its own secret part (a ticket is encrypted and authenticated by the
// server; a text ID needs at least 128 random bits of the application's).
//
// A mark that is used for many IDs links them. Each ID that an application
// makes with [Encoder.Next] has a mark of its own, but a stock TLS server puts
// one key name on all tickets of one ticket key: an observer can link these
// until that key rotates, as he can with any stock server.
//
// A mark key that leaks lets others aim at servers and tell them apart; it
// opens no session. It is meant for balancers and for servers that mint
// per-ID marks, and is never logged: see [Key].
package sealed
