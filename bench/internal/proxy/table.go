package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// fillLimit bounds filling a table; a million entries take about ten seconds.
const fillLimit = 2 * time.Minute

// Fill puts n entries into HAProxy's table: the key of the i-th, and the number
// of its server, from 1 on.
func (p *Proxy) Fill(ctx context.Context, n int, entry func(i int) (key string, server int)) error {
	err := p.control(ctx, func(c net.Conn, answers *bufio.Reader) error {
		// All answers are empty lines; they are read while commands are sent,
		// because neither side buffers a million.
		sent := make(chan error, 1) // one result
		go func() { sent <- commands(c, n, entry) }()
		for range n {
			line, err := answers.ReadString('\n')
			if err != nil {
				return err
			}
			if said := strings.Trim(line, "> \n"); said != "" {
				return fmt.Errorf("HAProxy said %q", said)
			}
		}
		return <-sent
	})
	if err != nil {
		return fmt.Errorf("filling HAProxy's table: %w", err)
	}
	used, err := p.Used(ctx)
	if err == nil && used != n {
		err = fmt.Errorf("filling HAProxy's table: it has %d entries; want %d", used, n)
	}
	return err
}

func commands(c io.Writer, n int, entry func(i int) (key string, server int)) error {
	w := bufio.NewWriter(c)
	for i := range n {
		key, server := entry(i)
		if _, err := fmt.Fprintf(w, "set table web key %s data.server_id %d\n", key, server); err != nil {
			return err
		}
	}
	return w.Flush()
}

// Used returns how many entries HAProxy's table has.
func (p *Proxy) Used(ctx context.Context) (int, error) {
	used := 0
	err := p.control(ctx, func(c net.Conn, answers *bufio.Reader) error {
		if _, err := io.WriteString(c, "show table\n"); err != nil {
			return err
		}
		line, err := answers.ReadString('\n')
		if err != nil {
			return err
		}
		_, number, ok := strings.Cut(line, "used:")
		if !ok {
			return fmt.Errorf("HAProxy said %q", line)
		}
		used, err = strconv.Atoi(strings.TrimSpace(number))
		return err
	})
	return used, err
}

// control has do talk with HAProxy's control socket, line by line.
func (p *Proxy) control(ctx context.Context, do func(net.Conn, *bufio.Reader) error) (err error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", p.Control)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.SetDeadline(time.Now().Add(fillLimit)); err != nil {
		return err
	}
	// Without a prompt HAProxy hangs up after one command.
	if _, err := io.WriteString(c, "prompt\n"); err != nil {
		return err
	}
	answers := bufio.NewReader(c)
	if _, err := answers.ReadString('\n'); err != nil {
		return err
	}
	return do(c, answers)
}
