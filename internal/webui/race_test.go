//go:build race

package webui

// raceEnabled: what is measured is slowed down by the race detector.
const raceEnabled = true
