//go:build !race

package rollout

import "testing"

const defaultSchedules = 100_000

// Each rule of the order is needed: without it some schedule fails.
func TestBrokenOrders(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]order{
		"a server may mint before balancers can route":      {grantBeforeAcks: true},
		"a space is dead as soon as its server stopped":     {forgetAtStop: true},
		"balancers that have not reported saw nothing":      {trustSilence: true},
		"a balancer's restart hides nothing that it saw":    {trustRestarts: true},
		"a server has stopped as soon as it was told to":    {stopUnproven: true},
		"a group's key is used before its partners hold it": {encryptBeforeHold: true},
		"a balancer that starts is not waited for":          {ignoreStarting: true},
		"what a removed server had is free at once":         {reuseRemovedAtOnce: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if seed, broken := runAll(1, *schedules, o); !broken {
				t.Errorf("%d schedules without this rule, and none failed", *schedules)
			} else {
				_, why := run(seed, o, false)
				t.Logf("seed %d: %s", seed, why)
			}
		})
	}
}
