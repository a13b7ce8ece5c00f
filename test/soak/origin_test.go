//go:build soak

package soak

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
	"github.com/mintmark/mintmark/test/lab"
)

// A presence tells whether a server is there.
type presence struct {
	// epoch is odd while the server is away, and changes before it goes and
	// after it has come back.
	epoch atomic.Int64
	// settled is when every health check has to have seen it again.
	settled atomic.Int64 // Unix time in ns
}

// away is called around a restart.
func (p *presence) away(restart func()) {
	p.settled.Store(time.Now().Add(time.Hour).UnixNano())
	p.epoch.Add(1)
	restart()
	p.settled.Store(time.Now().Add(knownWithin).UnixNano())
	p.epoch.Add(1)
}

// settledAt tells whether the server was known to be there at a time.
func (p *presence) settledAt(t time.Time) bool { return t.UnixNano() > p.settled.Load() }

// What a connection is for.
const (
	forMessages = iota
	forBulk
)

// A door is what comes before the order on the way through a listener.
type door uint8

const (
	plain  door = iota // nothing
	header             // a PROXY header, which the balancer writes
	hello              // a hello, which the server answers
)

// An order is what a client sends first: what the server is to do.
type order struct {
	Magic      [4]byte
	Kind       uint8
	Door       door
	Turn       turn   // the client's
	Port       uint16 // the client's own
	Up, Down   int64
	Seed       uint64 // of what goes up; what comes down has its inverse
	Burst      bool
	SlowServer bool
	Expendable bool  // somebody will break it off
	Cut        int64 // where the server will; negative: it will not
	Reset      bool
}

// A greeting is what the server answers an order with.
type greeting struct {
	Magic  [4]byte
	Origin uint8
	Epoch  int64
}

var orderMagic, greetingMagic = [4]byte{'s', 'o', 'a', 'k'}, [4]byte{'o', 'k', 'a', 'y'}

// transferLimit bounds one connection for bulk, and the silence on any other
// that is waited for an answer on.
const transferLimit = 2 * time.Minute

// An origin is a server inside the test. It takes connections through all
// doors, and can go away and come back on its address.
type origin struct {
	presence
	mix   *mix
	index uint8
	name  string
	addr  string

	mu    sync.Mutex
	ln    net.Listener
	conns map[*net.TCPConn]bool
	group sync.WaitGroup
}

func startOrigin(t *testing.T, m *mix, index uint8, name string) *origin {
	t.Helper()
	o := &origin{mix: m, index: index, name: name, addr: lab.FreeAddr(t), conns: make(map[*net.TCPConn]bool)}
	if err := o.listen(t); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.leave)
	return o
}

// restart ends every connection, half of them with a reset, and comes back.
func (o *origin) restart(t *testing.T) {
	o.away(func() {
		o.leave()
		lab.Eventually(t, settleLimit, o.name+" listens again", func() bool { return o.listen(t) == nil })
	})
}

func (o *origin) listen(t *testing.T) error {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", o.addr)
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.ln = ln
	o.mu.Unlock()
	o.group.Go(func() { o.accept(ln) })
	return nil
}

func (o *origin) leave() {
	o.mu.Lock()
	o.ln.Close()
	reset := false
	for c := range o.conns {
		if reset = !reset; reset {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
	o.mu.Unlock()
	o.group.Wait()
}

func (o *origin) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		c := conn.(*net.TCPConn)
		o.mu.Lock()
		if o.ln != ln || o.epoch.Load()%2 == 1 {
			o.mu.Unlock()
			_ = c.Close() // it came while the others were closed
			continue
		}
		o.conns[c] = true
		o.mu.Unlock()
		o.group.Go(func() {
			o.serve(c)
			_ = c.Close()
			o.mu.Lock()
			delete(o.conns, c)
			o.mu.Unlock()
		})
	}
}

// open returns how many connections there are.
func (o *origin) open() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.conns)
}

// serve does what the order says. A fault of a connection that the server's
// restart has ended is none.
func (o *origin) serve(c *net.TCPConn) {
	epoch := o.epoch.Load()
	in := bufio.NewReaderSize(c, chunk)
	ord, err := o.begin(c, in, epoch)
	switch {
	case errors.Is(err, errWrong):
		o.mix.fault("%s: %v", o.name, err)
		return
	case err != nil:
		return // a health check, or the client knows more
	}
	if ord.Kind == forMessages {
		echoAll(c, in)
		return
	}
	if err := c.SetDeadline(time.Now().Add(transferLimit)); err != nil {
		return // it is closed
	}
	t := &transfer{
		pattern: o.mix.pattern, pace: &o.mix.pace, conn: c, in: in,
		turn: ord.Turn.other(), send: ord.Down, receive: ord.Up, out: ^ord.Seed, back: ord.Seed,
		burst: ord.Burst, slow: ord.SlowServer, cut: ord.Cut, reset: ord.Reset,
	}
	err = t.run()
	switch {
	case err == nil:
	case errors.Is(err, errWrong), errors.Is(err, os.ErrDeadlineExceeded):
		o.mix.fault("%s, %+v: %v", o.name, ord, err)
	case ord.Expendable, o.epoch.Load() != epoch:
	default:
		o.mix.fault("%s, %+v: %v", o.name, ord, err)
	}
}

// begin reads what the door adds, and the order, and answers both.
func (o *origin) begin(c *net.TCPConn, in *bufio.Reader, epoch int64) (*order, error) {
	b, err := in.Peek(1)
	if err != nil {
		return nil, err
	}
	came, port := plain, 0
	switch b[0] {
	case 0x0d:
		h, err := proxyproto.Read(in)
		if err != nil {
			return nil, fmt.Errorf("reading the PROXY header: %w", err)
		}
		from, ok := h.SourceAddr.(*net.TCPAddr)
		if !ok {
			return nil, errors.New("a health check")
		}
		came, port = header, from.Port
	case hellotest.TypeHandshake:
		if err := o.mix.readHello(in); err != nil {
			return nil, err
		}
		came = hello
		if _, err := c.Write(o.mix.answer); err != nil {
			return nil, err
		}
	}
	var ord order
	if err := binary.Read(in, binary.BigEndian, &ord); err != nil {
		return nil, fmt.Errorf("reading the order: %w", err)
	}
	switch {
	case ord.Magic != orderMagic:
		return nil, fmt.Errorf("the order begins with %q: %w", ord.Magic, errWrong)
	case ord.Door != came:
		return nil, fmt.Errorf("an order for door %d came through door %d: %w", ord.Door, came, errWrong)
	case came == header && int(ord.Port) != port:
		return nil, fmt.Errorf("the PROXY header says port %d, the client %d: %w", port, ord.Port, errWrong)
	}
	return &ord, binary.Write(c, binary.BigEndian, greeting{greetingMagic, o.index, epoch})
}

// readHello reads the record of a client's hello.
func (m *mix) readHello(in *bufio.Reader) error {
	var head [5]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(in, body); err != nil {
		return err
	}
	if got := append(head[:], body...); !slices.ContainsFunc(m.hellos, func(h []byte) bool { return bytes.Equal(h, got) }) {
		return fmt.Errorf("no client sent this hello of %d bytes: %w", len(got), errWrong)
	}
	return nil
}

// echoAll sends back what comes until the client ends.
func echoAll(c *net.TCPConn, in io.Reader) {
	b := make([]byte, maxMessage)
	for {
		n, err := in.Read(b)
		if n > 0 {
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return // the client looks whether it got back everything
		}
	}
}
