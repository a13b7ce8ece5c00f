package load

import (
	"context"
	"io"
	"net"
	"time"
)

// PingPong is messages of 100 bytes to and fro on connections that stay open.
type PingPong struct {
	Conns int
}

// messageSize is the size of a message of PingPong.
const messageSize = 100

// Serve starts the server.
func (PingPong) Serve(ctx context.Context) (*Servers, error) {
	x, err := browser()
	if err != nil {
		return nil, err
	}
	return serve(ctx, func(c *net.TCPConn) error {
		if err := x.accept(c); err != nil {
			return err
		}
		var buf [messageSize]byte
		for {
			if _, err := io.ReadFull(c, buf[:]); err != nil {
				return err
			}
			if _, err := c.Write(buf[:]); err != nil {
				return err
			}
		}
	})
}

// Open makes the clients.
func (p PingPong) Open(ctx context.Context, addr string) (Client, error) {
	return open(ctx, p.Conns, addr, func(c *net.TCPConn) error {
		var buf [messageSize]byte
		if _, err := c.Write(buf[:]); err != nil {
			return err
		}
		_, err := io.ReadFull(c, buf[:])
		return err
	})
}

// Bulk is downloads on connections that stay open, a mebibyte at a time.
type Bulk struct {
	Conns int
}

// mebibyte is an operation of Bulk.
const mebibyte = 1 << 20

// window is how many mebibytes a client of Bulk asks for ahead, so that the
// server never waits for it.
const window = 16

// Serve starts the server: it sends a mebibyte for each byte.
func (Bulk) Serve(ctx context.Context) (*Servers, error) {
	x, err := browser()
	if err != nil {
		return nil, err
	}
	block := make([]byte, mebibyte)
	return serve(ctx, func(c *net.TCPConn) error {
		if err := x.accept(c); err != nil {
			return err
		}
		var asked [1 << 10]byte
		for {
			n, err := c.Read(asked[:])
			if err != nil {
				return err
			}
			for range n {
				if _, err := c.Write(block); err != nil {
					return err
				}
			}
		}
	})
}

// Open makes the clients.
func (b Bulk) Open(ctx context.Context, addr string) (Client, error) {
	x, err := browser()
	if err != nil {
		return nil, err
	}
	conns, err := connections(ctx, b.Conns, x, addr)
	if err != nil {
		return nil, err
	}
	c := &streams{conns: conns}
	bufs := make([][]byte, b.Conns)
	for i := range bufs {
		bufs[i] = make([]byte, mebibyte/4)
		if _, err := conns[i].Write(make([]byte, window)); err != nil {
			c.Close()
			return nil, err
		}
	}
	c.do = func(w int) error {
		if _, err := conns[w].Write([]byte{1}); err != nil {
			return err
		}
		for left := mebibyte; left > 0; {
			n, err := conns[w].Read(bufs[w][:min(left, len(bufs[w]))])
			if err != nil {
				return err
			}
			left -= n
		}
		return nil
	}
	return c, nil
}

// Idle is connections on which nothing happens. An operation of its clients is
// a connection that is opened and stays.
type Idle struct{}

// Serve starts the server.
func (Idle) Serve(ctx context.Context) (*Servers, error) {
	x, err := browser()
	if err != nil {
		return nil, err
	}
	return serve(ctx, func(c *net.TCPConn) error {
		if err := x.accept(c); err != nil {
			return err
		}
		_, err := c.Read(make([]byte, 1))
		return err
	})
}

// Open makes the clients.
func (Idle) Open(_ context.Context, addr string) (Client, error) {
	x, err := browser()
	return &idleClient{addr: addr, x: x}, err
}

type idleClient struct {
	addr  string
	x     exchange
	conns []*net.TCPConn
}

func (i *idleClient) Run(ctx context.Context, phase Phase) (Sample, error) {
	began := time.Now()
	conns, err := connections(ctx, phase.Ops, i.x, i.addr)
	i.conns = append(i.conns, conns...)
	return Sample{Ops: len(conns), Elapsed: time.Since(began)}, err
}

func (i *idleClient) Close() { closeAll(i.conns) }

// streams are clients with a connection each.
type streams struct {
	conns []*net.TCPConn
	do    func(worker int) error
}

// open opens connections, on which an operation is what do does.
func open(ctx context.Context, n int, addr string, do func(*net.TCPConn) error) (Client, error) {
	x, err := browser()
	if err != nil {
		return nil, err
	}
	conns, err := connections(ctx, n, x, addr)
	if err != nil {
		return nil, err
	}
	return &streams{conns: conns, do: func(w int) error { return do(conns[w]) }}, nil
}

func (s *streams) Run(ctx context.Context, phase Phase) (Sample, error) {
	// One deadline for all: a timer that is set anew for each message would
	// cost more than the message.
	const perOp = 20 * time.Millisecond // many times what the slowest needs
	limit := time.Now().Add(opLimit + time.Duration(phase.Ops)*perOp)
	for _, c := range s.conns {
		if err := c.SetDeadline(limit); err != nil {
			return Sample{}, err
		}
	}
	return drive(ctx, phase, len(s.conns), func(_ context.Context, w int) error { return s.do(w) })
}

func (s *streams) Close() { closeAll(s.conns) }
