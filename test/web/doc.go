// Package web holds the end-to-end tests of HTTP.
//
// Application session IDs: stock clients and servers (the MCP Go SDK,
// Socket.IO, express-session, Tomcat, scs and a server of chained response
// IDs), each time through two balancers of which one is killed and started
// again in the middle. What they all hold: no request ever reaches a server
// that does not know its session. The same clients through a listener whose
// pool has no rule are the control, and fail.
//
// The wire: h2spec, and a corpus of messages that two readers could take in two
// ways (testdata/smuggling), of which the balancer must make one interpretation
// or a refusal.
package web
