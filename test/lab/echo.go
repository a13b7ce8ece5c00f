package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// An EchoServer speaks plain TCP, inside the test: it greets with its name
// and answers each line with the same line.
type EchoServer struct {
	Name string
	Addr string
}

// StartEcho runs an EchoServer until the test ends.
func StartEcho(tb testing.TB, name string) *EchoServer {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	tb.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go echo(conn, name)
		}
	}()
	return &EchoServer{Name: name, Addr: ln.Addr().String()}
}

func echo(conn net.Conn, name string) {
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, name); err != nil {
		return
	}
	_, _ = io.Copy(conn, conn)
}

// An EchoConn is a connection to an EchoServer, perhaps through a balancer.
type EchoConn struct {
	Server string // who greeted
	conn   net.Conn
	lines  *bufio.Reader
}

// DialEcho connects and reads the greeting.
func DialEcho(addr string) (*EchoConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), clientLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	c := &EchoConn{conn: conn, lines: bufio.NewReader(conn)}
	if c.Server, err = c.readLine(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("reading the greeting: %w", err)
	}
	return c, nil
}

// Say sends a line and checks that it comes back.
func (c *EchoConn) Say(line string) error {
	if _, err := fmt.Fprintln(c.conn, line); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	got, err := c.readLine()
	if err != nil {
		return fmt.Errorf("reading the echo: %w", err)
	}
	if got != line {
		return fmt.Errorf("sent %q, got back %q", line, got)
	}
	return nil
}

func (c *EchoConn) readLine() (string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(clientLimit)); err != nil {
		return "", err
	}
	line, err := c.lines.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

// Close closes the connection.
func (c *EchoConn) Close() { c.conn.Close() }
