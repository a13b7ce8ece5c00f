// Package rollout decides in which order a planned pool changes, so that at
// each moment every balancer can route an ID before any server may mint it,
// and no space is forgotten or given to another before its last ID is dead.
//
// It is a pure state machine: Pool.Apply takes an event and returns the next
// state. It has no clock, no network, no randomness of its own and no
// goroutine; times and keys come in events. Whoever runs it keeps the state in
// a store, commits each step on the condition that nobody else took one, and
// tells balancers and servers what Routed and Assignment say. Events may come
// late, twice, or in another order: that costs time, never safety.
//
// # The life of a space
//
// A space is what one server owns in one generation.
//
//	prepared      it is in the plan, and balancers are told
//	acknowledged  every balancer has it on disk and live: the server may mint it
//	minting       the server said that it does, and was seen to
//	retiring      the server was given a later one, or has left the pool
//	dead          no ID of it is left
//	gone          it is out of the plan; its values may go to somebody else
//
// # What each step waits for
//
// A grant, the right to mint a space, is given when every known balancer has
// acknowledged a version of the routes that holds the space. A balancer is
// known from the moment that it may ask for routes, so one that is starting is
// waited for too. Grants are kept: a server that asks again gets the same key
// names, and rotates nothing.
//
// In a group, a server's new key is first given out for decrypting only, to
// all members; when all say that they hold it, its server encrypts with it.
//
// A server has stopped minting a space when its agent says, of an assignment
// that no longer lets it, that it mints other spaces only, that the processes
// with the old keys are gone, and that this was seen on the wire. A server
// that left the pool has stopped when every balancer has acknowledged routes
// without it: nothing reaches it any more.
//
// A space is dead when its server has stopped and no balancer has seen an ID
// of it for the session lifetime, where every balancer must have said so: one
// that has not reported is waited for, and one that restarted is taken to have
// seen an ID in the time for which it cannot tell.
//
// Each wait is visible (Pool.Status) with who is waited for, and can be
// overridden by name, after its cost was told.
package rollout
