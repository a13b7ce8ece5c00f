package tlshello_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/tlshello"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// An observation is all that an Observer has to say.
type observation struct {
	Done      bool
	Outcome   tlshello.Outcome
	Version   uint16
	Selected  int // -1 without
	SessionID []byte
	Ticket    []byte
	TicketLen int
	Lifetime  time.Duration
}

// sayings asks o everything; the views are copied.
func sayings(o *tlshello.Observer) observation {
	got := observation{Done: o.Done(), Outcome: o.Outcome(), Version: o.Version(), Selected: -1, Lifetime: o.TicketLifetime()}
	if i, ok := o.SelectedIdentity(); ok {
		got.Selected = i
	}
	got.SessionID = bytes.Clone(o.AssignedSessionID())
	ticket, length := o.AssignedTicket()
	got.Ticket, got.TicketLen = bytes.Clone(ticket), length
	return got
}

// observe feeds flight in pieces of the size given and returns what the
// observer has to say, and how many bytes it took to be done.
func observe(t testing.TB, h *tlshello.Hello, mints bool, flight []byte, size int) (observation, int) {
	t.Helper()
	var o tlshello.Observer
	if mints {
		o.StartMints(h)
	} else {
		o.Start(h)
	}
	fed := 0
	for piece := range slices.Chunk(flight, size) {
		if o.Done() {
			break
		}
		piece = bytes.Clone(piece)
		done := o.Feed(piece)
		for i := range piece {
			piece[i] = 0xee // the caller reuses its buffer
		}
		fed += len(piece)
		if done != o.Done() {
			t.Errorf("Feed returned %t, Done returns %t", done, o.Done())
		}
	}
	before := sayings(&o)
	if before.Done {
		// What comes later changes nothing.
		if !o.Feed(hellotest.ChangeCipherSpec()) {
			t.Error("done, and then not done any more")
		}
		if diff := cmp.Diff(before, sayings(&o), equalHellos); diff != "" {
			t.Errorf("changed after it was done (-before +after):\n%s", diff)
		}
	}
	return before, fed
}

// serverRecords puts each message into a record of its own.
func serverRecords(messages ...[]byte) []byte {
	var b []byte
	for _, m := range messages {
		b = append(b, hellotest.Record(hellotest.TypeHandshake, m)...)
	}
	return b
}

var (
	clientID    = bytes.Repeat([]byte{0xc1}, 32)
	serverID    = bytes.Repeat([]byte{0x5e}, 32)
	certificate = hellotest.ServerMessage(hellotest.MsgCertificate, 3000)
	keyExchange = hellotest.ServerMessage(hellotest.MsgServerKeyExchange, 300)
	helloDone   = hellotest.ServerMessage(hellotest.MsgServerHelloDone, 0)
	newTicket   = hellotest.NewSessionTicket(7200, bytes.Repeat([]byte("t"), 192))
	warning     = hellotest.Record(hellotest.TypeAlert, []byte{1, 112})
	encrypted   = hellotest.Record(hellotest.TypeHandshake, bytes.Repeat([]byte{0x99}, 40)) // Finished
	appData     = hellotest.Record(hellotest.TypeApplicationData, make([]byte, 300))
)

// Offers of clients.
var (
	offersNothing   = hellotest.Options{Ticket: []byte{}}
	offersID        = hellotest.Options{SessionID: clientID}
	offersTicket    = hellotest.Options{Ticket: []byte("ticket")} // and an empty ID
	offersTicketID  = hellotest.Options{Ticket: []byte("ticket"), SessionID: clientID}
	offersPSKs      = hellotest.TLS13([]byte("one"), []byte("two"), []byte("three"))
	offersPSK       = hellotest.TLS13([]byte("one"))
	fresh13         = hellotest.TLS13()
	offers13and12ID = hellotest.TLS13() // a real ID of TLS 1.2 looks the same
	offers13Ticket  = func() hellotest.Options { o := hellotest.TLS13(); o.Ticket = []byte("ticket"); return o }()
)

type serverOptions = hellotest.ServerOptions

func serverHello(o serverOptions) []byte { return hellotest.ServerHello(o) }

