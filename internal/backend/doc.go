// Package backend keeps the live state of servers: it checks their health,
// resolves their names and connects to them. It does not decide which server
// gets a message, which is package route's business; it writes what route
// reads, the State of a route.Server.
//
// # Up and down
//
// A server is up until it is proven otherwise. Two kinds of evidence count:
//
//   - Health checks. The first check of a server decides at once, so that a
//     start does not send clients to dead servers for as long as it takes to
//     count to Fall. After that it takes Fall failures in a row to bring a
//     server down and Rise successes in a row to bring it back.
//   - Clients' connects. When Fall of them in a row have failed, the server is
//     down until checks bring it back. This happens within the time of a few
//     connects instead of a few intervals, and it is all the evidence there is
//     in a pool without checks; there the Monitor connects to a server that is
//     down, and only then, and one success brings it back.
//
// A server that is down is asked again soon, then at growing distances up to
// the interval. A failure whose cause is this machine (no descriptor, no port,
// no memory) says nothing about the server and never counts: it would
// otherwise bring down all servers at once.
//
// # Checks
//
// A tcp check connects. A tls check shakes hands too. It does not verify the
// certificate, on purpose: it asks whether a TLS server answers, and clients,
// whose connections the balancer passes through unopened, verify for
// themselves whose it is. The balancer knows neither the names nor the roots
// that they trust. A server that demands a client certificate has answered.
// A quic check sends a packet of a reserved version, which every QUIC server
// answers with Version Negotiation; a dtls check sends a ClientHello, which every
// DTLS server answers, if with an alert. Both are sent again when nothing comes,
// and neither leaves state on the server.
// When servers of a pool expect a PROXY header they get one that says the
// connection is the balancer's own.
//
// # Names
//
// A DNS name is resolved when its server appears and every ResolveInterval
// afterwards. All its addresses belong to the one server: a connect tries them
// in turn, beginning with the one that last worked. When a name stops
// resolving the last addresses stay in use. New addresses change nothing about
// which IDs the server owns, nor about its being up or down.
package backend
