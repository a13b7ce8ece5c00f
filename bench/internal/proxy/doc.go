// Package proxy starts Mintmark, HAProxy and nginx with configurations that ask
// the same of each. Everything listens on loopback.
package proxy
