// Package l7 is the data plane for HTTP: it ends the clients' connections,
// decides for each request by itself, and forwards it. A connection says
// nothing of where the next request on it goes.
//
// # Life of a request
//
//  1. net/http reads its header and refuses what is not HTTP (serve.go). A
//     PROXY protocol header is read before, from peers that must send one
//     (accept.go).
//  2. The pool is chosen by host and path (exchange.go).
//  3. The values that may be its ID are collected, in the order of
//     Settings.IDs (ids.go). A body is read only when an ID may be in it and
//     nothing before it has an owner, up to a limit, and memory for it is
//     bounded for each listener (body.go).
//  4. Package route picks the server. If connecting fails, and only then,
//     another is picked where the pool's rules allow it (forward.go).
//  5. The request is sent, its body streamed, and the response streamed back,
//     flushed at each piece (forward.go). WebSocket, other upgrades and
//     extended CONNECT become a tunnel (tunnel.go).
//  6. What the server assigns in the response is shown to the witness
//     (assigned.go).
//  7. Everything is counted, and a line is logged (entry.go).
//
// # What is changed in a request
//
// Hop-by-hop headers are removed (RFC 9110, 7.6.1), and forwarding headers are
// rewritten as Settings.Forwarded says. Path, query, Host and everything else
// go on as they came: IDs are read, never written.
//
// # What the package does not do
//
// It changes no cookie, adds none, caches nothing, and never sends a request
// that a server may have seen to another one: net/http's Transport repeats a
// request on the same server when it was never sent, or is idempotent and has
// no body.
package l7
