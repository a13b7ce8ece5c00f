// Package soak keeps clients coming back for a long time while replicas are
// killed, reloaded and started again, servers restart and are drained, and
// while one balancer that nobody kills bears loads of every kind at once. `make
// soak` runs it; bench/results/soak.txt has what it said last.
package soak
