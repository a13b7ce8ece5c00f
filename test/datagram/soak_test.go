//go:build soak

package datagram

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var duration = flag.Duration("duration", time.Minute, "how long connections move")

const (
	soakConnections = 400
	soakRounds      = 8
)

// Many more connections move, and much more often, in one algorithm after the
// other, until the time is over.
func TestSoakQUIC(t *testing.T) {
	schemes := []scheme{plaintext, singlePass, fourPass}
	for end, i := time.Now().Add(*duration), 0; time.Now().Before(end) && !t.Failed(); i++ {
		from, to := schemes[i%3], schemes[(i+1)%3]
		t.Run(fmt.Sprintf("%d, %s", i, from.name), func(t *testing.T) {
			move(t, from, to, soakConnections, soakRounds)
		})
	}
}
