package agent

import (
	"context"
	"math/rand/v2"
	"time"
)

// Bounds of the pause after the control plane was lost. A fleet of agents
// comes back spread over the longer one.
const (
	shortPause = 200 * time.Millisecond
	longPause  = 10 * time.Second
)

// jittered returns a pause around d.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// wait waits for d, and reports whether ctx is still on.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
