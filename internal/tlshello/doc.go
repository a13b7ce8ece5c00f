// Package tlshello reads the ClientHello of a TLS connection, and watches
// the server's first flight, without terminating TLS.
//
// A session ID can stand in three places of a hello, and a client may fill
// all three at once: the identities of pre_shared_key (TLS 1.3; RFC 8446,
// 4.2.11), the session_ticket extension (RFC 5077), and session_id (RFC 5246,
// 7.4.1.2). The [Parser] hands all of them out as views into the received
// bytes; what they mean is for others to say. The [Observer] then tells from
// the server's answer, which begins in the clear in every version of TLS,
// whether the session was resumed.
//
// What the package is not: it has no keys, checks no cryptography, does no
// I/O, and does not judge what the server can judge itself. It refuses what
// is malformed, and what a server might read differently from us, because
// then a connection would go where its ID does not belong;
// docs/adr/0007-hello-strictness.md says where that line runs.
//
// # Invariants
//
//   - Every proper prefix of a hello that parses is answered with
//     [ErrNeedMore], however it is cut; what can be refused at its first
//     bytes (an HTTP request, a hello announced too long) is refused there.
//   - At [MaxHello] bytes of input the answer is never ErrNeedMore.
//   - Total work is linear in the input, even when Parse is called once for
//     each byte: record headers are walked once, the message is read once.
//   - A hello in one record, as all clients known to us send it, is not copied
//     and costs no allocation. One spread over records is gathered once, when
//     it is complete, so a slow client makes the Parser hold nothing.
//   - The Observer keeps at most a few KiB and gives up at a named bound.
//
// Parser and Observer are made to be reused; neither is safe for concurrent
// use. The package is called by the layer-4 proxy for every connection and by
// the explain command. Package hellotest builds hellos for tests.
package tlshello
