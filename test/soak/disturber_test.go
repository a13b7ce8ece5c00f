//go:build soak

package soak

import (
	"testing"

	"github.com/mintmark/mintmark/test/lab"
)

// A disturber changes the configuration of a mix and restarts its servers, one
// thing at a time.
type disturber struct {
	mix                                   *mix
	step, generation                      int
	reloads, refused, listeners, restarts int
	talking, hauling                      *call // through the listener that will go
	haul                                  order
}

// do does the next thing. It is called in the test's goroutine.
func (d *disturber) do(t *testing.T) {
	m := d.mix
	step, round := d.step%6, d.step/6
	d.step++
	switch step {
	case 0:
		d.generation++
		m.reload(t, m.config(d.generation))
		d.reloads++
	case 1:
		if n := round / 2; round%2 == 0 {
			m.origins[n%(len(m.origins)-1)].restart(t)
		} else {
			m.pages[n%len(m.pages)].restart(t)
		}
		d.restarts++
	case 2:
		d.generation++
		m.reload(t, m.config(d.generation, m.extra.addr))
		d.reloads++
		d.settleIn()
	case 3:
		// The second opens the extra listener's socket again, and has to let
		// go of it.
		text := []string{"listeners: [", m.config(d.generation+1, m.extra.addr, lab.FreeAddr(t), m.taken)}[round%2]
		m.refuse(t, text)
		d.refused++
	case 4:
		h := m.houses[houseNames()[round%len(m.houses)]]
		h.away(h.Restart)
		d.restarts++
	case 5:
		d.leave(t)
	}
}

// settleIn opens connections that will outlive their listener.
func (d *disturber) settleIn() {
	m, rng := d.mix, random()
	d.haul = newBulk(rng, maxAborted)
	d.talking = m.call(m.extra, nil, order{Kind: forMessages})
	d.hauling = m.call(m.extra, nil, d.haul)
}

// leave removes the listener: what came through it goes on.
func (d *disturber) leave(t *testing.T) {
	m, rng := d.mix, random()
	d.generation++
	m.reload(t, m.config(d.generation))
	d.reloads++
	d.listeners++
	if c := d.hauling; c != nil {
		m.took(c, m.carry(c, d.haul, false, -1, false))
		_ = c.Close()
	}
	if c := d.talking; c != nil {
		err := c.say(rng, m.pattern)
		if err == nil {
			err = c.ended()
		}
		m.took(c, err)
		_ = c.Close()
	}
	d.talking, d.hauling = nil, nil
}

// end takes everything back.
func (d *disturber) end(t *testing.T) {
	if d.talking != nil || d.hauling != nil {
		d.leave(t)
	}
	d.mix.reload(t, d.mix.config(0))
}

const reloadedAt = "mintmark_config_last_reload_success_timestamp_seconds"

// reload puts a file into force.
func (m *mix) reload(t *testing.T, text string) {
	t.Helper()
	before := m.balancer.Metrics().Sum(reloadedAt, nil)
	m.balancer.Reload(text)
	lab.Eventually(t, settleLimit, "a file is in force", func() bool {
		return m.balancer.Metrics().Sum(reloadedAt, nil) != before
	})
}

// refuse hands the balancer a file that it must not take.
func (m *mix) refuse(t *testing.T, text string) {
	t.Helper()
	m.balancer.Reload(text)
	lab.Eventually(t, settleLimit, "a file is refused", func() bool {
		return m.balancer.Metrics().Sum("mintmark_config_last_reload_successful", nil) == 0
	})
}
