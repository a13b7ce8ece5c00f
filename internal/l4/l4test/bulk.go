package l4test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/route"
)

// testBulk moves a lot both ways at once, through a tls listener, where the
// beginning is watched and the rest is not.
func testBulk(t *testing.T, f Factory) {
	bulk(t, f, 64<<20)
}

// testGibibyte is testBulk with a gibibyte in each direction.
func testGibibyte(t *testing.T, f Factory) {
	bulk(t, f, 1<<30)
}

func bulk(t *testing.T, f Factory, size int64) {
	r := start(t, f, setup{settings: l4.Settings{TLS: true}, pool: newPool(t, route.PoolConfig{}, "a")})
	a := r.serve("a")
	c, s := r.pair(a, plainHello())
	// A gibibyte through a busy machine may take its time.
	for _, nc := range []net.Conn{c, s} {
		if err := nc.SetDeadline(time.Now().Add(10 * patience)); err != nil {
			t.Fatal(err)
		}
	}
	type sums struct{ sent, received []byte }
	var up, down sums
	var wg sync.WaitGroup
	transfer := func(from, to net.Conn, seed uint64, out *sums) {
		wg.Go(func() {
			sum, err := sendPattern(from, seed, size)
			if err != nil {
				t.Errorf("sending: %v", err)
			}
			out.sent = sum
			// The other direction is still running: this is a half-close.
			if err := from.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			h := sha256.New()
			n, err := io.Copy(h, to)
			if err != nil || n != size {
				t.Errorf("received %d bytes, then %v; want %d", n, err, size)
			}
			out.received = h.Sum(nil)
		})
	}
	transfer(c, s, 1, &up)
	transfer(s, c, 2, &down)
	wg.Wait()
	if !bytes.Equal(up.sent, up.received) {
		t.Error("what the server received is not what the client sent")
	}
	if !bytes.Equal(down.sent, down.received) {
		t.Error("what the client received is not what the server sent")
	}
	r.wantSample(`mintmark_connections_ended_total{end="done",listener="front"}`, 1)
	r.wantSample(`mintmark_bytes_total{direction="in",listener="front"}`, float64(size)+float64(len(plainHello())))
	r.wantSample(`mintmark_bytes_total{direction="out",listener="front"}`, float64(size))
}

// sendPattern writes size bytes that depend on the seed and on their place,
// and returns their SHA-256.
func sendPattern(w io.Writer, seed uint64, size int64) ([]byte, error) {
	h := sha256.New()
	b := make([]byte, 256<<10)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	for at := int64(0); at < size; {
		n := min(int64(len(b)), size-at)
		stamp(b, seed, at)
		if err := writeHashed(w, h, b[:n]); err != nil {
			return nil, fmt.Errorf("after %d bytes: %w", at, err)
		}
		at += n
	}
	return h.Sum(nil), nil
}

// stamp makes each page of b tell where it belongs.
func stamp(b []byte, seed uint64, at int64) {
	const page = 4 << 10
	for i := 0; i+16 <= len(b); i += page {
		binary.BigEndian.PutUint64(b[i:], seed)
		binary.BigEndian.PutUint64(b[i+8:], uint64(at)+uint64(i))
	}
}

func writeHashed(w io.Writer, h hash.Hash, b []byte) error {
	h.Write(b)
	_, err := w.Write(b)
	return err
}
