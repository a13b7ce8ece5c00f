//go:build race

package rollout

// Under the race detector a schedule takes ten times as long, and races are
// found by few: `make test` runs all of them without it, besides.
const defaultSchedules = 3_000