// observerTests are answers of servers to offers of clients.
var observerTests = []struct {
	name   string
	client hellotest.Options
	flight []byte
	want   observation // of StartMints
}{
	// TLS 1.3 (RFC 8446, 4.1.3 and 4.2.11).
	{
		"1.3 accepts the first identity", offersPSK,
		slices.Concat(serverRecords(serverHello(serverOptions{Version: 0x0304, Accept: true, SessionID: offersPSK.SessionID})), hellotest.ChangeCipherSpec(), appData),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0304, Selected: 0},
	},
	{
		"1.3 accepts the third identity, with a post-quantum share", offersPSKs,
		serverRecords(serverHello(serverOptions{Version: 0x0304, Accept: true, Selected: 2, KeyShare: 1665})),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0304, Selected: 2},
	},
	{
		"1.3 accepts an identity that was not offered", offersPSK,
		serverRecords(serverHello(serverOptions{Version: 0x0304, Accept: true, Selected: 1})),
		observation{Done: true, Outcome: tlshello.OutcomeUnknown, Version: 0x0304, Selected: -1},
	},
	{
		"1.3 declines, and echoes the session ID", offersPSK,
		serverRecords(serverHello(serverOptions{Version: 0x0304, SessionID: offersPSK.SessionID, KeyShare: 36})),
		observation{Done: true, Outcome: tlshello.OutcomeDeclined, Version: 0x0304, Selected: -1},
	},
	{
		"1.3 with nothing but an ID offered: an echo is not a resumption", fresh13,
		serverRecords(serverHello(serverOptions{Version: 0x0304, SessionID: fresh13.SessionID})),
		observation{Done: true, Outcome: tlshello.OutcomeNone, Version: 0x0304, Selected: -1},
	},
	{
		"1.3 never mints in the clear, even if the echo differs", fresh13,
		serverRecords(serverHello(serverOptions{Version: 0x0304, SessionID: serverID, Ticket: true}), newTicket),
		observation{Done: true, Outcome: tlshello.OutcomeNone, Version: 0x0304, Selected: -1},
	},
	{
		"1.3 chosen, a ticket of 1.2 offered", offers13Ticket,
		serverRecords(serverHello(serverOptions{Version: 0x0304})),
		observation{Done: true, Outcome: tlshello.OutcomeDeclined, Version: 0x0304, Selected: -1},
	},
	{
		"HelloRetryRequest, then accepted", offersPSK,
		slices.Concat(
			serverRecords(serverHello(serverOptions{Version: 0x0304, Retry: true, KeyShare: 2})), hellotest.ChangeCipherSpec(),
			serverRecords(serverHello(serverOptions{Version: 0x0304, Accept: true, KeyShare: 36})), appData,
		),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0304, Selected: 0},
	},
	{
		"HelloRetryRequest, then declined", offersPSK,
		serverRecords(serverHello(serverOptions{Version: 0x0304, Retry: true}), serverHello(serverOptions{Version: 0x0304})),
		observation{Done: true, Outcome: tlshello.OutcomeDeclined, Version: 0x0304, Selected: -1},
	},
	{
		"HelloRetryRequest, then one of several: which is not known (RFC 8446, 4.1.2)", offersPSKs,
		serverRecords(serverHello(serverOptions{Version: 0x0304, Retry: true}), serverHello(serverOptions{Version: 0x0304, Accept: true, Selected: 1})),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0304, Selected: -1},
	},
	{
		"HelloRetryRequest alone", offersPSK,
		slices.Concat(serverRecords(serverHello(serverOptions{Version: 0x0304, Retry: true})), hellotest.ChangeCipherSpec()),
		observation{Selected: -1},
	},
	{
		"two HelloRetryRequests", offersPSK,
		serverRecords(serverHello(serverOptions{Version: 0x0304, Retry: true}), serverHello(serverOptions{Version: 0x0304, Retry: true}), serverHello(serverOptions{Version: 0x0304, Accept: true})),
		observation{Done: true, Selected: -1},
	},
	{
		"HelloRetryRequest, then 1.2", offersTicketID,
		serverRecords(serverHello(serverOptions{Version: 0x0304, Retry: true}), serverHello(serverOptions{SessionID: clientID})),
		observation{Done: true, Selected: -1},
	},

	// TLS 1.2 by session ID (RFC 5246, 7.4.1.3).
	{
		"1.2 echoes the ID", offersID,
		slices.Concat(serverRecords(serverHello(serverOptions{SessionID: clientID})), hellotest.ChangeCipherSpec(), encrypted),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0303, Selected: -1},
	},
	{
		"1.0 echoes the ID, without extensions", offersID,
		serverRecords(serverHello(serverOptions{Legacy: 0x0301, SessionID: clientID, NoExtensions: true})),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0301, Selected: -1},
	},
	{
		"1.2 gives another ID", offersID,
		serverRecords(serverHello(serverOptions{SessionID: serverID}), certificate),
		observation{Done: true, Outcome: tlshello.OutcomeDeclined, Version: 0x0303, Selected: -1, SessionID: serverID},
	},
	{
		"1.2 gives no ID", offersID,
		serverRecords(serverHello(serverOptions{}), certificate),
		observation{Done: true, Outcome: tlshello.OutcomeDeclined, Version: 0x0303, Selected: -1},
	},
	{
		"1.2 gives an ID that begins like the client's", offersID,
		serverRecords(serverHello(serverOptions{SessionID: clientID[:16]}), certificate),
		observation{Done: true, Outcome: tlshello.OutcomeDeclined, Version: 0x0303, Selected: -1, SessionID: clientID[:16]},
	},
	{
		"1.2 chosen by a server of 1.3's extension, real ID echoed", offers13and12ID,
		serverRecords(serverHello(serverOptions{Version: 0x0303, SessionID: offers13and12ID.SessionID})),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0303, Selected: -1},
	},
	{
		"1.2 chosen, PSK offered", offersPSK,
		serverRecords(serverHello(serverOptions{}), certificate),
		observation{Done: true, Outcome: tlshello.OutcomeDeclined, Version: 0x0303, Selected: -1},
	},
	{
		"1.2, nothing offered: ID and ticket assigned, as GnuTLS and Java do", offersNothing,
		serverRecords(serverHello(serverOptions{SessionID: serverID, Ticket: true}), certificate, keyExchange, helloDone, newTicket),
		observation{
			Done: true, Outcome: tlshello.OutcomeNone, Version: 0x0303, Selected: -1, SessionID: serverID,
			Ticket: bytes.Repeat([]byte("t"), 192), TicketLen: 192, Lifetime: 2 * time.Hour,
		},
	},

	// TLS 1.2 by ticket (RFC 5077, 3.4).
	{
		"1.2 accepts a ticket with an ID by its echo, and renews", offersTicketID,
		slices.Concat(serverRecords(serverHello(serverOptions{SessionID: clientID, Ticket: true}), newTicket), hellotest.ChangeCipherSpec()),
		observation{
			Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0303, Selected: -1,
			Ticket: bytes.Repeat([]byte("t"), 192), TicketLen: 192, Lifetime: 2 * time.Hour,
		},
	},
	{
		"1.2 accepts a ticket with an ID, promises a new one and does not send it", offersTicketID,
		slices.Concat(serverRecords(serverHello(serverOptions{SessionID: clientID, Ticket: true})), hellotest.ChangeCipherSpec()),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0303, Selected: -1},
	},
	{
		"1.2 declines a ticket with an ID", offersTicketID,
		serverRecords(serverHello(serverOptions{SessionID: serverID}), certificate),
		observation{Done: true, Outcome: tlshello.OutcomeDeclined, Version: 0x0303, Selected: -1, SessionID: serverID},
	},
	{
		"1.2 accepts a ticket without an ID and renews it", offersTicket,
		slices.Concat(serverRecords(serverHello(serverOptions{Ticket: true}), newTicket), hellotest.ChangeCipherSpec()),
		observation{
			Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0303, Selected: -1,
			Ticket: bytes.Repeat([]byte("t"), 192), TicketLen: 192, Lifetime: 2 * time.Hour,
		},
	},
	{
		"1.2 accepts a ticket without an ID and goes on with ChangeCipherSpec", offersTicket,
		slices.Concat(serverRecords(serverHello(serverOptions{})), hellotest.ChangeCipherSpec(), encrypted),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0303, Selected: -1},
	},
	{
		"1.2 accepts a ticket without an ID and assigns an ID beside", offersTicket,
		slices.Concat(serverRecords(serverHello(serverOptions{SessionID: serverID})), hellotest.ChangeCipherSpec(), encrypted),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0303, Selected: -1, SessionID: serverID},
	},
	{
		"1.2 declines a ticket without an ID: a certificate follows", offersTicket,
		serverRecords(serverHello(serverOptions{Ticket: true}), certificate, keyExchange, helloDone, newTicket),
		observation{
			Done: true, Outcome: tlshello.OutcomeDeclined, Version: 0x0303, Selected: -1,
			Ticket: bytes.Repeat([]byte("t"), 192), TicketLen: 192, Lifetime: 2 * time.Hour,
		},
	},
	{
		"1.2 declines a ticket without an ID, anonymous: no certificate at all", offersTicket,
		serverRecords(serverHello(serverOptions{}), keyExchange, helloDone),
		observation{Done: true, Outcome: tlshello.OutcomeDeclined, Version: 0x0303, Selected: -1},
	},
	{
		"1.2, HelloRequest before the message that tells (RFC 5246, 7.4.1.1)", offersTicket,
		slices.Concat(serverRecords(serverHello(serverOptions{}), hellotest.ServerMessage(hellotest.MsgHelloRequest, 0)), hellotest.ChangeCipherSpec()),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0303, Selected: -1},
	},
	{
		"1.2, all messages in one record", offersTicket,
		hellotest.Record(hellotest.TypeHandshake, slices.Concat(serverHello(serverOptions{Ticket: true}), certificate, keyExchange, helloDone)),
		observation{Outcome: tlshello.OutcomeDeclined, Version: 0x0303, Selected: -1},
	},
	{
		"1.2, an empty NewSessionTicket (RFC 5077, 3.3)", offersNothing,
		serverRecords(serverHello(serverOptions{Ticket: true}), certificate, helloDone, hellotest.NewSessionTicket(300, nil)),
		observation{Done: true, Outcome: tlshello.OutcomeNone, Version: 0x0303, Selected: -1},
	},
	{
		"1.2, a ticket longer than kept", offersNothing,
		serverRecords(serverHello(serverOptions{Ticket: true}), certificate, helloDone, hellotest.NewSessionTicket(0, bytes.Repeat([]byte("t"), 5000))),
		observation{
			Done: true, Outcome: tlshello.OutcomeNone, Version: 0x0303, Selected: -1,
			Ticket: bytes.Repeat([]byte("t"), tlshello.MaxTicket), TicketLen: 5000,
		},
	},
	{
		"1.2, a NewSessionTicket of the wrong length", offersNothing,
		serverRecords(serverHello(serverOptions{Ticket: true}), hellotest.ServerMessage(hellotest.MsgNewSessionTicket, 40)),
		observation{Done: true, Outcome: tlshello.OutcomeNone, Version: 0x0303, Selected: -1},
	},
	{
		"1.2, a NewSessionTicket without its header", offersNothing,
		serverRecords(serverHello(serverOptions{Ticket: true}), hellotest.ServerMessage(hellotest.MsgNewSessionTicket, 3)),
		observation{Done: true, Outcome: tlshello.OutcomeNone, Version: 0x0303, Selected: -1},
	},

	// What may stand before, and what is no answer.
	{
		"a warning before the ServerHello", offersPSK,
		slices.Concat(warning, serverRecords(serverHello(serverOptions{Version: 0x0304, Accept: true}))),
		observation{Done: true, Outcome: tlshello.OutcomeAccepted, Version: 0x0304, Selected: 0},
	},
	{
		"a warning before the message that tells", offersTicket,
		slices.Concat(serverRecords(serverHello(serverOptions{})), warning, serverRecords(certificate)),
		observation{Done: true, Outcome: tlshello.OutcomeDeclined, Version: 0x0303, Selected: -1},
	},
	{"a fatal alert alone", offersPSK, hellotest.Record(hellotest.TypeAlert, []byte{2, 40}), observation{Selected: -1}},
	{"nothing", offersPSK, nil, observation{Selected: -1}},
	{"nothing, and nothing offered", offersNothing, nil, observation{Selected: -1}},
	{"an HTTP answer", offersPSK, []byte("HTTP/1.1 400 Bad Request\r\n"), observation{Done: true, Selected: -1}},
	{"application data first", offersPSK, appData, observation{Done: true, Selected: -1}},
	{"a record too long for TLS", offersPSK, []byte{22, 3, 3, 0xff, 0xff}, observation{Done: true, Selected: -1}},
	{"another message first", offersPSK, serverRecords(certificate), observation{Done: true, Selected: -1}},
	{"an unknown version", offersPSK, serverRecords(serverHello(serverOptions{Version: 0x7f1c})), observation{Done: true, Selected: -1}},
	{
		"a ServerHello longer than read", offersPSK,
		serverRecords(serverHello(serverOptions{Version: 0x0304, Accept: true, KeyShare: 4096})),
		observation{Done: true, Selected: -1},
	},
}

