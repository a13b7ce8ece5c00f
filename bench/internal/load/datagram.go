package load

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Datagrams is clients that send datagrams of 1,200 bytes, each with the mark
// of the server where QUIC has its connection ID. An operation is a datagram
// that arrives.
type Datagrams struct {
	Flows int
	// Echo has the server send each datagram back; it has arrived when it is
	// back.
	Echo bool

	// received counts what arrived at its destination.
	received atomic.Int64
}

const (
	datagramSize = 1200
	// shortHeader is the first byte of a QUIC packet after the handshake (RFC
	// 9000, 17.3); the connection ID is behind it.
	shortHeader = 0x40
	// receiveBuffer is large enough that the ends of the path lose nothing when
	// they do not get the processor for a while.
	receiveBuffer = 4 << 20
	// quiet is how long nothing has arrived when what is missing counts as lost.
	quiet = 200 * time.Millisecond
	// slowest is how long the first may take to arrive.
	slowest = 5 * time.Second
)

// Serve starts the server.
func (d *Datagrams) Serve(ctx context.Context) (*Servers, error) {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	c, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(errors.New("starting the server: no UDP socket"), conn.Close())
	}
	if err := c.SetReadBuffer(receiveBuffer); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	var group sync.WaitGroup
	group.Go(func() { d.serve(c) })
	stop := func() {
		_ = c.Close()
		group.Wait()
	}
	return &Servers{Addrs: []string{c.LocalAddr().String()}, Marks: []string{Mark}, Stop: stop}, nil
}

func (d *Datagrams) serve(c *net.UDPConn) {
	buf := make([]byte, 2*datagramSize)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		switch {
		case err != nil || n != datagramSize || buf[0] != shortHeader: // whatever it was, it is not ours
		case d.Echo:
			_, _ = c.WriteToUDPAddrPort(buf[:n], from) // shows at the client
		default:
			d.received.Add(1)
		}
	}
}

// Open makes the clients.
func (d *Datagrams) Open(ctx context.Context, addr string) (Client, error) {
	mark, err := hex.DecodeString(Mark)
	if err != nil {
		return nil, err
	}
	c := &datagramClient{kind: d, datagram: make([]byte, datagramSize)}
	c.datagram[0] = shortHeader
	copy(c.datagram[1:], mark)
	for range d.Flows {
		conn, err := new(net.Dialer).DialContext(ctx, "udp", addr)
		if err != nil {
			c.Close()
			return nil, err
		}
		c.conns = append(c.conns, conn)
		if u, ok := conn.(*net.UDPConn); ok {
			err = u.SetReadBuffer(receiveBuffer)
		}
		if err != nil {
			c.Close()
			return nil, err
		}
		c.readers.Go(func() { c.read(conn) })
	}
	return c, nil
}

type datagramClient struct {
	kind     *Datagrams
	datagram []byte
	conns    []net.Conn
	readers  sync.WaitGroup
}

// read counts what comes back.
func (c *datagramClient) read(conn net.Conn) {
	buf := make([]byte, 2*datagramSize)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n == datagramSize && buf[0] == shortHeader {
			c.kind.received.Add(1)
		}
	}
}

func (c *datagramClient) Run(ctx context.Context, phase Phase) (Sample, error) {
	before := c.kind.received.Load()
	s, err := drive(ctx, phase, len(c.conns), func(_ context.Context, w int) error {
		_, err := c.conns[w].Write(c.datagram)
		return err
	})
	if err != nil {
		return s, err
	}
	arrived := int(c.settled(before, int64(phase.Ops)) - before)
	s.Lost = s.Ops - arrived
	s.Ops = arrived
	s.Latencies = nil // of the write alone, and of no interest
	if arrived == 0 {
		return s, errors.New("no datagram arrived")
	}
	return s, nil
}

// settled waits until all have arrived, or no more do, and returns how many
// have: before were there already.
func (c *datagramClient) settled(before, all int64) int64 {
	const look = 5 * time.Millisecond
	last, since := c.kind.received.Load(), time.Now()
	for last < before+all {
		limit := quiet
		if last == before {
			limit = slowest
		}
		if time.Since(since) > limit {
			break
		}
		time.Sleep(look)
		if now := c.kind.received.Load(); now != last {
			last, since = now, time.Now()
		}
	}
	return last
}

func (c *datagramClient) Close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.readers.Wait()
}
