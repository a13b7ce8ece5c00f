// Package soak keeps clients coming back for a long time while replicas are
// killed, reloaded and started again and servers are drained. `make soak` runs
// it; RESULTS.md has what it said last.
package soak
