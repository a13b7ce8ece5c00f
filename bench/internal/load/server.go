package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// serve calls handle for each connection, in a goroutine of its own. Stop
// returns when all have ended.
func serve(ctx context.Context, handle func(*net.TCPConn) error) (*Servers, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // no server that peers are put in front of listens for it
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	s := &server{ln: ln, handle: handle, open: map[*net.TCPConn]struct{}{}}
	s.group.Go(s.accept)
	return &Servers{Addrs: []string{ln.Addr().String()}, Marks: []string{Mark}, Stop: s.stop}, nil
}

// A server accepts connections and keeps those that are open.
type server struct {
	ln     net.Listener
	handle func(*net.TCPConn) error
	group  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	open    map[*net.TCPConn]struct{}
	stopped bool
}

func (s *server) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return // closed
		}
		conn, ok := c.(*net.TCPConn)
		if !ok || !s.keep(conn) {
			c.Close()
			return
		}
		s.group.Go(func() {
			// A fault shows at the client, which has an expectation.
			_ = s.handle(conn)
			_ = conn.Close()
			s.mu.Lock()
			delete(s.open, conn)
			s.mu.Unlock()
		})
	}
}

// keep remembers a connection, unless the server has been stopped.
func (s *server) keep(c *net.TCPConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.open[c] = struct{}{}
	}
	return !s.stopped
}

func (s *server) stop() {
	s.ln.Close()
	s.mu.Lock()
	s.stopped = true
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.group.Wait()
}

// exchange is a hello and what the server answers it with.
type exchange struct{ hello, answer []byte }

// browser returns the exchange of a browser that resumes.
func browser() (exchange, error) {
	hello, err := decode(browserHello)
	if err != nil {
		return exchange{}, fmt.Errorf("reading the captured hello: %w", err)
	}
	answer, err := firstFlight(hello)
	return exchange{hello: hello, answer: answer}, err
}

// accept is the server's side.
func (x exchange) accept(c *net.TCPConn) error {
	buf := make([]byte, len(x.hello))
	if _, err := io.ReadFull(c, buf); err != nil {
		return err
	}
	_, err := c.Write(x.answer)
	return err
}

// dial is the client's side. The connection's deadline is opLimit away.
func (x exchange) dial(ctx context.Context, addr string) (*net.TCPConn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c, ok := conn.(*net.TCPConn)
	if !ok {
		conn.Close()
		return nil, errors.New("connecting: no TCP connection")
	}
	if err := x.shake(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (x exchange) shake(c *net.TCPConn) error {
	if err := c.SetDeadline(time.Now().Add(opLimit)); err != nil {
		return err
	}
	if _, err := c.Write(x.hello); err != nil {
		return err
	}
	var buf [answerSize]byte
	if _, err := io.ReadFull(c, buf[:]); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if string(buf[:]) != string(x.answer) {
		return errors.New("reading the answer: it is not the server's")
	}
	return nil
}

// ended reads the end of a connection, and that there is nothing before it.
func ended(c *net.TCPConn) error {
	var one [1]byte
	n, err := c.Read(one[:])
	if n > 0 {
		return errors.New("reading the end: there is more")
	}
	// A proxy may say with a reset that the server has gone altogether.
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return fmt.Errorf("reading the end: %w", err)
}
