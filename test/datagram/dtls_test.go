package datagram

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/mintmark/mintmark/mint"
	"github.com/mintmark/mintmark/mint/pion"
	"github.com/mintmark/mintmark/test/lab"
)

// cidLength is that of the DTLS servers' connection IDs.
const cidLength = 8

func dtlsOptions() []dtls.Option {
	return []dtls.Option{
		dtls.WithPSK(func([]byte) ([]byte, error) { return bytes.Repeat([]byte{7}, 16), nil }),
		dtls.WithPSKIdentityHint([]byte("lab")),
		dtls.WithCipherSuites(dtls.TLS_PSK_WITH_AES_128_GCM_SHA256),
	}
}

// startDTLS starts a server that answers to each record with its name and the
// record, and says its name on its own now and then. Its connection IDs begin
// with mark.
func startDTLS(t *testing.T, name string, mark byte) (addr string) {
	t.Helper()
	client := openMint(t, filepath.Join(t.TempDir(), "mint.json"), mint.Fixed(mint.Assignment{
		Pool: "dtls", Server: name, Keys: []mint.Key{{Mint: true, Bits: &mint.Bits{Mask: []byte{0xff}, Value: []byte{mark}}}},
	}))
	ids, err := pion.WithConnectionIDs(client, pion.Config{Length: cidLength})
	if err != nil {
		t.Fatal(err)
	}
	at, err := net.ResolveUDPAddr("udp", lab.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	options := []dtls.ServerOption{ids}
	for _, o := range dtlsOptions() {
		options = append(options, o)
	}
	ln, err := dtls.ListenWithOptions("udp", at, options...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serveDTLS(ctx, name, conn) })
		}
	})
	t.Cleanup(func() {
		stop()
		_ = ln.Close()
		wg.Wait()
	})
	return at.String()
}

func serveDTLS(ctx context.Context, name string, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := conn.(*dtls.Conn).HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return
	}
	wg.Go(func() {
		tick := time.NewTicker(pushInterval)
		defer tick.Stop()
		for {
			if _, err := conn.Write([]byte(name + " push")); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			_ = conn.Close()
			return
		}
		if _, err := conn.Write([]byte(name + " " + string(buf[:n]))); err != nil {
			return
		}
	}
}