func TestObserver(t *testing.T) {
	t.Parallel()
	for _, c := range observerTests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hello := hellotest.Build(c.client)
			h := parse(t, hello)
			flights := map[string][]byte{
				"":                      c.flight,
				"records of one byte: ": recut(c.flight, 1),
				"records of 50: ":       recut(c.flight, 50),
			}
			for how, flight := range flights {
				for _, size := range []int{1, 2, 3, 100, len(c.flight) + 1} {
					got, fed := observe(t, &h, true, flight, size)
					if diff := cmp.Diff(c.want, got, equalHellos); diff != "" {
						t.Errorf("%spieces of %d (-want +got):\n%s", how, size, diff)
					}
					got, early := observe(t, &h, false, flight, size)
					// Start ends with the outcome.
					if c.want.Outcome != tlshello.OutcomeUnknown && (!got.Done || got.Outcome != c.want.Outcome) {
						t.Errorf("%sStart, pieces of %d: done %t, %v; want %v", how, size, got.Done, got.Outcome, c.want.Outcome)
					}
					if early > fed || got.TicketLen > 0 {
						t.Errorf("%sStart took %d bytes, StartMints %d; a ticket of %d bytes", how, early, fed, got.TicketLen)
					}
				}
			}
		})
	}
}

// recut puts the handshake messages of a flight into records of another
// size; other records stay where they are, which is after the message in
// progress.
func recut(flight []byte, size int) []byte {
	var b []byte
	for len(flight) >= 5 {
		n := 5 + int(flight[3])<<8 + int(flight[4])
		if n > len(flight) {
			break
		}
		if flight[0] == hellotest.TypeHandshake {
			b = append(b, hellotest.Records(flight[5:n], size)...)
		} else {
			b = append(b, flight[:n]...)
		}
		flight = flight[n:]
	}
	return append(b, flight...)
}

