// Package xconnect turns on extended CONNECT (RFC 8441) in net/http's HTTP/2
// server, for programs that import it.
//
// Go has it, and keeps it off unless GODEBUG has http2xconnect=1 in the
// environment when the process starts (go.dev/issue/71128): browsers would
// begin to use it with servers whose WebSocket library does not know it. A
// proxy that translates it has no such library, and nobody should have to set
// an environment variable for it.
//
// net/http reads the variable while it is initialised. Packages are initialised
// in the order of their import paths as soon as what they import is (Go
// specification, "Program initialization"), so this one, which needs os alone,
// comes before. A test fails if that ever changes. An operator who sets
// http2xconnect=0 keeps it off.
package xconnect

import (
	"os"
	"strings"
)

const setting = "http2xconnect"

func init() { //nolint:gochecknoinits // it must run before the initialisation of net/http; see the package comment
	debug := os.Getenv("GODEBUG")
	if strings.Contains(debug, setting) {
		return
	}
	if debug != "" {
		debug += ","
	}
	_ = os.Setenv("GODEBUG", debug+setting+"=1") // it fails only for names and values that cannot be
}
