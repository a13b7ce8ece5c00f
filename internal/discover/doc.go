// Package discover reads the marks of stock servers off the servers, so that
// a pool is routed by ID although nobody configured anything on them.
//
// A server is probed at intervals and when something suggests that its name
// changed. What it shows is its name: the bytes that its tickets begin with
// (package probe). Names become rules, rules a table, the table a snapshot.
//
// Invariants:
//
//   - A name binds an ID to a server only on proof: the server itself showed
//     it to our probe, or it accepted two different tickets that begin with it.
//   - When two servers show one name, it is a claim, not a proof: only after a
//     ticket of one was accepted by the other do they own it together, as a
//     group. Until then, and if it fails, it is an alarm, and it belongs to the
//     one that had it long before the others, else to nobody.
//   - Old names are kept for the session lifetime: a server that keeps its old
//     key decrypts its old tickets. What that costs when it does not is one
//     full handshake.
//   - The number of names a server can have is bounded, and names of live
//     servers are never displaced by what clients send.
package discover
