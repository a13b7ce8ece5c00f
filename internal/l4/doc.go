// Package l4 forwards TCP connections, TLS among them, without terminating
// anything: it reads the hello, decides, connects and copies.
//
// # Life of a connection
//
//  1. Serve accepts it and starts a goroutine for it (proxy.go, serve.go).
//  2. A PROXY protocol header is read when the peer is in Settings.AcceptFrom,
//     and then required (proxyin.go).
//  3. For TLS the hello is read and parsed (intake.go, hello.go). Nothing but
//     bytes is kept until then; how many is bounded per connection and per
//     listener (budget.go).
//  4. The pool is chosen by SNI, package route picks the server, and the
//     Dialer connects to it; if connect() fails, another server is picked
//     where the pool's rules allow it (connect.go).
//  5. A PROXY protocol header if the pool asks for one (proxyout.go), and the
//     bytes read so far, are sent. Two flows, one for each direction, copy
//     until both have ended (relay.go, flow.go).
//  6. The end is counted and written to the access log (entry.go,
//     accesslog.go).
//
// A connection that is refused gets a TLS alert, not a bare reset (refuse.go).
//
// # Invariants
//
//   - Bytes are passed on unchanged and in order. A half-close is passed on as
//     a half-close, a reset as a reset; a connection that this package cuts
//     (idle, shutdown) is reset on both sides, so that nobody takes it for the
//     end of the stream.
//   - The slot that route.Pool.Pick takes on a server is released once.
//   - A connection that waits for its client holds no buffer as long as nothing
//     has arrived; one that is being forwarded and idle holds no buffer and no
//     pipe, only its two sockets and two goroutines.
//   - Nothing waits without a deadline: the hello has one, connecting has one,
//     forwarding has the idle timeout, a refusal lingers for a second.
//   - A panic ends one connection; it is counted and logged with its stack.
//
// # Two engines
//
// The portable engine needs nothing but goroutines: conn.go, relay.go, flow.go,
// endpoint.go, idle.go. On Linux it moves bulk data with splice. The engine for
// Linux works on the event loops of package reactor, when Config.Loops has some:
// loops_linux.go, loopconn_linux.go, loopconnect_linux.go, looprefuse_linux.go,
// looprelay_linux.go. It
// spends no goroutine on a connection, and about half a kilobyte. What is known
// of a connection, the decision, the counting and the log line, is the same for
// both (record.go, opening.go). Package l4test holds the behaviour that every
// engine must show.
package l4
