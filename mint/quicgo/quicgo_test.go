package quicgo_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/mint"
	"github.com/mintmark/mintmark/mint/quicgo"
)

const key = "fdf726a9893ec05c0632d3956680baf0"

// quicLB is the part of a server in a configuration, as its file says it.
func quicLB(t *testing.T, text string) *mint.QUICLB {
	t.Helper()
	var q mint.QUICLB
	if err := json.Unmarshal([]byte(text), &q); err != nil {
		t.Fatal(err)
	}
	return &q
}

// A source hands out assignments when a test says so.
type source chan mint.Assignment

func (s source) Watch(ctx context.Context, take func(mint.Assignment) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case a := <-s:
			if err := take(a); err != nil {
				return err
			}
		}
	}
}

func (s source) Report(context.Context, mint.Report) error { return nil }

// assign puts an assignment into effect: the second one is taken when the
// first has been.
func (s source) assign(a mint.Assignment) {
	s <- a
	s <- a
}

func open(t *testing.T, path string, s mint.Source) *mint.Client {
	t.Helper()
	c, err := mint.Open(mint.Config{State: path, Source: s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return c
}

// patience is how long a test waits for what must come to pass.
const patience = time.Minute

// patient is for machines with much else to do: quic-go gives up a handshake
// after five seconds without a packet.
func patient() *quic.Config {
	return &quic.Config{HandshakeIdleTimeout: patience, MaxIdleTimeout: patience}
}

// A server echoes streams.
type server struct {
	addr net.Addr
	ids  *quicgo.Generator
}

func serve(t *testing.T, c *mint.Client, cfg quicgo.Config) *server {
	t.Helper()
	ids, err := quicgo.New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: conn, ConnectionIDGenerator: ids}
	ln, err := transport.Listen(&tls.Config{Certificates: []tls.Certificate{newCert(t)}, NextProtos: []string{"echo"}}, patient())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept(context.Background())
			if err != nil {
				return
			}
			wg.Go(func() { echo(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		_ = transport.Close()
		_ = conn.Close()
		wg.Wait()
	})
	return &server{conn.LocalAddr(), ids}
}

func echo(c *quic.Conn) {
	for {
		s, err := c.AcceptStream(context.Background())
		if err != nil {
			return
		}
		_, _ = io.Copy(s, s)
		_ = s.Close()
	}
}

func newCert(t *testing.T) tls.Certificate {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
}

// A tap is a client's socket that keeps the connection IDs of the packets with
// a short header that it sends (RFC 8999, 5.2): those the server minted.
type tap struct {
	net.PacketConn
	length int

	mu  sync.Mutex
	ids map[string]bool
}

func (p *tap) WriteTo(b []byte, to net.Addr) (int, error) {
	if len(b) > p.length && b[0]&0x80 == 0 {
		p.mu.Lock()
		p.ids[string(b[1:1+p.length])] = true
		p.mu.Unlock()
	}
	return p.PacketConn.WriteTo(b, to)
}

// talk makes a connection, sends something and gets it back, and returns the
// connection IDs that it used.
func (s *server) talk(t *testing.T) [][]byte {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	p := &tap{PacketConn: conn, length: s.ids.ConnectionIDLen(), ids: map[string]bool{}}
	transport := &quic.Transport{Conn: p}
	defer func() { _ = transport.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := transport.Dial(ctx, s.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"echo"}}, patient())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseWithError(0, "") }()
	stream, err := c.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("mint"), 5000)
	if _, err := stream.Write(sent); err != nil {
		t.Fatal(err)
	}
	_ = stream.Close()
	if got, err := io.ReadAll(stream); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("got %d bytes of %d back, %v", len(got), len(sent), err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids [][]byte
	for id := range p.ids {
		ids = append(ids, []byte(id))
	}
	if len(ids) == 0 {
		t.Fatal("no packet with a short header was sent")
	}
	return ids
}

