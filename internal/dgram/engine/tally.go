package engine

// Hot: counters of all workers are shared, so a worker counts for itself and adds
// what it has once a batch.

import (
	"errors"
	"syscall"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
)

const routedByValues = int(route.ByRefused) + 1

// A direction is that in which a datagram goes.
type direction uint8

const (
	toServer direction = iota
	toClient
	directions
)

// A tally is what happened since it was last flushed.
type tally struct {
	listener *metrics.Listener
	pool     *metrics.Pool

	decisions [idspace.NumFields][routedByValues]uint32
	touched   []decisionKey // of decisions, those that are not zero
	refusals  []causeCount
	errors    []errorCount
	datagrams [directions]uint64
	bytes     [directions]uint64
}

type decisionKey struct {
	field idspace.Field
	by    route.RoutedBy
}

type causeCount struct {
	cause string
	n     uint64
}

type errorCount struct {
	direction direction
	what      string
	n         uint64
}

func (t *tally) decided(field idspace.Field, by route.RoutedBy) {
	n := &t.decisions[field][by]
	if *n == 0 {
		t.touched = append(t.touched, decisionKey{field, by})
	}
	*n++
}

// refused counts a datagram that goes nowhere. The causes are constants of this
// program, so that few are there at a time.
func (t *tally) refused(cause string) {
	for i := range t.refusals {
		if t.refusals[i].cause == cause {
			t.refusals[i].n++
			return
		}
	}
	t.refusals = append(t.refusals, causeCount{cause, 1})
}

func (t *tally) failed(d direction, what string, n int) {
	for i := range t.errors {
		if e := &t.errors[i]; e.direction == d && e.what == what {
			e.n += uint64(n)
			return
		}
	}
	t.errors = append(t.errors, errorCount{d, what, uint64(n)})
}

func (t *tally) sent(d direction, datagrams, bytes int) {
	t.datagrams[d] += uint64(datagrams)
	t.bytes[d] += uint64(bytes)
}

func (t *tally) flush() {
	for _, k := range t.touched {
		n := &t.decisions[k.field][k.by]
		t.pool.DecidedN(0, k.field, k.by, uint64(*n))
		*n = 0
	}
	t.touched = t.touched[:0]
	for _, r := range t.refusals {
		t.listener.RefusedN(r.cause, r.n)
	}
	t.refusals = t.refusals[:0]
	for _, e := range t.errors {
		t.listener.DatagramErrors(e.direction.String(), e.what, e.n)
	}
	t.errors = t.errors[:0]
	for d := range directions {
		if t.datagrams[d] == 0 {
			continue
		}
		t.listener.Datagrams(d.String(), t.datagrams[d])
		if d == toServer {
			t.listener.BytesIn.Add(0, t.bytes[d])
		} else {
			t.listener.BytesOut.Add(0, t.bytes[d])
		}
	}
	t.datagrams, t.bytes = [directions]uint64{}, [directions]uint64{}
}

// String is what metrics call d.
func (d direction) String() string {
	if d == toServer {
		return "in"
	}
	return "out"
}

// errorOf is what metrics call an error of a socket.
func errorOf(err error) string {
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case syscall.ECONNREFUSED:
		return "refused"
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN:
		return "unreachable"
	case syscall.EMSGSIZE:
		return "too_big"
	case syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM:
		return "no_buffers"
	default:
		return "other"
	}
}
