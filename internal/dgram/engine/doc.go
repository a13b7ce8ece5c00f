// Package engine forwards datagrams: it is the sockets around the decision that
// package dgram makes.
//
// # Workers
//
// The address of a listener is bound by a socket for every other processor
// (SO_REUSEPORT), and each has a worker: one goroutine that receives, decides and
// sends for it, in both directions, with flows of its own. The kernel sends all
// datagrams of one pair of addresses to one of the sockets, so workers share
// nothing but counters.
//
// On Linux a worker waits in an epoll of its own for the listening socket and the
// sockets of its flows. What has come it takes in batches (recvmmsg), and sends in
// batches (sendmmsg). A run of datagrams of one size to one place is one message
// to the kernel (UDP_SEGMENT), and such a run from a sender on the same machine,
// or from a network card, is one message from it (UDP_GRO). The order within a
// flow stays as it was, because nothing of a flow is ever handled by two workers
// or twice at a time.
//
// Elsewhere, and with engine: portable, a worker is a goroutine on the runtime's
// poller, with one more for each flow. It passes on neither ECN bits nor Don't
// Fragment.
//
// # What is kept
//
// Datagrams leave as they came: one for one, with their size, and with their ECN
// bits in both directions. Datagrams of QUIC are never fragmented (RFC 9000, 14).
//
// # What goes wrong
//
// No error of a socket ends a flow. A server that is not there answers with an ICMP
// error, which is counted (mintmark_datagram_errors_total); the next datagram may
// find it back. What cannot be sent is dropped and counted: that is what the
// network does, and what the protocols above are made for.
package engine
