package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// HTTP is requests with a session cookie, on connections that stay open.
type HTTP struct {
	Conns int
}

const (
	// HTTPMark is what the server put behind the dot of its JSESSIONID.
	HTTPMark = "s1"
	// httpRequest is what a browser sends, without most of what it would say
	// about itself.
	httpRequest = "GET /cart/items?page=2 HTTP/1.1\r\nHost: shop.example\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\n" +
		"Cookie: theme=dark; JSESSIONID=6FF2B3C41D7A4C02A21C9A11E5D4E871." + HTTPMark + "; lang=en\r\n\r\n"
	// httpBody is the length of a response's body.
	httpBody = 128
	// maxHead bounds the head of a request or response.
	maxHead = 8 << 10
)

// Serve starts the server.
func (HTTP) Serve(ctx context.Context) (*Servers, error) {
	response := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n%s",
		httpBody, bytes.Repeat([]byte("m"), httpBody))
	s, err := serve(ctx, func(c *net.TCPConn) error {
		in := bufio.NewReaderSize(c, maxHead)
		for {
			if _, err := head(in); err != nil {
				return err
			}
			if _, err := c.Write(response); err != nil {
				return err
			}
		}
	})
	if err == nil {
		s.Marks = []string{HTTPMark}
	}
	return s, err
}

// head reads the head of a message and returns its Content-Length.
func head(in *bufio.Reader) (length int, err error) {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return length, nil
		}
		key, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(key, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
}

// Open makes the clients.
func (h HTTP) Open(ctx context.Context, addr string) (Client, error) {
	s := &streams{}
	var readers []*bufio.Reader
	for range h.Conns {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			s.Close()
			return nil, err
		}
		conn, ok := c.(*net.TCPConn)
		if !ok {
			s.Close()
			return nil, errors.Join(errors.New("connecting: no TCP connection"), c.Close())
		}
		s.conns = append(s.conns, conn)
		readers = append(readers, bufio.NewReaderSize(conn, maxHead))
	}
	s.do = func(w int) error {
		if _, err := io.WriteString(s.conns[w], httpRequest); err != nil {
			return err
		}
		const good = "HTTP/1.1 200"
		if start, err := readers[w].Peek(len(good)); err != nil {
			return fmt.Errorf("reading a response: %w", err)
		} else if string(start) != good {
			return fmt.Errorf("reading a response: it begins %q", start)
		}
		n, err := head(readers[w])
		if err != nil {
			return fmt.Errorf("reading a response: %w", err)
		}
		if n != httpBody {
			return fmt.Errorf("reading a response: its body has %d bytes; want %d", n, httpBody)
		}
		_, err = readers[w].Discard(n)
		return err
	}
	return s, nil
}
