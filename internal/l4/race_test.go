//go:build race

package l4_test

// raceEnabled: the race detector makes sync.Pool forget at random, so that
// what allocates nothing allocates now and then.
const raceEnabled = true
