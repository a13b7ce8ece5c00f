// Package quiclb mints and reads QUIC connection IDs that say which server they
// belong to, as the draft "QUIC-LB: Generating Routable QUIC Connection IDs"
// (draft-ietf-quic-load-balancers) describes it. A server puts its server ID into
// every connection ID that it gives out; a balancer that shares its configuration
// finds the server by looking at the connection ID alone, whatever address the
// client has now and whichever balancer forwarded the datagram before.
//
// The package speaks the wire format of the drafts -19 to -22, which is one. Older
// ones are not compatible: their encrypted IDs decode to wrong server IDs. It is
// a codec and no more: it does not parse packets, and knows neither servers nor
// addresses. It imports the standard library only.
//
// # Use
//
// A [Config] is what servers and balancers agree on: a codepoint, two lengths, and
// perhaps a key. A server makes a [Minter] of it and of its own [ServerID]. A
// balancer makes a [Set] of all configurations that are live, and calls
// [Set.Decode]. Everything here is safe for concurrent use, and neither minting
// nor decoding allocates.
//
// # Format
//
//	first octet    bits 7 to 5: configuration, 0b111 for none
//	               bits 4 to 0: how many octets follow, or random
//	block          server ID and nonce, S+N octets:
//	               without a key    as they are           ([Plaintext])
//	               with, S+N = 16   AES-128 of them       ([SinglePass])
//	               with, otherwise  a Feistel network     ([FourPass])
//	extra octets   whatever the server likes, ignored here
//
// A connection ID that is longer than its configuration demands is good: extra
// octets are allowed, and in a short header, which does not say how long its
// connection ID is, what follows is the rest of the datagram. Decode therefore
// does not compare the length with what the first octet says, which would be wrong
// for servers that use those five bits otherwise or do not count their extra
// octets; [Set.Explain] shows both.
//
// # Rotation
//
// Configurations are changed one codepoint at a time. Balancers get the new one
// first and keep the old one. Then the servers get it, mint with nothing else, and
// make their clients retire the IDs of the old one. A codepoint is free for another
// configuration once no connection uses an ID of the old one.
//
// # Security
//
// What follows is to be known before a configuration is chosen.
//
//   - Routing is not authentication. There is no tag in a connection ID, so every
//     one that is long enough decodes to some server ID. Whoever uses a Set must
//     look the server ID up in a list of live servers and take no address from it.
//     A random ID is routed by accident with a probability of (live configurations
//     / 8) x (live server IDs / 2^(8S)): longer server IDs make that rare.
//   - A plaintext configuration lets everybody who watches count and tell apart the
//     servers, link the connection IDs of one client across its addresses, and aim
//     traffic at one server. A server that has only such a configuration should not
//     give out connection IDs beyond the first.
//   - A server ID must not be used both in the clear and encrypted: whoever saw it
//     in the clear knows part of the plaintext of the encrypted ones. Configurations
//     that are alike in this may share server IDs.
//   - A nonce that repeats under one key and server ID repeats the connection ID,
//     and with it the stateless reset token. Random nonces collide after about
//     2^(4N) of them, 65,000 with 4 octets, so a [Minter] counts from a random
//     start, and says when it has come round. Two Minters of one server under one
//     configuration will meet: give them parts of one [NonceRange].
//   - Four passes of a Feistel network hide the server ID from observers, but it is
//     known that they can be told from a random permutation by somebody with enough
//     known plaintext. Single pass has no such weakness: S+N = 16 is the strongest
//     choice, and the fastest encrypted one.
//   - A key is shared by all servers of a configuration. Each of them, and whoever
//     takes one over, can read and mint the IDs of the others. Tenants who distrust
//     each other need configurations of their own, at the price that the codepoint
//     shows which tenant it is.
//   - A server that loses its state answers with stateless resets. The token of an
//     ID must not be obtainable by sending the ID to another server: that holds as
//     long as an ID leads to the same server for as long as the connection lives.
//     Stateless reset keys should be replaced together with the configuration of
//     the codepoint, since new IDs can equal old ones.
package quiclb
