package hellotest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readByGo lets crypto/tls read a hello: the builder is checked by a reader
// that shares nothing with tlshello.
func readByGo(t *testing.T, hello []byte) *tls.ClientHelloInfo {
	t.Helper()
	client, server := net.Pipe()
	var ends sync.WaitGroup
	ends.Go(func() { _, _ = client.Write(hello) })         // ends when the server has read enough
	ends.Go(func() { _, _ = io.Copy(io.Discard, client) }) // takes the server's alert
	var info *tls.ClientHelloInfo
	enough := errors.New("read enough")
	err := tls.Server(server, &tls.Config{GetConfigForClient: func(chi *tls.ClientHelloInfo) (*tls.Config, error) {
		info = chi
		return nil, enough
	}}).Handshake()
	_ = server.Close()
	_ = client.Close()
	ends.Wait()
	if info == nil {
		t.Fatalf("crypto/tls cannot read the hello: %v", err)
	}
	return info
}

func TestBuildIsReadByCryptoTLS(t *testing.T) {
	t.Parallel()
	psk := bytes.Repeat([]byte("p"), 200)
	for _, size := range []int{0, 1, 7, 300} {
		o := TLS13(psk, psk)
		o.EarlyData = true
		o.Junk = 9000
		o.RecordSize = size
		info := readByGo(t, Build(o))
		if info.ServerName != o.SNI {
			t.Errorf("record size %d: server name %q; want %q", size, info.ServerName, o.SNI)
		}
		if diff := cmp.Diff(o.ALPN, info.SupportedProtos); diff != "" {
			t.Errorf("record size %d: ALPN (-want +got):\n%s", size, diff)
		}
		if diff := cmp.Diff(o.Versions, info.SupportedVersions); diff != "" {
			t.Errorf("record size %d: versions (-want +got):\n%s", size, diff)
		}
		want := []uint16{
			ExtServerName, extJunk, extJunk + 1, extJunk + 2, ExtALPN,
			ExtSupportedVersions, ExtSessionTicket, ExtEarlyData, ExtPreSharedKey,
		}
		if diff := cmp.Diff(want, info.Extensions); diff != "" {
			t.Errorf("record size %d: extensions (-want +got):\n%s", size, diff)
		}
	}
}

func TestBuildPadsToTheByte(t *testing.T) {
	t.Parallel()
	for _, total := range []int{600, 1460, 16389, 64 << 10, 64<<10 + 1} {
		o := TLS13([]byte("identity"))
		o.PadTo = total
		if got := len(Build(o)); got != total {
			t.Errorf("PadTo %d: %d bytes", total, got)
		}
	}
	o := TLS13()
	o.PadTo = 1200
	if got := len(Message(o)); got != 1200 {
		t.Errorf("message padded to 1200: %d bytes", got)
	}
}

func TestJunkIsExactlyAsLong(t *testing.T) {
	t.Parallel()
	plain := len(Message(Options{SNI: "a"}))
	for _, n := range []int{4, 5, 4095, 4096, 4097, 4099, 4100, 16 << 10} {
		if got := len(Message(Options{SNI: "a", Junk: n})) - plain; got != n {
			t.Errorf("Junk %d added %d bytes", n, got)
		}
	}
}

func TestRecordsOfCutsAsTold(t *testing.T) {
	t.Parallel()
	got := RecordsOf([]byte{1, 2, 3, 4, 5}, 1, 3)
	want := []byte{22, 3, 3, 0, 1, 1, 22, 3, 3, 0, 3, 2, 3, 4, 22, 3, 3, 0, 1, 5}
	if !bytes.Equal(got, want) {
		t.Errorf("got %x; want %x", got, want)
	}
}
