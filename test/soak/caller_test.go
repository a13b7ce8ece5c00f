//go:build soak

package soak

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// maxMessage is the longest message of those that come back.
const maxMessage = 2000

// markOf returns the mark of an origin, in hexadecimal.
func markOf(index uint8) string { return fmt.Sprintf("4d4d01%02x", index) }

// newHello returns the hello of a client that resumes at an origin.
func newHello(index uint8) []byte {
	ticket := append([]byte{0x4d, 0x4d, 1, index}, make([]byte, 188)...)
	return hellotest.Build(hellotest.TLS13(ticket))
}

// newAnswer returns what a server that takes the session says, as far as it
// can be followed without keys.
func newAnswer() []byte {
	const keyShare, rest = 36, 300
	b := hellotest.Record(hellotest.TypeHandshake, hellotest.ServerHello(hellotest.ServerOptions{
		SessionID: hellotest.TLS13().SessionID, Version: 0x0304, Accept: true, KeyShare: keyShare,
	}))
	b = append(b, hellotest.ChangeCipherSpec()...)
	return append(b, hellotest.Record(hellotest.TypeApplicationData, make([]byte, rest))...)
}

// A line is a way to the origins: a listener, and what has to come before the
// order.
type line struct {
	addr string
	door door
}

// A call is a client's side of a connection to an origin, which has greeted.
type call struct {
	*net.TCPConn
	in     *bufio.Reader
	origin *origin
	epoch  int64 // of the origin
}

// excused tells whether what happened to the call is its server's restart.
func (c *call) excused() bool { return c.origin.epoch.Load() != c.epoch }

// call connects, gives the order and reads the greeting. home is whose session
// a hello offers. It returns nil when there is no connection, and has taken
// down why.
func (m *mix) call(l line, home *origin, ord order) *call {
	asked, before := time.Now(), m.epochs()
	c, err := m.try(l, home, ord)
	calm := m.calm(before)
	switch {
	case errors.Is(err, errWrong):
		m.fault("calling: %v", err)
		return nil
	case err != nil && !calm:
		m.interrupted.Add(1)
		return nil
	case err != nil:
		m.fault("calling: %v", err)
		return nil
	}
	m.connections.Add(1)
	if l.door == hello && c.origin != home && calm && home.settledAt(asked) {
		m.fault("a session of %s went to %s", home.name, c.origin.name)
	}
	return c
}

func (m *mix) try(l line, home *origin, ord order) (*call, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	c := &call{TCPConn: conn.(*net.TCPConn), in: bufio.NewReaderSize(conn, chunk)}
	if err := m.open(c, l, home, ord); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (m *mix) open(c *call, l line, home *origin, ord order) error {
	if err := c.SetDeadline(time.Now().Add(callLimit)); err != nil {
		return err
	}
	ord.Magic, ord.Door, ord.Port = orderMagic, l.door, uint16(c.LocalAddr().(*net.TCPAddr).Port)
	var opening bytes.Buffer
	if l.door == hello {
		opening.Write(m.hellos[home.index])
	}
	if err := binary.Write(&opening, binary.BigEndian, ord); err != nil {
		return err
	}
	if _, err := c.Write(opening.Bytes()); err != nil {
		return fmt.Errorf("giving an order: %w", err)
	}
	if l.door == hello {
		got := make([]byte, len(m.answer))
		if _, err := io.ReadFull(c.in, got); err != nil {
			return fmt.Errorf("reading the answer to the hello: %w", err)
		}
		if !bytes.Equal(got, m.answer) {
			return fmt.Errorf("the answer to the hello: %w", errWrong)
		}
	}
	var g greeting
	if err := binary.Read(c.in, binary.BigEndian, &g); err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	if g.Magic != greetingMagic || int(g.Origin) >= len(m.origins) {
		return fmt.Errorf("the greeting is %v: %w", g, errWrong)
	}
	c.origin, c.epoch = m.origins[g.Origin], g.Epoch
	return nil
}

// say sends a message and wants it back.
func (c *call) say(rng *rand.Rand, p pattern) error {
	if err := c.SetDeadline(time.Now().Add(transferLimit)); err != nil {
		return err
	}
	seed, n := rng.Uint64(), 1+rng.IntN(maxMessage)
	if _, err := c.Write(p.at(seed, 0, n)); err != nil {
		return fmt.Errorf("sending a message: %w", err)
	}
	got := make([]byte, n)
	if _, err := io.ReadFull(c.in, got); err != nil {
		return fmt.Errorf("reading a message back: %w", err)
	}
	return p.check(seed, 0, got)
}

// ended reads the end of a call that has said everything.
func (c *call) ended() error {
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if n, err := c.in.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the end: %d bytes, %w", n, err)
	}
	return nil
}

// took takes down how a call has ended.
func (m *mix) took(c *call, err error) {
	switch {
	case err == nil:
	case errors.Is(err, errWrong), errors.Is(err, os.ErrDeadlineExceeded):
		m.fault("client of %s: %v", c.origin.name, err)
	case c.excused():
		m.interrupted.Add(1)
	default:
		m.fault("client of %s: %v", c.origin.name, err)
	}
}

// resetWithin waits until the connection has been reset, without reading from
// it.
func (c *call) resetWithin(limit time.Duration) bool {
	const tcpClose = 7 // TCP_CLOSE of the kernel's tcp_states.h
	raw, err := c.SyscallConn()
	if err != nil {
		return true // it is closed
	}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		closed := false
		if err := raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			closed = err != nil || info.State == tcpClose
		}); err != nil || closed {
			return true
		}
	}
	return false
}

// carry does the client's side of a bulk connection, which it breaks off after
// cut bytes, unless that is negative.
func (m *mix) carry(c *call, ord order, slow bool, cut int64, reset bool) error {
	if err := c.SetDeadline(time.Now().Add(transferLimit)); err != nil {
		return err
	}
	t := &transfer{
		pattern: m.pattern, pace: &m.pace, conn: c.TCPConn, in: c.in,
		turn: ord.Turn, send: ord.Up, receive: ord.Down, out: ord.Seed, back: ^ord.Seed,
		burst: ord.Burst, slow: slow, cut: cut, reset: reset,
	}
	err := t.run()
	m.bytes.Add(t.moved.Load())
	return err
}