// TestStartIsDoneEarly: a connection without interest may be spliced at once,
// others from the byte that tells.
func TestStartIsDoneEarly(t *testing.T) {
	t.Parallel()
	nothing := parse(t, hellotest.Build(offersNothing))
	var o tlshello.Observer
	if !o.Done() || !o.Feed([]byte("x")) {
		t.Error("the zero Observer waits for something")
	}
	o.Start(&nothing)
	if !o.Done() || o.Outcome() != tlshello.OutcomeNone {
		t.Errorf("nothing offered: done %t, %v; want true, none", o.Done(), o.Outcome())
	}

	ticket := parse(t, hellotest.Build(offersTicket))
	first := serverRecords(serverHello(serverOptions{Ticket: true}))
	for _, next := range [][]byte{newTicket, certificate} {
		_, fed := observe(t, &ticket, false, slices.Concat(first, serverRecords(next)), 1)
		if want := len(first) + 5 + 4; fed != want {
			t.Errorf("done after %d bytes; want %d, the header of the second message", fed, want)
		}
	}
	// RFC 5077, 3.4: a server that accepts the ticket MUST echo the ID.
	ticketID := parse(t, hellotest.Build(offersTicketID))
	if got, fed := observe(t, &ticketID, false, append(first, newTicket...), 1); fed != len(first) || got.Outcome != tlshello.OutcomeDeclined {
		t.Errorf("%v after %d bytes; want declined after %d, the ServerHello", got.Outcome, fed, len(first))
	}
	psk := parse(t, hellotest.Build(offersPSK))
	hello13 := serverRecords(serverHello(serverOptions{Version: 0x0304, Accept: true}))
	if _, fed := observe(t, &psk, false, append(hello13, appData...), 1); fed != len(hello13) {
		t.Errorf("done after %d bytes; want %d, the ServerHello", fed, len(hello13))
	}
}

