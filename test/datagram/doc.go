// Package datagram holds the end-to-end tests of QUIC and DTLS: real clients
// and real servers that mint connection IDs with package mint, and the mintmark
// command between them. Servers of quic-go and pion run inside the test; the
// balancers, and clients and servers of others, are processes of their own.
//
// It is a module of its own because of what it needs (quic-go, pion), which
// nobody who builds Mintmark does. See package lab for how processes are
// started.
package datagram
