// Package route decides where a message goes. The decision is one function,
// [Pool.Pick], over an immutable [Snapshot] of pools and the live state of
// their servers. Data planes call it once a connection, request or flow;
// `mintmark explain` calls [Pool.Explain], which decides in the same way and
// changes nothing.
//
// # The decision
//
// In order:
//
//  1. An ID whose owner takes traffic: that owner ([ByMint]). When a group
//     owns the space, the group's policy chooses among its members.
//  2. Its owner does not take traffic: the pool's [WhenOwnerDown].
//  3. An ID on the learned list, when the pool has one ([ByLearned]).
//  4. No ID, or an ID of nobody: the pool's [UnknownIDs], and then the pool's
//     [Policy] ([ByBalance]).
//
// A message may carry several candidates for the ID. [Facts.Precedence] says
// which of them decides. For TLS ([PreferLive]) it is the first whose owner
// takes traffic, and if there is none, the first that has an owner. For HTTP
// ([PreferFirst]) it is the first that has an owner, alive or not.
//
// # Words that are easy to confuse
//
// A server takes traffic when it is up, its drain (if any) has not timed out,
// and connecting to it has not just failed ([Facts.Exclude]). IDs go to such a
// server.
//
// A server takes new traffic when, besides that, its weight is not zero and it
// is not draining. Only steps 2 and 4 ask for that: a weight of zero and a
// drain end new traffic and never unmap an ID.
//
// A server at its connection limit still takes traffic, so that the IDs it
// minted are refused (cause [CauseLimit]) and not spilled: a client can choose
// the ID that it sends, and must not be able to push one server's load onto
// another, or past a server's limit. Where there is a choice (a group's
// members, new traffic) servers at their limit are skipped.
//
// # Drains in groups
//
// A stock server mints a new ticket under its own name at each resumption, so
// that a drain by itself would never end. A draining server that is a member
// of a group therefore loses the IDs of its own space that renew themselves,
// TLS tickets (fields psk and ticket), at once to a partner that is not
// draining: the partner accepts them and renews them under its own name. A TLS
// 1.2 session ID is echoed, not renewed, when it is resumed; moving it would
// end nothing, and it stays with its owner. When no partner can take a ticket,
// the owner still does.
//
// # Early data
//
// Early data (0-RTT) can be replayed, and what stops a replay is known to one
// server only. It is bound to the first PSK identity (RFC 8446, 4.2.10), so a
// hello that carries it is never sent to a server that could accept that
// identity without being its owner: neither to a partner in the owner's group,
// nor through a second identity. It goes to the owner; if that is away, to a
// server outside the group, which completes the handshake and declines the
// early data; else it is refused (cause [CauseEarlyData]). A draining owner
// gets early data itself, even in a group. A space that a whole group owns has
// several servers that are its owner, and the group's policy chooses as ever.
// [EarlyAllow] turns all of this off.
//
// Trying another server after a failed connect keeps to these rules, because
// the failed server is merely an owner that is away: no byte of the hello had
// been sent to it.
//
// # Hash
//
// The policy hash is described at [Hash]; it gives the same answer on every
// replica that has the same servers and weights, whatever is up.
package route