// TestObserverGivesUp: whatever a server sends, after MaxObserved bytes the
// observer is done.
func TestObserverGivesUp(t *testing.T) {
	t.Parallel()
	h := parse(t, hellotest.Build(offersTicket))
	empty := hellotest.Record(hellotest.TypeHandshake, nil)
	chain := serverRecords(serverHello(serverOptions{Ticket: true}))
	for range 10 {
		chain = append(chain, hellotest.Records(hellotest.ServerMessage(hellotest.MsgCertificate, 10_000), 16_000)...)
	}
	for name, flight := range map[string][]byte{
		"empty records": bytes.Repeat(empty, 20_000),
		"warnings":      bytes.Repeat(warning, 20_000),
		"certificates":  chain,
		"HelloRequests": bytes.Repeat(serverRecords(hellotest.ServerMessage(hellotest.MsgHelloRequest, 0)), 10_000),
	} {
		for _, size := range []int{1, 1000, len(flight)} {
			got, fed := observe(t, &h, true, flight, size)
			if limit := tlshello.MaxObserved + size; !got.Done || fed > limit {
				t.Errorf("%s in pieces of %d: done %t after %d bytes; want true, at most %d", name, size, got.Done, fed, limit)
			}
		}
	}
}

// TestObserverReadsMalformedServerHellos: every truncation of the message,
// with its lengths put right, ends in silence and not in a wrong outcome.
func TestObserverReadsMalformedServerHellos(t *testing.T) {
	t.Parallel()
	h := parse(t, hellotest.Build(offersPSK))
	whole := serverHello(serverOptions{Version: 0x0304, Accept: true, SessionID: clientID})
	for n := 4; n < len(whole); n++ {
		m := slices.Clone(whole[:n])
		m[2], m[3] = byte((n-4)>>8), byte(n-4)
		noExtensions := n == 4+2+32+1+32+3 // is a proper ServerHello of TLS 1.2
		got, _ := observe(t, &h, true, serverRecords(m), 1000)
		if !got.Done || got.Outcome != tlshello.OutcomeUnknown && !noExtensions {
			t.Errorf("%d of %d bytes: done %t, %v; want true, unknown", n, len(whole), got.Done, got.Outcome)
		}
	}
	long := append(slices.Clone(whole), 0)
	long[3]++
	if got, _ := observe(t, &h, true, serverRecords(long), 1000); !got.Done || got.Outcome != tlshello.OutcomeUnknown {
		t.Errorf("a byte after the extensions: done %t, %v; want true, unknown", got.Done, got.Outcome)
	}
	for name, e := range map[string]hellotest.Extension{
		"supported_versions of three bytes": {Type: 43, Data: []byte{3, 4, 0}},
		"pre_shared_key of one byte":        {Type: 41, Data: []byte{0}},
	} {
		m := serverHello(serverOptions{Extensions: []hellotest.Extension{e}})
		if got, _ := observe(t, &h, true, serverRecords(m), 1000); !got.Done || got.Outcome != tlshello.OutcomeUnknown {
			t.Errorf("%s: done %t, %v; want true, unknown", name, got.Done, got.Outcome)
		}
	}
}

