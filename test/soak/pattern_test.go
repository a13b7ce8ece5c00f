//go:build soak

package soak

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// patternPeriod is after how many bytes a pattern begins again. It is a
	// multiple of no buffer's or pipe's size, so that one of them that is lost,
	// or comes twice, shows.
	patternPeriod = 1<<20 - 3
	chunk         = 256 << 10 // the most that is written at once
	slowChunk     = 16 << 10  // what a slow reader takes at once,
	slowPause     = 2 * time.Millisecond
)

// A pattern is random bytes that streams are cut from: each begins at a place
// of its own, so that no byte passes for one of another stream, or of another
// place in its own.
type pattern []byte

func newPattern() pattern {
	p := make(pattern, patternPeriod+chunk)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range patternPeriod {
		p[i] = byte(rng.Uint32())
	}
	copy(p[patternPeriod:], p)
	return p
}

// at returns n bytes, at most a chunk, of the stream of a seed.
func (p pattern) at(seed uint64, offset int64, n int) []byte {
	i := (seed%patternPeriod + uint64(offset)) % patternPeriod
	return p[i : i+uint64(n)]
}

// errWrong is what nothing excuses.
var errWrong = errors.New("not what was sent")

func (p pattern) check(seed uint64, offset int64, got []byte) error {
	want := p.at(seed, offset, len(got))
	if bytes.Equal(got, want) {
		return nil
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Errorf("byte %d is %#x and should be %#x: %w", offset+int64(i), got[i], want[i], errWrong)
		}
	}
	return nil
}

// reader returns the first bytes of a stream.
func (p pattern) reader(seed uint64, size int64) io.Reader {
	return &patternReader{pattern: p, seed: seed, size: size}
}

type patternReader struct {
	pattern  pattern
	seed     uint64
	at, size int64
}

func (r *patternReader) Read(b []byte) (int, error) {
	if r.at == r.size {
		return 0, io.EOF
	}
	n := copy(b, r.pattern.at(r.seed, r.at, int(min(chunk, r.size-r.at))))
	r.at += int64(n)
	return n, nil
}

// readAll reads a stream to its end.
func (p pattern) readAll(in io.Reader, seed uint64, size int64) error {
	b := make([]byte, slowChunk)
	for at := int64(0); ; {
		n, err := in.Read(b)
		if wrong := p.check(seed, at, b[:n]); wrong != nil {
			return wrong
		}
		at += int64(n)
		switch {
		case err == io.EOF && at != size:
			return fmt.Errorf("%d bytes instead of %d: %w", at, size, errWrong)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("after %d of %d bytes: %w", at, size, err)
		}
	}
}

// A pace lets so many bytes a second go in all, so that the rest of the load
// gets its part of the processors.
type pace struct {
	rate int64 // bytes a second

	mu   sync.Mutex
	next time.Time // when the next bytes may go
}

func (p *pace) take(n int) {
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(int64(n) * int64(time.Second) / p.rate))
	p.mu.Unlock()
	time.Sleep(wait)
}

// A turn says when a side sends, and so in which order the streams end.
type turn uint8

const (
	atOnce turn = iota // while it receives
	first              // before it receives anything
	last               // when the other's stream has ended
	turns
)

// other returns the turn of the peer.
func (t turn) other() turn {
	switch t {
	case first:
		return last
	case last:
		return first
	default:
		return t
	}
}

// A transfer is one side of a bulk connection.
type transfer struct {
	pattern       pattern
	pace          *pace
	conn          *net.TCPConn
	in            io.Reader
	turn          turn
	send, receive int64  // bytes
	out, back     uint64 // seeds of what is sent and received
	burst         bool   // send as fast as it goes, and pay afterwards
	slow          bool   // receive slowly
	cut           int64  // break off after so many bytes; negative: never
	reset         bool   // and with a reset

	moved   atomic.Int64 // in both directions
	stopped atomic.Bool
}

// errCut is how a transfer ends that this side has broken off.
var errCut = errors.New("broken off")

// run sends and receives everything, each stream to its end.
func (t *transfer) run() error {
	switch t.turn {
	case first:
		if err := t.write(); err != nil {
			return err
		}
		return t.read()
	case last:
		if err := t.read(); err != nil {
			return err
		}
		return t.write()
	default:
		sent := make(chan error, 1)
		go func() { sent <- t.write() }()
		err := t.read()
		if err != nil {
			_ = t.conn.Close() // the other half would go on for long
		}
		if e := <-sent; err == nil {
			err = e
		}
		return err
	}
}

func (t *transfer) write() error {
	for at := int64(0); at < t.send; {
		n := int(min(chunk, t.send-at))
		if !t.burst {
			t.pace.take(n)
		}
		n, err := t.conn.Write(t.pattern.at(t.out, at, n))
		if at += int64(n); err != nil {
			return t.ended(fmt.Errorf("sending, after %d of %d bytes: %w", at, t.send, err))
		}
		if t.breaksOff(n) {
			return errCut
		}
	}
	if t.burst {
		t.pace.take(int(t.send))
	}
	if err := t.conn.CloseWrite(); err != nil {
		return t.ended(fmt.Errorf("ending the stream: %w", err))
	}
	return nil
}

func (t *transfer) read() error {
	b := make([]byte, chunk)
	if t.slow {
		b = b[:slowChunk]
	}
	for at := int64(0); ; {
		n, err := t.in.Read(b)
		if wrong := t.pattern.check(t.back, at, b[:n]); wrong != nil {
			return wrong
		}
		if at += int64(n); at > t.receive {
			return fmt.Errorf("received %d bytes more than there are: %w", at-t.receive, errWrong)
		}
		switch {
		case err == io.EOF && at == t.receive:
			return nil
		case err != nil:
			return t.ended(fmt.Errorf("receiving, after %d of %d bytes: %w", at, t.receive, err))
		}
		if t.breaksOff(n) {
			return errCut
		}
		if t.slow {
			time.Sleep(slowPause)
		}
	}
}

// breaksOff counts bytes, and ends the connection when its time has come.
func (t *transfer) breaksOff(n int) bool {
	if moved := t.moved.Add(int64(n)); t.cut < 0 || moved < t.cut {
		return false
	}
	t.stopped.Store(true)
	if t.reset {
		_ = t.conn.SetLinger(0)
	}
	_ = t.conn.Close()
	return true
}

// ended tells whether err is of this side's own making.
func (t *transfer) ended(err error) error {
	if t.stopped.Load() {
		return errCut
	}
	return err
}