func dtlsConfig(admin, listen string, addrs []string) string {
	var servers strings.Builder
	for i, addr := range addrs {
		fmt.Fprintf(&servers, "      - {name: %c, address: %q, ids: [{bits: {offset: 0, mask: \"ff\", values: [\"%02x\"]}}]}\n", 'a'+i, addr, i+1)
	}
	return fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - {name: dtls, listen: %q, protocol: dtls, pool: dtls}
pools:
  - name: dtls
    health: {type: dtls, interval: 10s, timeout: 10s, fall: 10} # servers of a busy test are slow
    scheme: {kind: bits, cid_length: %d}
    servers:
%s`, admin, listen, cidLength, &servers)
}

// A dtlsClient is one association.
type dtlsClient struct {
	conn   *dtls.Conn
	socket *socket
	server string
}

func dialDTLS(t *testing.T, p *path) *dtlsClient {
	t.Helper()
	s := newSocket(t, p, 0)
	options := []dtls.ClientOption{dtls.WithConnectionIDGenerator(dtls.OnlySendCIDGenerator())}
	for _, o := range dtlsOptions() {
		options = append(options, o)
	}
	conn, err := dtls.ClientWithOptions(s, p.to, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), settleLimit)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		t.Fatal(err)
	}
	return &dtlsClient{conn: conn, socket: s}
}

// hears reports whether the server says something within d, as it does on its
// own.
func (c *dtlsClient) hears(d time.Duration) (bool, error) {
	buf := make([]byte, 2048)
	if err := c.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return false, err
	}
	n, err := c.conn.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, c.note(string(buf[:n]))
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func (c *dtlsClient) note(said string) error {
	server, _, _ := strings.Cut(said, " ")
	if c.server == "" {
		c.server = server
	}
	if c.server != server {
		return fmt.Errorf("server %s answered; it was %s before", server, c.server)
	}
	return nil
}

// askAgain is after how long a client sends a record again: DTLS does not, for
// those of applications.
const askAgain = time.Second

// ask sends a record until it is answered.
func (c *dtlsClient) ask(text string) error {
	var err error
	for end := time.Now().Add(settleLimit); time.Now().Before(end); {
		if _, err := c.conn.Write([]byte(text)); err != nil {
			return err
		}
		var answered bool
		if answered, err = c.answered(text, askAgain); answered {
			return nil
		}
	}
	return fmt.Errorf("waiting for the answer to %q: %w", text, err)
}

// answered reports whether the server answers to text within d.
func (c *dtlsClient) answered(text string, d time.Duration) (bool, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return false, err
	}
	buf := make([]byte, 2048)
	for {
		n, err := c.conn.Read(buf)
		if err != nil {
			return false, err
		}
		if err := c.note(string(buf[:n])); err != nil {
			return false, err
		}
		if strings.HasSuffix(string(buf[:n]), " "+text) {
			return true, nil
		}
	}
}

// DTLS 1.2 with connection IDs (RFC 9146): associations stay with their server
// when the client's address changes, and when their balancer dies and another
// takes over. Where the client only receives, the server learns of the new way
// with the client's next record, and until then what it says is lost.
func TestDTLSSurvivesItsBalancer(t *testing.T) {
	t.Parallel()
	var addrs []string
	for i := range 3 {
		addrs = append(addrs, startDTLS(t, string(rune('a'+i)), byte(i+1)))
	}
	var replicas []*balancer
	for range 2 {
		b := &balancer{addr: lab.FreeAddr(t), admin: lab.FreeAddr(t)}
		b.Balancer = lab.StartBalancer(t, mintmark, b.admin, dtlsConfig(b.admin, b.addr, addrs))
		replicas = append(replicas, b)
	}
	p := newPath(t, replicas[0].addr)
	var clients []*dtlsClient
	byServer := map[string]int{}
	for i := range 24 {
		c := dialDTLS(t, p)
		if err := c.ask("hello"); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		clients = append(clients, c)
		byServer[c.server]++
	}
	if len(byServer) != 3 {
		t.Errorf("associations are on the servers %v; want all three", byServer)
	}
	for i, c := range clients {
		for round := range 3 {
			if err := c.socket.rebind(); err != nil {
				t.Fatal(err)
			}
			if err := c.ask(fmt.Sprint("moved ", round)); err != nil {
				t.Errorf("client %d has another address: %v", i, err)
			}
		}
	}

	replicas[0].Kill()
	p.switchTo(t, replicas[1].addr)
	senders, receivers := clients[:12], clients[12:]
	for i, c := range senders {
		if err := c.ask("still there?"); err != nil {
			t.Errorf("client %d, of another balancer: %v", i, err)
		}
	}
	for i, c := range receivers {
		// What was underway is read first.
		lab.Eventually(t, settleLimit, "all is read that came the old way", func() bool {
			heard, err := c.hears(20 * pushInterval)
			if err != nil {
				t.Fatalf("receiver %d: %v", i, err)
			}
			return !heard
		})
		if err := c.ask("keep-alive"); err != nil {
			t.Errorf("receiver %d, at its next record: %v", i, err)
		}
		if heard, err := c.hears(settleLimit); !heard || err != nil {
			t.Errorf("receiver %d does not hear its server again: %v", i, err)
		}
	}
	m := replicas[1].Metrics()
	if n := m.Sum("mintmark_decisions_total", map[string]string{"listener": "dtls", "field": "dtls_cid", "routed_by": "mint"}); n == 0 {
		t.Error("the second balancer says that it routed no record by its ID")
	}
	if n := m.Sum("mintmark_decisions_total", map[string]string{"listener": "dtls", "routed_by": "balance"}); n != 0 {
		t.Errorf("the second balancer balanced %v datagrams; all had IDs", n)
	}
}