// TestObserverSegmentation: any cut into records and pieces gives the same.
func TestObserverSegmentation(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := observerTests[rapid.IntRange(0, len(observerTests)-1).Draw(rt, "case")]
		flight := recut(c.flight, rapid.IntRange(1, 4000).Draw(rt, "record size"))
		h := parse(t, hellotest.Build(c.client))
		var o tlshello.Observer
		o.StartMints(&h)
		for len(flight) > 0 && !o.Done() {
			n := rapid.IntRange(1, len(flight)).Draw(rt, "piece")
			o.Feed(flight[:n])
			flight = flight[n:]
		}
		if diff := cmp.Diff(c.want, sayings(&o), equalHellos); diff != "" {
			rt.Fatalf("%s (-want +got):\n%s", c.name, diff)
		}
	})
}

func TestOutcomeString(t *testing.T) {
	t.Parallel()
	for o, want := range map[tlshello.Outcome]string{
		tlshello.OutcomeUnknown:  "unknown",
		tlshello.OutcomeNone:     "none",
		tlshello.OutcomeAccepted: "accepted",
		tlshello.OutcomeDeclined: "declined",
	} {
		if o.String() != want {
			t.Errorf("%d: %q; want %q", o, o.String(), want)
		}
	}
}

func TestObserverAllocates(t *testing.T) {
	h := parse(t, hellotest.Build(offersTicket))
	flight := serverRecords(serverHello(serverOptions{Ticket: true}), certificate, keyExchange, helloDone, newTicket)
	var o tlshello.Observer
	for _, size := range []int{len(flight), 1} {
		feed := func() {
			o.StartMints(&h)
			for piece := range slices.Chunk(flight, size) {
				o.Feed(piece)
			}
		}
		feed() // the first connection makes the buffer
		if allocs := testing.AllocsPerRun(100, feed); allocs != 0 {
			t.Errorf("pieces of %d: %v allocations; want 0", size, allocs)
		}
		if o.Outcome() != tlshello.OutcomeDeclined {
			t.Errorf("pieces of %d: %v", size, o.Outcome())
		}
	}
}

