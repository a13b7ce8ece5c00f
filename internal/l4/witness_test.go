package l4_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// testimony writes down what a Witness is told.
type testimony struct {
	watch bool

	mu    sync.Mutex
	lines []string
}

func (w *testimony) Watches(*route.Pool) bool { return w.watch }

func (w *testimony) Resumed(s *route.Server, by route.RoutedBy, field idspace.Field, id []byte, accepted bool) {
	w.add("%s resumed by %s, %s %s, accepted %t", s.Config.Name, by, field, id, accepted)
}

func (w *testimony) Minted(s *route.Server, field idspace.Field, id []byte, whole bool) {
	w.add("%s minted %s %s, whole %t", s.Config.Name, field, id, whole)
}

func (w *testimony) add(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

// answering is a server that reads a hello and answers with flight.
func answering(t *testing.T, flight []byte) net.Addr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = c.Read(make([]byte, 1))
				_, _ = c.Write(flight)
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	return ln.Addr()
}

func TestWitness(t *testing.T) {
	t.Parallel()
	record := func(messages ...[]byte) []byte {
		return hellotest.Records(bytes.Join(messages, nil), hellotest.MaxRecord)
	}
	random := bytes.Repeat([]byte("r"), 32)
	tests := []struct {
		name   string
		hello  hellotest.Options
		answer []byte
		want   []string
	}{
		{
			// The first identity is a victim's ticket, seen on the wire; the
			// second is the attacker's own. Only what was accepted counts.
			"two identities, the second accepted",
			hellotest.Options{PSKs: [][]byte{[]byte("victims-ticket"), []byte("own-ticket")}, Versions: []uint16{0x0304}},
			record(hellotest.ServerHello(hellotest.ServerOptions{Version: 0x0304, Accept: true, Selected: 1})),
			[]string{"a resumed by balance, psk own-ticket, accepted true"},
		},
		{
			"an identity that does not exist accepted",
			hellotest.Options{PSKs: [][]byte{[]byte("a-ticket")}, Versions: []uint16{0x0304}},
			record(hellotest.ServerHello(hellotest.ServerOptions{Version: 0x0304, Accept: true, Selected: 7})),
			nil,
		},
		{
			"TLS 1.3 declined; its echo of the session_id is no mint",
			hellotest.Options{PSKs: [][]byte{[]byte("a-ticket")}, SessionID: random, Versions: []uint16{0x0304}},
			record(hellotest.ServerHello(hellotest.ServerOptions{Version: 0x0304, SessionID: random})),
			[]string{"declined"},
		},
		{
			"TLS 1.2 session ID minted",
			hellotest.Options{},
			record(hellotest.ServerHello(hellotest.ServerOptions{SessionID: []byte("minted-session-id")}),
				hellotest.ServerMessage(hellotest.MsgCertificate, 100), hellotest.ServerMessage(hellotest.MsgServerHelloDone, 0)),
			[]string{"a minted session_id minted-session-id, whole true"},
		},
		{
			"TLS 1.2 ticket accepted and renewed; the session ID beside it is decoration",
			hellotest.Options{Ticket: []byte("old-ticket"), SessionID: random},
			record(hellotest.ServerHello(hellotest.ServerOptions{SessionID: random, Ticket: true}),
				hellotest.NewSessionTicket(300, []byte("new-ticket"))),
			[]string{"a resumed by balance, ticket old-ticket, accepted true", "a minted ticket new-ticket, whole true"},
		},
	}
	for _, tt := range tests {
		for _, watch := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, watched %t", tt.name, watch), func(t *testing.T) {
				t.Parallel()
				w := &testimony{watch: watch}
				_, addr := start(t, l4.Config{Dialer: toAddress(answering(t, tt.answer).String()), PropagatePanics: true},
					&l4.Settings{TLS: true, Witness: w})
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := c.Write(hellotest.Build(tt.hello)); err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(c) // its end comes after the witness was told
				if err != nil || !bytes.Equal(got, tt.answer) {
					t.Fatalf("the answer came as %x, %v; want %x", got, err, tt.answer)
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				want := tt.want
				if !watch {
					want = nil
				}
				if len(want) == 1 && want[0] == "declined" {
					if len(w.lines) != 1 || !strings.HasSuffix(w.lines[0], "accepted false") {
						t.Errorf("the witness was told %q; want that it was declined, and nothing else", w.lines)
					}
				} else if !slices.Equal(w.lines, want) {
					t.Errorf("the witness was told %q; want %q", w.lines, want)
				}
			})
		}
	}
}
