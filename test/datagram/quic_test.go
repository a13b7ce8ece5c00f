package datagram

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/mint"
	"github.com/mintmark/mintmark/mint/quicgo"
	"github.com/mintmark/mintmark/test/lab"
)

// settleLimit bounds how long a process may take to do what it was told.
const settleLimit = 30 * time.Second

// alpn is what servers and clients of the lab speak over QUIC.
const alpn = "lab"

// A scheme is a QUIC-LB configuration with the IDs of three servers.
type scheme struct {
	name    string
	id      int
	nonce   int
	key     string
	servers [3]string
}

// The three algorithms.
var (
	plaintext  = scheme{"plaintext", 0, 5, "", [3]string{"c46051", "c46052", "c46053"}}
	singlePass = scheme{"single pass", 1, 13, "fdf726a9893ec05c0632d3956680baf0", [3]string{"31441a", "31441b", "31441c"}}
	fourPass   = scheme{"four pass", 2, 5, "8f95f09245765f80256934e50c66207f", [3]string{"aa01bb", "aa02bb", "aa03bb"}}
)

// part is what a server mints with.
func (c scheme) part(t *testing.T, server int) *mint.QUICLB {
	t.Helper()
	var q mint.QUICLB
	text := fmt.Sprintf(`{"config_id": %d, "server_id": %q, "nonce_length": %d, "key": %q}`, c.id, c.servers[server], c.nonce, c.key)
	if err := json.Unmarshal([]byte(text), &q); err != nil {
		t.Fatal(err)
	}
	return &q
}

// A fleet is three QUIC servers and the balancers in front of them.
type fleet struct {
	t       *testing.T
	cert    *lab.Cert
	servers [3]*quicServer
}

// A quicServer mints connection IDs by the assignment in a file.
type quicServer struct {
	name, addr string
	assignment string // path
	client     *mint.Client
	door       *door
	transport  *quic.Transport
}

// startFleet starts three servers that mint under the first scheme. What they
// do with connections is up to serve. all are the schemes that the test will
// use.
func startFleet(t *testing.T, serve func(s *quicServer, ln *quic.Listener), all ...scheme) *fleet {
	t.Helper()
	return startFleetFor(t, alpn, serve, all...)
}

func startFleetFor(t *testing.T, alpn string, serve func(s *quicServer, ln *quic.Listener), all ...scheme) *fleet {
	t.Helper()
	f := &fleet{t: t, cert: lab.NewCert(t)}
	cert, err := tls.LoadX509KeyPair(f.cert.CertFile, f.cert.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.servers {
		s := &quicServer{name: string(rune('a' + i))}
		f.servers[i] = s
		s.mint(t, i, all[0], nil)
		conn, err := listenSomewhere()
		if err != nil {
			t.Fatal(err)
		}
		s.addr = conn.LocalAddr().String()
		s.door = newDoor(t, conn, i, all)
		ids, err := quicgo.New(s.client, quicgo.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s.transport = &quic.Transport{Conn: s.door, ConnectionIDGenerator: ids}
		ln, err := s.transport.Listen(
			&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{alpn}},
			&quic.Config{HandshakeIdleTimeout: settleLimit, MaxIdleTimeout: longIdle, DisablePathMTUDiscovery: true})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			serve(s, ln)
		}()
		t.Cleanup(func() {
			_ = ln.Close()
			_ = s.transport.Close()
			_ = conn.Close()
			<-done
		})
	}
	return f
}

func newDoor(t *testing.T, conn net.PacketConn, server int, all []scheme) *door {
	t.Helper()
	d := &door{PacketConn: conn, others: map[quiclb.Decoded]bool{}}
	var configs []quiclb.Config
	for _, c := range all {
		for i := range c.servers {
			q := c.part(t, i)
			if i == server {
				configs = append(configs, q.Config)
			} else {
				d.others[quiclb.Decoded{ServerID: q.ServerID, Config: q.Config.ID}] = true
			}
		}
	}
	var err error
	if d.set, err = quiclb.NewSet(configs...); err != nil {
		t.Fatal(err)
	}
	return d
}

