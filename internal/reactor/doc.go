// Package reactor runs event loops: a few goroutines that in effect have a
// thread each, wait for many sockets at once and call the handler of the one
// that is ready.
//
// A Group has a Loop for each core. A Loop owns the sockets that are watched
// on it, their timers, and everything that their handlers touch: handlers run
// on the loop, one after the other, and so need no locks. They must
// not wait for anything; whoever has to wait does so on a goroutine and comes
// back with Loop.Post.
//
// A handler is registered as a Slot, which names it to the kernel, and carries
// its one timer. Sockets are watched edge by edge (EPOLLET): an event says
// that something has come, and is not said again. A handler therefore
// remembers what it has not used up, and goes on with it in its next turn
// (Loop.Again) so that one busy socket does not keep the others waiting.
//
// System calls that cannot wait are made without telling the Go scheduler
// (sys_linux.go); only waiting for events does. It is worth a tenth of what a
// small message costs.
//
// Reactors exist on Linux; elsewhere New returns errors.ErrUnsupported.
package reactor
