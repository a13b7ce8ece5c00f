package l4test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// testimony writes down what an engine tells its witness.
type testimony struct {
	watch bool

	mu    sync.Mutex
	lines []string
}

// Watches is part of l4.Witness.
func (w *testimony) Watches(*route.Pool) bool { return w.watch }

// Resumed is part of l4.Witness.
func (w *testimony) Resumed(s *route.Server, by route.RoutedBy, field idspace.Field, id []byte, accepted bool) {
	w.add("%s resumed by %s, %s %s, accepted %t", s.Config.Name, by, field, id, accepted)
}

// Minted is part of l4.Witness.
func (w *testimony) Minted(s *route.Server, field idspace.Field, id []byte, whole bool) {
	w.add("%s minted %s %s, whole %t", s.Config.Name, field, id, whole)
}

func (w *testimony) add(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

// testWitness holds what an engine tells of the IDs that servers accept and
// assign. None of these hellos has an ID of server a, unless it says so.
func testWitness(t *testing.T, f Factory) {
	for _, c := range witnessCases() {
		for _, watch := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, watched %t", c.name, watch), func(t *testing.T) {
				t.Parallel()
				w := &testimony{watch: watch}
				su := overTLS(t, "a")
				su.pool.Config.RandomIDs = route.RandomSkip
				su.settings.Witness = w
				r := start(t, f, su)
				a := r.serve("a")
				client, srv := r.pair(a, hellotest.Build(c.hello))
				mustWrite(t, srv, c.answer)
				closeWrite(t, srv)
				got, err := io.ReadAll(client) // its end comes after the witness was told
				if err != nil || !bytes.Equal(got, c.answer) {
					t.Fatalf("the answer came as %x, %v; want %x", clip(got), err, clip(c.answer))
				}
				closeWrite(t, client)
				wantEnd(t, srv, nil)
				w.mu.Lock()
				defer w.mu.Unlock()
				want := c.want
				if !watch {
					want = nil
				}
				if !slices.EqualFunc(w.lines, want, func(got, want string) bool {
					end, some := strings.CutPrefix(want, "...")
					return got == want || some && strings.HasSuffix(got, end)
				}) {
					t.Errorf("the witness was told %q; want %q", w.lines, want)
				}
			})
		}
	}
}

// A witnessCase is an answer to a hello, and what the witness is told of it.
type witnessCase struct {
	name   string
	hello  hellotest.Options
	answer []byte
	want   []string // "...accepted false" stands for any such line
}

func witnessCases() []witnessCase {
	record := func(messages ...[]byte) []byte {
		return hellotest.Records(bytes.Join(messages, nil), hellotest.MaxRecord)
	}
	random := bytes.Repeat([]byte("r"), 32)
	long := bytes.Repeat([]byte("long"), 5000)
	return []witnessCase{
		{
			// The first identity is a victim's ticket, seen on the wire; the
			// second is the attacker's own. Only what was accepted counts.
			"two identities, the second accepted",
			hellotest.Options{PSKs: [][]byte{[]byte("victims-ticket"), []byte("own-ticket")}, Versions: []uint16{0x0304}},
			record(hellotest.ServerHello(hellotest.ServerOptions{Version: 0x0304, Accept: true, Selected: 1})),
			[]string{"a resumed by balance, psk own-ticket, accepted true"},
		},
		{
			"two identities, the first accepted",
			hellotest.Options{PSKs: [][]byte{[]byte("own-ticket"), []byte("victims-ticket")}, Versions: []uint16{0x0304}},
			record(hellotest.ServerHello(hellotest.ServerOptions{Version: 0x0304, Accept: true})),
			[]string{"a resumed by balance, psk own-ticket, accepted true"},
		},
		{
			"an identity that does not exist accepted",
			hellotest.Options{PSKs: [][]byte{[]byte("some-ticket")}, Versions: []uint16{0x0304}},
			record(hellotest.ServerHello(hellotest.ServerOptions{Version: 0x0304, Accept: true, Selected: 7})),
			nil,
		},
		{
			"TLS 1.3 declined; its echo of the session_id is no mint",
			hellotest.Options{PSKs: [][]byte{[]byte("some-ticket")}, SessionID: random, Versions: []uint16{0x0304}},
			record(hellotest.ServerHello(hellotest.ServerOptions{Version: 0x0304, SessionID: random})),
			[]string{"...accepted false"},
		},
		{
			"its own ID accepted says nothing new",
			hellotest.Options{PSKs: [][]byte{[]byte("a-ticket")}, Versions: []uint16{0x0304}},
			record(hellotest.ServerHello(hellotest.ServerOptions{Version: 0x0304, Accept: true})),
			[]string{"a resumed by mint, psk , accepted true"},
		},
		{
			"its own ID declined",
			hellotest.Options{PSKs: [][]byte{[]byte("a-ticket")}, Versions: []uint16{0x0304}},
			record(hellotest.ServerHello(hellotest.ServerOptions{Version: 0x0304})),
			[]string{"...accepted false"},
		},
		{
			"TLS 1.2 session ID minted",
			hellotest.Options{},
			record(hellotest.ServerHello(hellotest.ServerOptions{SessionID: []byte("minted-session-id")}),
				hellotest.ServerMessage(hellotest.MsgCertificate, 100), hellotest.ServerMessage(hellotest.MsgServerHelloDone, 0)),
			[]string{"a minted session_id minted-session-id, whole true"},
		},
		{
			"TLS 1.2 session ID that is the client's own is no mint",
			hellotest.Options{SessionID: random},
			record(hellotest.ServerHello(hellotest.ServerOptions{SessionID: random}), hellotest.ChangeCipherSpec()),
			[]string{"a resumed by balance, session_id " + string(random) + ", accepted true"},
		},
		{
			"TLS 1.2 ticket accepted and renewed; the session ID beside it is decoration",
			hellotest.Options{Ticket: []byte("old-ticket"), SessionID: random},
			record(hellotest.ServerHello(hellotest.ServerOptions{SessionID: random, Ticket: true}),
				hellotest.NewSessionTicket(300, []byte("new-ticket"))),
			[]string{"a resumed by balance, ticket old-ticket, accepted true", "a minted ticket new-ticket, whole true"},
		},
		{
			"a very long ticket is kept in part",
			hellotest.Options{Ticket: []byte{}},
			record(hellotest.ServerHello(hellotest.ServerOptions{Ticket: true}),
				hellotest.ServerMessage(hellotest.MsgCertificate, 100), hellotest.ServerMessage(hellotest.MsgServerHelloDone, 0),
				hellotest.NewSessionTicket(300, long)),
			[]string{"...whole false"},
		},
	}
}