// mint has the server mint under now, and know before, by writing the file of
// its assignment, as whoever operates it does. It waits until that is so.
func (s *quicServer) mint(t *testing.T, i int, now scheme, before *scheme) {
	t.Helper()
	a := mint.Assignment{Pool: "quic", Server: s.name, Keys: []mint.Key{{Generation: uint32(now.id), Mint: true, QUICLB: now.part(t, i)}}}
	if before != nil {
		a.Keys = append(a.Keys, mint.Key{Generation: uint32(before.id), QUICLB: before.part(t, i)})
	}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if s.client == nil {
		dir := t.TempDir()
		s.assignment = lab.WriteFile(t, dir, "assignment.json", text)
		s.client = openMint(t, filepath.Join(dir, "mint.json"), mint.File(s.assignment))
		return
	}
	next := lab.WriteFile(t, filepath.Dir(s.assignment), "next", text)
	if err := os.Rename(next, s.assignment); err != nil {
		t.Fatal(err)
	}
	ids, err := s.client.ConnectionIDs(mint.ConnectionIDConfig{})
	if err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, settleLimit, "the server mints under the new configuration", func() bool {
		return quiclb.ConfigIDOf(ids.Append(nil)[0]) == quiclb.ConfigID(now.id)
	})
}

// openMint opens a client that follows a source until the test ends, and waits
// until there is something to mint.
func openMint(t *testing.T, state string, source mint.Source) *mint.Client {
	t.Helper()
	c, err := mint.Open(mint.Config{State: state, Source: source})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx) // nil, by its documentation
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	if err := c.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// config is the file of a balancer that knows the schemes given.
func (f *fleet) config(admin, listen string, live ...scheme) string {
	var configs, servers strings.Builder
	for _, c := range live {
		fmt.Fprintf(&configs, "        - {id: %d, server_id_length: %d, nonce_length: %d", c.id, len(c.servers[0])/2, c.nonce)
		if c.key != "" {
			fmt.Fprintf(&configs, ", key: %q", c.key)
		}
		configs.WriteString("}\n")
	}
	for i, s := range f.servers {
		var ids []string
		for _, c := range live {
			ids = append(ids, fmt.Sprintf("%d: %q", c.id, c.servers[i]))
		}
		fmt.Fprintf(&servers, "      - {name: %s, address: %q, server_ids: {%s}}\n", s.name, s.addr, strings.Join(ids, ", "))
	}
	return fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - {name: quic, listen: %q, protocol: quic, pool: quic}
pools:
  - name: quic
    health: {type: quic, interval: 10s, timeout: 10s, fall: 10} # servers of a busy test are slow
    scheme:
      kind: quic-lb
      configs:
%s    servers:
%s`, admin, listen, &configs, &servers)
}

// A balancer in front of a fleet.
type balancer struct {
	*lab.Balancer
	addr, admin string
}

func (f *fleet) balancer(live ...scheme) *balancer {
	f.t.Helper()
	b := &balancer{addr: lab.FreeAddr(f.t), admin: lab.FreeAddr(f.t)}
	b.Balancer = lab.StartBalancer(f.t, mintmark, b.admin, f.config(b.admin, b.addr, live...))
	return b
}

// reload has the balancer know other schemes, and waits until it does.
func (f *fleet) reload(b *balancer, live ...scheme) {
	f.t.Helper()
	before := b.Metrics().Sum("mintmark_config_last_reload_success_timestamp_seconds", nil)
	b.Reload(f.config(b.admin, b.addr, live...))
	lab.Eventually(f.t, settleLimit, "the balancer has read its file again", func() bool {
		return b.Metrics().Sum("mintmark_config_last_reload_success_timestamp_seconds", nil) > before
	})
}

// noStrays fails the test if a datagram came to the wrong server.
func (f *fleet) noStrays() {
	f.t.Helper()
	for _, s := range f.servers {
		if s.door.foreign.Load() != 0 {
			f.t.Errorf("server %s: %v", s.name, s.door)
		}
		if s.door.received.Load() == 0 {
			f.t.Errorf("server %s got nothing", s.name)
		}
	}
}

// tlsConfig is that of clients.
func (f *fleet) tlsConfig() *tls.Config {
	return &tls.Config{RootCAs: f.roots(), ServerName: lab.ServerName, NextProtos: []string{alpn}}
}

func (f *fleet) roots() *x509.CertPool { return f.cert.Roots }

// echo serves connections.
func echo(s *quicServer, ln *quic.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := ln.Accept(context.Background())
		if err != nil {
			return
		}
		wg.Go(func() { s.echo(conn) })
	}
}

// echo answers to each stream with the server's name, then with what it got.
func (s *quicServer) echo(conn *quic.Conn) {
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		_, _ = io.WriteString(stream, s.name)
		_, _ = io.Copy(stream, stream)
		_ = stream.Close()
	}
}

// A quicClient is one connection.
type quicClient struct {
	t      *testing.T
	conn   *quic.Conn
	path   *path
	socket *socket
	server string // that answered
	used   []*quic.Transport
}

// dial connects by p. The connection ends with the test.
func (f *fleet) dial(p *path, cfg *quic.Config) (*quicClient, error) {
	c := &quicClient{t: f.t, path: p}
	f.t.Cleanup(c.close)
	transport, socket, err := c.newTransport()
	if err != nil {
		return nil, err
	}
	c.socket = socket
	ctx, cancel := context.WithTimeout(f.t.Context(), settleLimit)
	defer cancel()
	if c.conn, err = transport.Dial(ctx, p.to, f.tlsConfig(), cfg); err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return c, nil
}

// newTransport returns a transport with a socket of its own.
func (c *quicClient) newTransport() (*quic.Transport, *socket, error) {
	s, err := openSocket(c.path, quiclb.MaxLength)
	if err != nil {
		return nil, nil, err
	}
	transport := &quic.Transport{Conn: s}
	c.used = append(c.used, transport)
	return transport, s, nil
}

// close tells the server that the connection ends, and only then closes what the
// connection went over: a server that is not told goes on sending, for which its
// balancer waits at its end.
func (c *quicClient) close() {
	if c.conn != nil {
		_ = c.conn.CloseWithError(0, "the test is over")
	}
	for _, t := range c.used {
		_ = t.Close()
		_ = t.Conn.Close()
	}
}

// transfer sends and gets back so many octets. It fails if they come from
// another server than before.
func (c *quicClient) transfer(size int) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), settleLimit)
	defer cancel()
	stream, err := c.conn.OpenStreamSync(ctx)
	if err != nil {
		return fmt.Errorf("opening a stream: %w", err)
	}
	if err := stream.SetDeadline(time.Now().Add(settleLimit)); err != nil {
		return err
	}
	sent := bytes.Repeat([]byte("mint"), size/4)
	if _, err := stream.Write(sent); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	if err := stream.Close(); err != nil {
		return err
	}
	got, err := io.ReadAll(stream)
	if err != nil {
		return fmt.Errorf("receiving, after %d of %d octets: %w", len(got), 1+len(sent), err)
	}
	if len(got) == 0 || !bytes.Equal(got[1:], sent) {
		return fmt.Errorf("got other octets back than were sent")
	}
	server := string(got[:1])
	if c.server == "" {
		c.server = server
	}
	if c.server != server {
		return fmt.Errorf("server %s answered; it was %s before", server, c.server)
	}
	return nil
}

// probeLimit bounds how long a client probes a path before it gives up.
const probeLimit = 5 * time.Second

// migrate moves the connection to another address by the rules of QUIC: the
// client validates a path and takes another connection ID (RFC 9000, 9).
func (c *quicClient) migrate() error {
	transport, socket, err := c.newTransport()
	if err != nil {
		return err
	}
	path, err := c.conn.AddPath(transport)
	if err != nil {
		return fmt.Errorf("adding a path: %w", err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), probeLimit)
	defer cancel()
	if err := path.Probe(ctx); err != nil {
		return fmt.Errorf("probing a path: %w", errors.Join(err, path.Close()))
	}
	if err := path.Switch(); err != nil {
		return fmt.Errorf("switching the path: %w", err)
	}
	c.socket = socket
	return nil
}
