//go:build soak

package soak

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// How many clients of each kind there are at a time, for each engine. Each has
// one connection, and idlers keep theirs.
const (
	regulars  = 4
	talkers   = 24
	carriers  = 4
	quitters  = 2
	stallers  = 2
	teasers   = 2
	idlers    = 500
	transfers = carriers + quitters + stallers + 1 // at a time; one for the listener that comes and goes
)

const (
	maxBulk     = 64 << 20
	maxSlow     = 4 << 20
	maxAborted  = 8 << 20
	callLimit   = 20 * time.Second
	regularWait = 20 * time.Millisecond // at most, between two visits
	talkWait    = 40 * time.Millisecond // at most, between two messages
	teaseWait   = 20 * time.Millisecond // at most, between two aborted hellos
	stallLimit  = 15 * time.Second      // until the balancer ends a stalled connection
	quitWait    = 50 * time.Millisecond // at most, between two aborted transfers
)

func random() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }

// pause waits up to limit, or until ctx ends.
func pause(ctx context.Context, rng *rand.Rand, limit time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(rng.Int64N(int64(limit)))):
	}
}

// A regular is a TLS client that comes back to nginx.
type regular struct {
	mix    *mix
	client *lab.GoClient
	home   *house // whose session it has; nil: none
}

// A house is an nginx that restarts, and keeps its key.
type house struct {
	presence
	*lab.Server
}

func (m *mix) regular(ctx context.Context, version uint16) {
	rng := random()
	r := &regular{mix: m}
	for ctx.Err() == nil {
		const forgetEvery = 100
		if r.client == nil || rng.IntN(forgetEvery) == 0 {
			r.client, r.home = lab.NewGoClient(m.cert, version), nil
		}
		r.visit()
		pause(ctx, rng, regularWait)
	}
}

// visit connects. A session must be resumed unless its server is away, or was
// a moment ago.
func (r *regular) visit() {
	m, asked, before := r.mix, time.Now(), r.mix.epochs()
	got, err := r.client.Connect(m.web)
	calm := m.calm(before)
	switch {
	case err != nil && !calm:
		m.interrupted.Add(1)
		r.client = nil
		return
	case err != nil:
		m.fault("visiting: %v", err)
		r.client = nil
		return
	}
	m.connections.Add(1)
	name, _, _ := strings.Cut(got.Body, " ")
	switch {
	case got.Resumed:
		m.resumed.Add(1)
	case r.home != nil && calm && r.home.settledAt(asked):
		m.fault("a session of %s was declined; %s answered", r.home.Name, got.Body)
	}
	if r.home = m.houses[name]; r.home == nil {
		m.fault("visiting: nobody answers %q", got.Body)
	}
}

// talk has conversations, short and long ones.
func (m *mix) talk(ctx context.Context) {
	rng := random()
	for ctx.Err() == nil {
		c := m.call(m.anyLine(rng), m.anyOrigin(rng), order{Kind: forMessages})
		if c == nil {
			pause(ctx, rng, talkWait)
			continue
		}
		var err error
		for n := sizeUpTo(rng, 1000); n > 0 && err == nil && ctx.Err() == nil; n-- {
			if err = c.say(rng, m.pattern); err == nil {
				m.messages.Add(1)
			}
			pause(ctx, rng, talkWait)
		}
		if err == nil {
			err = c.ended()
		}
		m.took(c, err)
		_ = c.Close()
	}
}

// sizeUpTo returns a size of any order of magnitude.
func sizeUpTo(rng *rand.Rand, limit int64) int64 {
	return int64(math.Pow(float64(limit), rng.Float64()))
}

// newBulk returns the order for a transfer of any kind.
func newBulk(rng *rand.Rand, limit int64) order {
	ord := order{
		Kind: forBulk, Turn: turn(rng.IntN(int(turns))), Seed: rng.Uint64(), Cut: -1,
		Up: sizeUpTo(rng, limit), Down: sizeUpTo(rng, limit), Burst: rng.IntN(4) == 0,
	}
	switch rng.IntN(3) {
	case 0:
		ord.Up = 0
	case 1:
		ord.Down = 0
	}
	return ord
}

