package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
)

func TestLookup(t *testing.T) {
	t.Parallel()
	f := shards{count: 3}
	id := func(shard uint16) []byte { return append(mark(shard), "and the rest of a ticket"...) }
	for shard := range uint16(1000) {
		if server, _, ok := f.Lookup(idspace.FieldPSK, id(shard)); !ok || server != uint32(shard)%3 {
			t.Fatalf("shard %d: got server %d, %t", shard, server, ok)
		}
	}
	for _, other := range [][]byte{nil, []byte("sh"), []byte("sh\x00\x01X and more"), []byte("a ticket of somebody else")} {
		if server, _, ok := f.Lookup(idspace.FieldPSK, other); ok {
			t.Errorf("%q was taken for an ID of server %d", other, server)
		}
	}
}

func mark(shard uint16) []byte {
	hi, lo := byte(shard>>8), byte(shard)
	return []byte{'s', 'h', hi, lo, check(hi, lo)}
}

// Three servers with keys of their own, one balancer with the function: every
// session comes home.
func TestSessionsComeHome(t *testing.T) {
	example, err := os.ReadFile("function.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(example)
	for i, old := range []string{"127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"} {
		text = strings.Replace(text, old, serve(t, uint16(i+3)), 1)
	}
	// On an address drawn at random: on 127.0.0.1 the connection of somebody else
	// could get the port before the balancer does.
	free, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+mathrand.IntN(254), mathrand.IntN(256), 1+mathrand.IntN(254)))
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	text = strings.Replace(text, "127.0.0.1:8443", addr, 1)
	text = strings.Replace(text, "127.0.0.1:7071", "127.0.0.1:0", 1)
	file := filepath.Join(t.TempDir(), "function.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ready := make(chan string, 1)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, file, func(admin string) { ready <- admin }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	for range 4 {
		client := &tls.Config{InsecureSkipVerify: true, ServerName: "x", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for visit := range 10 {
			c, err := tls.Dial("tcp", addr, client)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(c); err != nil { // the ticket comes before the end
				t.Fatal(err)
			}
			if resumed := c.ConnectionState().DidResume; resumed != (visit > 0) {
				t.Errorf("visit %d: resumed %t", visit, resumed)
			}
			c.Close()
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// serve runs a TLS server that mints tickets of one shard.
func serve(t *testing.T, shard uint16) string {
	t.Helper()
	c := &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	c.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ticket, err := c.EncryptTicket(cs, ss)
		return append(mark(shard), ticket...), err
	}
	c.UnwrapSession = func(id []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ticket, mine := bytes.CutPrefix(id, mark(shard))
		if !mine {
			return nil, nil
		}
		return c.DecryptTicket(ticket, cs)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = io.WriteString(c, "hello")
				_ = c.Close()
			})
		}
	})
	return ln.Addr().String()
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
