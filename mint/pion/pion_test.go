package pion_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/mint"
	"github.com/mintmark/mintmark/mint/pion"
)

func open(t *testing.T, keys ...mint.Key) *mint.Client {
	t.Helper()
	c, err := mint.Open(mint.Config{
		State: filepath.Join(t.TempDir(), "mint.json"), Source: mint.Fixed(mint.Assignment{Pool: "coap", Server: "a", Keys: keys}),
	})
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
	if len(keys) > 0 {
		if err := c.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func psk([]byte) ([]byte, error) { return bytes.Repeat([]byte{7}, 16), nil }

// serve starts a server that echoes.
func serve(t *testing.T, c *mint.Client, length int) net.Addr {
	t.Helper()
	ids, err := pion.WithConnectionIDs(c, pion.Config{Length: length})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := dtls.ListenWithOptions("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, ids,
		dtls.WithPSK(psk), dtls.WithPSKIdentityHint([]byte("test")), dtls.WithCipherSuites(dtls.TLS_PSK_WITH_AES_128_GCM_SHA256))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() { echo(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr()
}

func echo(conn net.Conn) {
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A tap is a client's socket that keeps the connection IDs that it sends, and
// that can be exchanged for one with another address.
type tap struct {
	net.PacketConn
	length int

	mu  sync.Mutex
	ids [][]byte
}

// The place of the ID in a record of DTLS 1.2 that has one (RFC 9146, 4).
const (
	recordWithID = 25
	idAt         = 11
)

func (p *tap) WriteTo(b []byte, to net.Addr) (int, error) {
	if b[0] == recordWithID {
		p.mu.Lock()
		p.ids = append(p.ids, bytes.Clone(b[idAt:idAt+p.length]))
		p.mu.Unlock()
	}
	return p.PacketConn.WriteTo(b, to)
}

// talk makes an association, sends something and gets it back, and returns the
// connection IDs of what it sent.
func talk(t *testing.T, server net.Addr, length int) [][]byte {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{PacketConn: conn, length: length}
	c, err := dtls.ClientWithOptions(p, server, dtls.WithPSK(psk), dtls.WithPSKIdentityHint([]byte("test")),
		dtls.WithCipherSuites(dtls.TLS_PSK_WITH_AES_128_GCM_SHA256), dtls.WithConnectionIDGenerator(dtls.OnlySendCIDGenerator()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("mint")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "mint" {
		t.Fatalf("got %q back, %v", buf[:n], err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ids) == 0 {
		t.Fatal("no record with a connection ID was sent")
	}
	return p.ids
}

// The connection IDs on the wire are the server's, in each scheme.
func TestServerMints(t *testing.T) {
	t.Parallel()
	var single, four mint.QUICLB
	for text, q := range map[string]*mint.QUICLB{
		`{"config_id": 1, "server_id": "31441a", "nonce_length": 13, "key": "fdf726a9893ec05c0632d3956680baf0"}`: &single,
		`{"config_id": 2, "server_id": "31441a", "nonce_length": 5, "key": "fdf726a9893ec05c0632d3956680baf0"}`:  &four,
	} {
		if err := json.Unmarshal([]byte(text), q); err != nil {
			t.Fatal(err)
		}
	}
	set, err := quiclb.NewSet(single.Config, four.Config)
	if err != nil {
		t.Fatal(err)
	}
	decodes := func(q mint.QUICLB) func([]byte) bool {
		return func(id []byte) bool {
			got, cause := set.Decode(id)
			return cause == quiclb.Decodable && got.ServerID == q.ServerID && got.Config == q.Config.ID
		}
	}
	for name, tc := range map[string]struct {
		key    mint.Key
		length int
		want   func(id []byte) bool
	}{
		"bits, six octets": {
			mint.Key{Mint: true, Bits: &mint.Bits{Mask: []byte{0xff}, Value: []byte{1}}},
			6,
			func(id []byte) bool { return id[0] == 1 },
		},
		"text of a plan": {
			mint.Key{Mint: true, Name: make([]byte, mint.NameSize), Text: "0a0b0c"},
			8,
			func(id []byte) bool { return hex.EncodeToString(id[:3]) == "0a0b0c" },
		},
		"QUIC-LB, single pass": {mint.Key{Mint: true, QUICLB: &single}, 17, decodes(single)},
		"QUIC-LB, four pass":   {mint.Key{Mint: true, QUICLB: &four}, 9, decodes(four)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := serve(t, open(t, tc.key), tc.length)
			seen := map[string]bool{}
			for range 3 {
				for _, id := range talk(t, addr, tc.length) {
					if !tc.want(id) {
						t.Errorf("the client sent %x", id)
					}
					seen[string(id)] = true
				}
			}
			if len(seen) != 3 {
				t.Errorf("three associations have %d IDs", len(seen))
			}
		})
	}
}

// A server without an assignment mints IDs that are nobody's.
func TestServerWithoutAssignment(t *testing.T) {
	t.Parallel()
	c, err := mint.Open(mint.Config{State: filepath.Join(t.TempDir(), "mint.json"), Source: mint.Fixed(mint.Assignment{})})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range talk(t, serve(t, c, 8), 8) {
		if id[0] != 7<<5|7 {
			t.Errorf("the client sent %x; want the codepoint 0b111 and the length", id)
		}
	}
	if _, err := pion.WithConnectionIDs(c, pion.Config{Length: 21}); err == nil {
		t.Error("connection IDs of 21 octets were accepted")
	}
}