// The connection IDs on the wire are the server's, in each algorithm.
func TestServerMints(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"plaintext":   `{"config_id": 0, "server_id": "c4605e", "nonce_length": 4}`,
		"single pass": `{"config_id": 1, "server_id": "31441a", "nonce_length": 13, "key": "` + key + `"}`,
		"four pass":   `{"config_id": 2, "server_id": "31441a", "nonce_length": 5, "key": "` + key + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := quicLB(t, text)
			set, err := quiclb.NewSet(q.Config)
			if err != nil {
				t.Fatal(err)
			}
			c := open(t, filepath.Join(t.TempDir(), "mint.json"), mint.Fixed(mint.Assignment{
				Pool: "h3", Server: "a", Keys: []mint.Key{{Mint: true, QUICLB: q}},
			}))
			if err := c.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, length := range []int{0, 17} {
				s := serve(t, c, quicgo.Config{Length: length, EncodeLength: true})
				for _, id := range s.talk(t) {
					got, cause := set.Decode(id)
					if cause != quiclb.Decodable || got.ServerID != q.ServerID || got.Config != q.Config.ID {
						t.Errorf("the client sent %x, which decodes to %v, %v; want %v", id, got, cause, q.ServerID)
					}
				}
				if n := s.ids.Unroutable(); n != 0 {
					t.Errorf("%d IDs cannot be routed", n)
				}
			}
		})
	}
}

// A rotation takes effect in a server that runs, for new connections, and one
// that is there goes on.
func TestServerRotates(t *testing.T) {
	t.Parallel()
	src := make(source)
	c := open(t, filepath.Join(t.TempDir(), "mint.json"), src)
	s := serve(t, c, quicgo.Config{})
	for _, id := range s.talk(t) { // before there is an assignment
		if id[0] != 7<<5|19 {
			t.Errorf("the client sent %x; want the codepoint 0b111 and the length", id)
		}
	}
	for i, text := range []string{
		`{"config_id": 0, "server_id": "c4605e", "nonce_length": 4}`,
		`{"config_id": 1, "server_id": "31441a", "nonce_length": 13, "key": "` + key + `"}`,
		`{"config_id": 2, "server_id": "31441a31441a", "nonce_length": 6, "key": "` + key + `"}`,
	} {
		q := quicLB(t, text)
		src.assign(mint.Assignment{Version: uint64(i + 1), Keys: []mint.Key{{Generation: uint32(i), Mint: true, QUICLB: q}}})
		set, err := quiclb.NewSet(q.Config)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range s.talk(t) {
			if got, cause := set.Decode(id); cause != quiclb.Decodable || got.ServerID != q.ServerID {
				t.Errorf("after rotation %d: the client sent %x, which decodes to %v, %v", i, id, got, cause)
			}
		}
	}
}

// A server whose nonces are used up goes on with the codepoint 0b111, until a
// rotation brings new ones.
func TestServerWithoutNonces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mint.json")
	text := fmt.Sprintf(`{"assignment": {"version": 1, "keys": [{"generation": 1, "mint": true, "quic_lb":
		{"config_id": 0, "server_id": "c4605e", "nonce_length": 4, "key": %q}}]},
		"nonces": {"1": {"first": "AAAAAA==", "count": 1}}}`, key)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	src := make(source)
	s := serve(t, open(t, path, src), quicgo.Config{Length: 8})
	s.talk(t) // quic-go mints several IDs for each connection
	for _, id := range s.talk(t) {
		if id[0] != 7<<5|7 {
			t.Errorf("the client sent %x; want the codepoint 0b111 and the length", id)
		}
	}
	if s.ids.Unroutable() == 0 {
		t.Error("nothing says that IDs cannot be routed")
	}
	q := quicLB(t, `{"config_id": 4, "server_id": "aa", "nonce_length": 6}`)
	src.assign(mint.Assignment{Version: 2, Keys: []mint.Key{{Generation: 2, Mint: true, QUICLB: q}}})
	for _, id := range s.talk(t) {
		if id[0]>>5 != 4 || id[1] != 0xaa {
			t.Errorf("after a rotation: the client sent %x; want configuration 4", id)
		}
	}
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	c := open(t, filepath.Join(t.TempDir(), "mint.json"), make(source))
	for _, length := range []int{-1, 1, 7, 21} {
		if _, err := quicgo.New(c, quicgo.Config{Length: length}); err == nil {
			t.Errorf("connection IDs of %d octets were accepted", length)
		}
	}
}
