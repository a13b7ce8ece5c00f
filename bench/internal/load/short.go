package load

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
)

// shortWorkers is how many short connections there are at a time.
const shortWorkers = 32

// Short is short TLS connections: a hello, an answer of 512 bytes, the end.
// The server closes first, so that no port of client or proxy is left waiting
// for stray segments (TIME_WAIT), and the thousandth run finds as many free
// as the first.
type Short struct{}

// Serve starts the server.
func (Short) Serve(ctx context.Context) (*Servers, error) {
	x, err := browser()
	if err != nil {
		return nil, err
	}
	return serve(ctx, x.accept)
}

// Open makes the clients.
func (Short) Open(_ context.Context, addr string) (Client, error) {
	x, err := browser()
	return &shortClient{addr: addr, next: func() exchange { return x }}, err
}

// Sessions is short connections that offer a TLS 1.2 session, each a different
// one of a number of sessions.
type Sessions struct {
	// Count is how many sessions there are.
	Count int
	// Marks is how many servers' marks their IDs have: from FirstMark on.
	Marks int
}

// FirstMark is the first mark of Sessions, four bytes.
const FirstMark = 0x4d000000

// Where the session ID stands in a hello of one record (RFC 8446, 4.1.2):
// after both headers, version and random, and its length.
const (
	sessionIDAt  = 5 + 4 + 2 + 32 + 1
	sessionIDLen = 32
)

// ID returns the i-th session's ID: the mark of its server and 28 bytes that
// look random enough for a hash table.
func (s Sessions) ID(i int) []byte {
	id := make([]byte, 0, sessionIDLen)
	id = binary.BigEndian.AppendUint32(id, FirstMark+uint32(i%s.Marks))
	x := uint64(i) + 1
	for len(id) < sessionIDLen {
		// The finalizer of splitmix64.
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		id = binary.BigEndian.AppendUint64(id, z^z>>31)
	}
	return id[:sessionIDLen]
}

// Key is how an ID stands in HAProxy's table: 16 bytes of it, as text.
func (s Sessions) Key(i int) string {
	const size = 16
	return strings.ToUpper(hex.EncodeToString(s.ID(i)[:size]))
}

// Serve starts the server.
func (s Sessions) Serve(ctx context.Context) (*Servers, error) {
	hello, err := decode(sessionHello)
	if err != nil {
		return nil, err
	}
	return serve(ctx, exchange{hello: hello, answer: make([]byte, answerSize)}.accept)
}

// Open makes the clients.
func (s Sessions) Open(_ context.Context, addr string) (Client, error) {
	hello, err := decode(sessionHello)
	if err != nil {
		return nil, err
	}
	if len(hello) < sessionIDAt+sessionIDLen || hello[sessionIDAt-1] != sessionIDLen {
		return nil, fmt.Errorf("reading the captured hello: no session ID in %s", hex.EncodeToString(hello))
	}
	var turn atomic.Int64
	next := func() exchange {
		// A prime that divides no count walks over all sessions, far apart.
		const step = 7919
		i := int(turn.Add(step)) % s.Count
		h := append([]byte(nil), hello...)
		copy(h[sessionIDAt:], s.ID(i))
		return exchange{hello: h, answer: make([]byte, answerSize)}
	}
	return &shortClient{addr: addr, next: next}, nil
}

type shortClient struct {
	addr string
	next func() exchange
}

func (s *shortClient) Run(ctx context.Context, phase Phase) (Sample, error) {
	return drive(ctx, phase, shortWorkers, func(ctx context.Context, _ int) error {
		c, err := s.next().dial(ctx, s.addr)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		return ended(c)
	})
}

func (*shortClient) Close() {}

// connections opens n connections, a few at a time.
func connections(ctx context.Context, n int, x exchange, addr string) ([]*net.TCPConn, error) {
	conns := make([]*net.TCPConn, n)
	var next atomic.Int64
	_, err := drive(ctx, Phase{Ops: n}, min(n, shortWorkers), func(ctx context.Context, _ int) error {
		c, err := x.dial(ctx, addr)
		if err == nil {
			conns[next.Add(1)-1] = c
		}
		return err
	})
	if err != nil {
		closeAll(conns)
		return nil, err
	}
	return conns, nil
}

func closeAll(conns []*net.TCPConn) {
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}
