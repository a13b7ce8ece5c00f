// Package dgram decides where datagrams go: QUIC, DTLS, and any UDP protocol that
// carries an ID at a known place. It opens no socket and reads no clock.
//
// # The decision
//
// A [Reader] finds the ID in a datagram. A [Decider] then goes through these steps,
// of which the first that applies decides; they are those of the QUIC-LB draft for a
// balancer that does not look into handshakes:
//
//  1. The ID has an owner that takes traffic: that server, whatever any flow says. A
//     client that moved, or whose address another client had before, comes home, and
//     so does one whose datagrams went through another balancer until now.
//  2. The client's addresses have a home, a server that an earlier datagram without
//     such an ID was sent to, and it takes traffic: that server. An ID whose owner
//     is down does not get here when the pool says when_owner_down: refuse.
//  3. The pool's rules and its policy, which is a hash of the client's address, so
//     that all balancers agree. The server becomes the home of these addresses.
//
// No step ever forgets a home because of an ID: whoever knows one valid ID could
// otherwise send it from forged addresses and tear other clients' handshakes apart.
//
// What opens a session carries no ID that a server minted: the first packets of a
// QUIC connection carry one that the client invented, DTLS handshakes carry none.
// Such datagrams are balanced also where unknown_ids says refuse; it applies to
// those that must carry a server's ID: short headers of QUIC, DTLS records with an
// ID, and the IDs of other protocols. A datagram that no endpoint of its protocol
// could read is refused, and counted by cause.
//
// A QUIC listener has one pool. Neither server names nor TLS tickets inside Initial
// packets are looked at: with post-quantum keys a ClientHello takes several packets,
// and they would have to be held back until it is whole.
//
// # Flows
//
// A [Flow] is what one client and one server send each other: a pair of addresses,
// and a server. It is to have a socket of its own towards the server, connected,
// because that tells clients apart for the server, brings its replies back to the
// right client, and reports ICMP errors of this server alone. A client has several
// flows when it talks to several servers from one address.
//
// Nothing depends on a flow for IDs that have an owner: it is found again or opened
// again wherever the next datagram arrives. [Flows] can therefore be bounded hard. A
// flow that is idle expires. Flows whose client never sent an ID with an owner, and
// that any flood of forged addresses can open, may only fill a part of the table, and
// when it is full they make room for the others.
//
// # What drives it
//
// The engine around this package is to have one worker for each core, with a socket
// of its own on the listener's address (SO_REUSEPORT) and its own Reader, Decider and
// Flows, so that nothing is locked: the kernel sends all datagrams of one pair of
// addresses to one worker. A worker receives in batches (recvmmsg, with GRO where the
// kernel has it), decides for each datagram of the batch with one reading of the
// clock, and sends in batches for each flow (sendmmsg, with GSO for runs of one size),
// so that the order within a flow stays as it was. The size of datagrams and their ECN
// bits are passed on in both directions. Errors of a flow's socket (ECONNREFUSED above
// all) are counted and end nothing: the server may be back with the next datagram.
//
// The settings of a listener change by a new Reader and a new Decider; Flows stay, as
// a flow is tied to the live state of its server, which outlives reloads.
package dgram
