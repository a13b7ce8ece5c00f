//go:build !race

package lab

// raceEnabled says whether the test was built with the race detector.
const raceEnabled = false
