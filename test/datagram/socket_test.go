package datagram

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace/quiclb"
)

// A path is how clients reach a balancer. It can be switched from one to
// another, as the network does when a balancer dies: clients notice nothing.
type path struct {
	to  net.Addr // what clients believe to talk to
	via atomic.Pointer[net.UDPAddr]
}

func newPath(t *testing.T, balancer string) *path {
	t.Helper()
	p := &path{to: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}}
	p.switchTo(t, balancer)
	return p
}

func (p *path) switchTo(t *testing.T, balancer string) {
	t.Helper()
	addr, err := net.ResolveUDPAddr("udp", balancer)
	if err != nil {
		t.Fatal(err)
	}
	p.via.Store(addr)
}

// A socket is a client's. Its address can change underneath the client, as
// with a NAT that forgets, and it knows what connection IDs it sent.
type socket struct {
	path *path
	// cidLength is that of the servers' IDs in packets with a short header; 0:
	// they are not looked at.
	cidLength int

	lastSent atomic.Int64 // in nanoseconds of Unix time
	config   atomic.Int32 // of the last ID in a short header; -1: none was sent

	mu       sync.Mutex
	conn     *net.UDPConn
	deadline time.Time
	closed   bool
}

// newSocket is openSocket for a socket that is closed when the test ends.
func newSocket(t *testing.T, p *path, cidLength int) *socket {
	t.Helper()
	s, err := openSocket(p, cidLength)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// openSocket opens a socket on a loopback address drawn at random.
func openSocket(p *path, cidLength int) (*socket, error) {
	conn, err := listenSomewhere()
	if err != nil {
		return nil, err
	}
	s := &socket{path: p, cidLength: cidLength, conn: conn}
	s.config.Store(-1)
	return s, nil
}

func listenSomewhere() (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), byte(1+rand.IntN(254)))})
	if err != nil {
		return nil, err
	}
	// As much as the kernel lets it: a busy machine must not lose datagrams.
	return conn, conn.SetReadBuffer(4 << 20)
}

// rebind gives the socket another address and port.
func (s *socket) rebind() error {
	next, err := listenSomewhere()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return next.Close()
	}
	if err := next.SetReadDeadline(s.deadline); err != nil {
		return err
	}
	old := s.conn
	s.conn = next
	return old.Close()
}

func (s *socket) current() (*net.UDPConn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn, s.closed
}

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		conn, _ := s.current()
		n, _, err := conn.ReadFromUDP(b)
		if err != nil {
			if now, closed := s.current(); now != conn && !closed {
				continue // it was exchanged
			}
		}
		return n, s.path.to, err
	}
}

func (s *socket) WriteTo(b []byte, _ net.Addr) (int, error) {
	if s.cidLength > 0 && len(b) > s.cidLength && b[0]&0x80 == 0 { // RFC 8999, 5.2
		s.config.Store(int32(quiclb.ConfigIDOf(b[1])))
	}
	for {
		conn, _ := s.current()
		s.lastSent.Store(time.Now().UnixNano())
		n, err := conn.WriteToUDP(b, s.path.via.Load())
		if err != nil {
			if now, closed := s.current(); now != conn && !closed {
				continue
			}
		}
		return n, err
	}
}

// quiet reports whether nothing was sent for so long.
func (s *socket) quiet(d time.Duration) bool {
	return time.Since(time.Unix(0, s.lastSent.Load())) > d
}

func (s *socket) LocalAddr() net.Addr {
	conn, _ := s.current()
	return conn.LocalAddr()
}

func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.conn.Close()
}

func (s *socket) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

func (s *socket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return s.conn.SetReadDeadline(t)
}

// SetWriteDeadline does nothing: a datagram is sent or not.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

// A door is a server's socket. It counts datagrams that are another server's:
// those whose connection ID decodes to one.
type door struct {
	net.PacketConn // and not *net.UDPConn, past whose ReadFrom quic-go would read
	set            *quiclb.Set
	others         map[quiclb.Decoded]bool

	foreign, received atomic.Int64
}

func (d *door) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := d.PacketConn.ReadFrom(b)
	if err == nil && n > 1 && b[0]&0x80 == 0 {
		d.received.Add(1)
		if got, cause := d.set.Decode(b[1:n]); cause == quiclb.Decodable && d.others[got] {
			d.foreign.Add(1)
		}
	}
	return n, from, err
}

func (d *door) String() string {
	return fmt.Sprintf("%d datagrams of %d were another server's", d.foreign.Load(), d.received.Load())
}