// TestKept: neither keeps much between connections.
func TestKept(t *testing.T) {
	t.Parallel()
	h := parse(t, hellotest.Build(offersNothing))
	var o tlshello.Observer
	for range 3 {
		o.StartMints(&h)
		flight := serverRecords(serverHello(serverOptions{Ticket: true}))
		flight = append(flight, hellotest.Records(hellotest.NewSessionTicket(1, make([]byte, 60_000)), 16_000)...)
		for piece := range slices.Chunk(flight, 10) {
			o.Feed(piece)
		}
	}
	if _, length := o.AssignedTicket(); length != 60_000 {
		t.Errorf("a ticket of %d bytes; want 60000", length)
	}
	if o.Kept() > 2*tlshello.MaxTicket {
		t.Errorf("the observer keeps %d bytes", o.Kept())
	}

	var p tlshello.Parser
	large := hellotest.TLS13()
	large.PadTo = tlshello.MaxHello
	if err := p.Parse(hellotest.Build(large), &h); err != nil {
		t.Fatal(err)
	}
	p.Reset()
	if p.Kept() > 8<<10 {
		t.Errorf("the parser keeps %d bytes", p.Kept())
	}
}

// FuzzObserver: never panics, comes to the same answer in any pieces, keeps a
// bounded amount and gives up in time.
func FuzzObserver(f *testing.F) {
	clients := []hellotest.Options{offersNothing, offersID, offersTicket, offersTicketID, offersPSK, offersPSKs, offers13Ticket}
	for _, c := range observerTests {
		for i, client := range clients {
			if client.SNI == c.client.SNI && len(client.PSKs) == len(c.client.PSKs) {
				f.Add(uint8(i), c.flight, uint16(1))
			}
		}
	}
	f.Fuzz(func(t *testing.T, client uint8, flight []byte, size uint16) {
		h := parse(t, hellotest.Build(clients[int(client)%len(clients)]))
		var o tlshello.Observer
		o.StartMints(&h)
		o.Feed(flight)
		want := sayings(&o)
		got, _ := observe(t, &h, true, flight, max(1, int(size)))
		if diff := cmp.Diff(want, got, equalHellos); diff != "" {
			t.Fatalf("pieces of %d (-whole +pieces):\n%s", size, diff)
		}
		if want.Version >= 0x0304 && (len(want.SessionID) > 0 || want.TicketLen > 0) {
			t.Fatalf("minted in the clear by TLS 1.3: %+v", want)
		}
		if len(want.Ticket) != min(want.TicketLen, tlshello.MaxTicket) || o.Kept() > 2*tlshello.MaxTicket {
			t.Fatalf("%d of %d bytes of ticket, %d kept", len(want.Ticket), want.TicketLen, o.Kept())
		}
		if !want.Done && len(flight) >= tlshello.MaxObserved {
			t.Fatalf("not done after %d bytes", len(flight))
		}
	})
}

func BenchmarkObserver(b *testing.B) {
	flights := []struct {
		name   string
		client hellotest.Options
		flight []byte
	}{
		{"tls13", offersPSK, slices.Concat(serverRecords(serverHello(serverOptions{Version: 0x0304, Accept: true, SessionID: clientID, KeyShare: 36})), hellotest.ChangeCipherSpec(), appData)},
		{"tls12-ticket", offersTicket, serverRecords(serverHello(serverOptions{Ticket: true}), certificate, keyExchange, helloDone)},
	}
	for _, c := range flights {
		for _, size := range []int{len(c.flight), 1} {
			name := c.name
			if size == 1 {
				name += "-byte-at-a-time"
			}
			b.Run(name, func(b *testing.B) {
				h := parse(b, hellotest.Build(c.client))
				var o tlshello.Observer
				b.ReportAllocs()
				for b.Loop() {
					o.Start(&h)
					for i := 0; i < len(c.flight) && !o.Feed(c.flight[i:i+size]); i += size {
					}
				}
				if o.Outcome() == tlshello.OutcomeUnknown {
					b.Fatal("no outcome")
				}
			})
		}
	}
}