// haul moves much, to the last byte.
func (m *mix) haul(ctx context.Context) {
	rng := random()
	for ctx.Err() == nil {
		slow, limit := rng.IntN(6), int64(maxBulk)
		if slow < 2 {
			limit = maxSlow
		}
		ord := newBulk(rng, limit)
		ord.SlowServer = slow == 1
		c := m.call(m.anyLine(rng), m.anyOrigin(rng), ord)
		if c == nil {
			pause(ctx, rng, talkWait)
			continue
		}
		err := m.carry(c, ord, slow == 0, -1, false)
		if err == nil {
			m.hauls.Add(1)
		}
		m.took(c, err)
		_ = c.Close()
	}
}

// quit breaks off transfers at any place, from either side.
func (m *mix) quit(ctx context.Context) {
	rng := random()
	for ctx.Err() == nil {
		pause(ctx, rng, quitWait)
		ord := newBulk(rng, maxAborted)
		ord.Expendable, ord.Reset = true, rng.IntN(2) == 0
		at, slow := sizeUpTo(rng, ord.Up+ord.Down+1), rng.IntN(2) == 0
		cut := int64(-1)
		if rng.IntN(2) == 0 {
			ord.Cut = at
		} else {
			cut = at
		}
		c := m.call(m.anyLine(rng), m.anyOrigin(rng), ord)
		if c == nil {
			continue
		}
		m.aborted(c, m.carry(c, ord, slow, cut, ord.Reset))
	}
}

// aborted takes down the end of a call of which nothing is expected but that
// it has one.
func (m *mix) aborted(c *call, err error) {
	_ = c.Close()
	m.aborts.Add(1)
	if errors.Is(err, errWrong) || errors.Is(err, os.ErrDeadlineExceeded) {
		m.fault("broken off, client of %s: %v", c.origin.name, err)
	}
}

// stall takes some of a download and then nothing more, without a word: the
// balancer has to end that. It stays until it has.
func (m *mix) stall(ctx context.Context) {
	rng := random()
	for ctx.Err() == nil {
		// More than the kernel's buffers of both connections and a pipe hold.
		ord := order{Kind: forBulk, Turn: last, Seed: rng.Uint64(), Down: maxBulk, Cut: -1, Expendable: true}
		c := m.call(m.brief, nil, ord)
		if c == nil {
			pause(ctx, rng, talkWait)
			continue
		}
		took := make([]byte, rng.IntN(4*chunk))
		if err := c.SetDeadline(time.Now().Add(callLimit)); err == nil {
			n, _ := c.in.Read(took) // a restart may be faster
			if err := m.pattern.check(^ord.Seed, 0, took[:n]); err != nil {
				m.fault("stalling: %v", err)
			}
		}
		if !c.resetWithin(stallLimit) {
			m.fault("a client that takes nothing was not reset within %v", stallLimit)
		}
		_ = c.Close()
		m.stalls.Add(1)
	}
}

// idle opens a connection that is not used before the end.
func (m *mix) idle(i int) *call {
	l := m.stay
	if i%2 == 0 {
		l = m.marked
	}
	c := m.call(l, m.steady, order{Kind: forMessages})
	if c != nil {
		_ = c.SetDeadline(time.Time{}) // say sets another
	}
	return c
}

// tease aborts hellos.
func (m *mix) tease(ctx context.Context) {
	rng := random()
	for ctx.Err() == nil {
		abort(ctx, []string{m.web, m.marked.addr}[rng.IntN(2)])
		m.aborts.Add(1)
		pause(ctx, rng, teaseWait)
	}
}

// load starts all clients but the idle ones, until ctx ends.
func (m *mix) load(ctx context.Context) {
	for i := range regulars {
		m.clients.Go(func() { m.regular(ctx, []uint16{tls.VersionTLS13, tls.VersionTLS12}[i%2]) })
	}
	for i := range readers {
		m.clients.Go(func() { m.readPages(ctx, i%2 == 0) })
	}
	for _, kind := range []struct {
		n    int
		work func(context.Context)
	}{
		{talkers, m.talk}, {carriers, m.haul}, {quitters, m.quit}, {stallers, m.stall}, {teasers, m.tease},
	} {
		for range kind.n {
			m.clients.Go(func() { kind.work(ctx) })
		}
	}
}
