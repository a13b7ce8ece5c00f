package tlshello_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mintmark/mintmark/internal/tlshello"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// equalHellos compares hellos by what they say; an empty view and none are
// the same.
var equalHellos = cmpopts.EquateEmpty()

// parse parses a whole hello.
func parse(t testing.TB, hello []byte) tlshello.Hello {
	t.Helper()
	var p tlshello.Parser
	var h tlshello.Hello
	if err := p.Parse(hello, &h); err != nil {
		t.Fatalf("Parse(%.40x...) = %v; want nil", hello, err)
	}
	return h
}

// vectorTicketName is the key name that the servers of the captures used.
const vectorTicketName = "5051434c420000070000000000000001"

func TestVectors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		psk, ticket int // lengths
		sessionID   string
		hasTicket   bool
		max         uint16
		tls13       bool
		sni         string
		alpn        []string
	}{
		{"chromium156-tls12-ticket-resume", 0, 208, "49363a94", true, 0x0304, true, "localhost", []string{"h2", "http/1.1"}},
		{"chromium156-tls13-full", 0, 0, "7aea9e54", true, 0x0304, true, "localhost", []string{"h2", "http/1.1"}},
		{"chromium156-tls13-psk-resume", 224, 0, "71129883", true, 0x0304, true, "localhost", []string{"h2", "http/1.1"}},
		{"curl-tls13-full", 0, 0, "1dac66df", false, 0x0304, true, "localhost", []string{"http/1.1"}},
		{"curl-tls13-psk-resume", 240, 0, "056447a2", false, 0x0304, true, "localhost", []string{"http/1.1"}},
		{"go-crypto-tls-tls12-ticket-resume", 0, 192, "44d1b560", true, 0x0303, false, "localhost", nil},
		{"go-crypto-tls-tls13-full", 0, 0, "4aa7dcfa", true, 0x0304, true, "localhost", nil},
		{"go-crypto-tls-tls13-psk-resume", 224, 0, "49a813dd", true, 0x0304, true, "localhost", nil},
		{"node-tls13-psk-resume", 240, 0, "ae4ff675", true, 0x0304, true, "localhost", nil},
		{"openssl-s_client-tls12-full", 0, 0, "", true, 0x0303, false, "localhost", nil},
		{"openssl-s_client-tls12-sessionid-resume", 0, 0, "4085d5cd", false, 0x0303, false, "localhost", nil},
		{"openssl-s_client-tls12-sessionid-resume-offering-tls13", 0, 0, "4085d5cd", true, 0x0304, true, "localhost", nil},
		{"openssl-s_client-tls12-ticket-resume", 0, 192, "9baecca9", true, 0x0303, false, "localhost", nil},
		{"openssl-s_client-tls13-full", 0, 0, "f06f50a3", true, 0x0304, true, "localhost", nil},
		{"openssl-s_client-tls13-psk-resume", 240, 0, "a8ebb1fe", true, 0x0304, true, "localhost", nil},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hello := vector(t, c.name)
			h := parse(t, hello)
			if h.Length != len(hello) {
				t.Errorf("Length %d; want %d", h.Length, len(hello))
			}
			if h.NumPSK != min(c.psk, 1) || h.SkippedPSK != 0 || len(h.Identities[0]) != c.psk {
				t.Errorf("%d identities, first of %d bytes, %d skipped; want length %d",
					h.NumPSK, len(h.Identities[0]), h.SkippedPSK, c.psk)
			}
			if len(h.Ticket) != c.ticket || h.HasTicket != c.hasTicket {
				t.Errorf("ticket of %d bytes, present %t; want %d, %t", len(h.Ticket), h.HasTicket, c.ticket, c.hasTicket)
			}
			for _, id := range [][]byte{h.Identities[0], h.Ticket} {
				if len(id) > 0 && hex.EncodeToString(id[:16]) != vectorTicketName {
					t.Errorf("the ID begins with %x; want %s", id[:16], vectorTicketName)
				}
			}
			if !strings.HasPrefix(hex.EncodeToString(h.SessionID), c.sessionID) || (c.sessionID == "") != (len(h.SessionID) == 0) {
				t.Errorf("session ID %x; want %s...", h.SessionID, c.sessionID)
			}
			if h.MaxVersion != c.max || h.OffersTLS13 != c.tls13 || h.EarlyData {
				t.Errorf("version %x, TLS 1.3 %t, early data %t; want %x, %t, false",
					h.MaxVersion, h.OffersTLS13, h.EarlyData, c.max, c.tls13)
			}
			if string(h.SNI) != c.sni {
				t.Errorf("SNI %q; want %q", h.SNI, c.sni)
			}
			if diff := cmp.Diff(c.alpn, protocols(&h)); diff != "" {
				t.Errorf("ALPN (-want +got):\n%s", diff)
			}
		})
	}
	files, err := filepath.Glob("testdata/clienthellos/*.hex")
	if err != nil || len(files) != len(tests)+1 { // and the one of QUIC
		t.Errorf("%d captures, %v; want %d", len(files), err, len(tests)+1)
	}
}

// OpenSSL sends SHA-256(ticket) as session ID: it tells by the echo whether
// the ticket was accepted, and so do we.
func TestVectorSessionIDIsHashOfTicket(t *testing.T) {
	t.Parallel()
	h := parse(t, vector(t, "openssl-s_client-tls12-ticket-resume"))
	if want := sha256.Sum256(h.Ticket); !bytes.Equal(h.SessionID, want[:]) {
		t.Errorf("session ID %x; want %x", h.SessionID, want)
	}
}

func protocols(h *tlshello.Hello) []string {
	var names []string
	for name := range h.ALPNProtocols() {
		names = append(names, string(name))
	}
	return names
}

func TestALPNProtocolsStops(t *testing.T) {
	t.Parallel()
	h := parse(t, hellotest.Build(hellotest.Options{ALPN: []string{"a", "b", "c"}}))
	n := 0
	for range h.ALPNProtocols() {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d names after a break; want 2", n)
	}
}

func TestParseMessage(t *testing.T) {
	t.Parallel()
	message := vector(t, "go-quic-crypto-frame-full")
	var h tlshello.Hello
	for n := range message {
		if err := tlshello.ParseMessage(message[:n], &h); !errors.Is(err, tlshello.ErrNeedMore) {
			t.Fatalf("first %d bytes: %v; want ErrNeedMore", n, err)
		}
	}
	if err := tlshello.ParseMessage(append(slices.Clone(message), "and more"...), &h); err != nil {
		t.Fatal(err)
	}
	if h.Length != len(message) || len(h.SessionID) != 0 || !h.OffersTLS13 || !h.HasTicket {
		t.Errorf("got length %d, session ID %x, TLS 1.3 %t, ticket %t", h.Length, h.SessionID, h.OffersTLS13, h.HasTicket)
	}
	if err := tlshello.ParseMessage([]byte{1, 1, 0, 0}, &h); cause(err) != tlshello.CauseTooLarge {
		t.Errorf("a message of 65540 bytes: %v; want too_large", err)
	}
	if err := tlshello.ParseMessage([]byte{2}, &h); cause(err) != tlshello.CauseBadHello {
		t.Errorf("a ServerHello: %v; want bad_hello", err)
	}
	if err := tlshello.ParseMessage([]byte{1, 0, 0, 1, 3}, &h); cause(err) != tlshello.CauseBadHello {
		t.Errorf("a message of one byte: %v; want bad_hello", err)
	}
}

func cause(err error) tlshello.Cause {
	if e, ok := errors.AsType[*tlshello.Error](err); ok {
		return e.Cause
	}
	return ""
}

func TestCandidatesInOrder(t *testing.T) {
	t.Parallel()
	var psks [][]byte
	for i := range 12 {
		psks = append(psks, bytes.Repeat([]byte{byte('a' + i)}, i+1))
	}
	for n := range len(psks) + 1 {
		o := hellotest.TLS13(psks[:n]...)
		o.Ticket = []byte("a ticket")
		h := parse(t, hellotest.Build(o))
		if want := min(n, tlshello.MaxIdentities); h.NumPSK != want || h.SkippedPSK != n-want {
			t.Errorf("%d identities: %d looked at, %d skipped", n, h.NumPSK, h.SkippedPSK)
		}
		for i := range h.NumPSK {
			if !bytes.Equal(h.Identities[i], psks[i]) {
				t.Errorf("identity %d of %d: %q; want %q", i, n, h.Identities[i], psks[i])
			}
		}
		if string(h.Ticket) != "a ticket" || !bytes.Equal(h.SessionID, o.SessionID) {
			t.Errorf("%d identities: ticket %q, session ID %x", n, h.Ticket, h.SessionID)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		versions []uint16
		max      uint16
		tls13    bool
	}{
		{"no extension", nil, 0x0303, false},
		{"1.3 and 1.2", []uint16{0x0304, 0x0303}, 0x0304, true},
		{"order does not matter", []uint16{0x0301, 0x0303, 0x0304}, 0x0304, true},
		{"1.2 only", []uint16{0x0303}, 0x0303, false},
		{"GREASE (RFC 8701, 2)", []uint16{0xfafa, 0x0303, 0x0a0a}, 0x0303, false},
		{"a draft of 1.3", []uint16{0x7f1c, 0x0303}, 0x0303, false},
		{"GREASE alone", []uint16{0x1a1a}, 0, false},
		{"a later version", []uint16{0x0305}, 0x0305, true},
	}
	for _, c := range tests {
		h := parse(t, hellotest.Build(hellotest.Options{Versions: c.versions}))
		if h.MaxVersion != c.max || h.OffersTLS13 != c.tls13 {
			t.Errorf("%s: max %04x, TLS 1.3 %t; want %04x, %t", c.name, h.MaxVersion, h.OffersTLS13, c.max, c.tls13)
		}
	}
	// RFC 8446, 4.2.1: without the extension no legacy_version means TLS 1.3.
	for legacy, want := range map[byte]uint16{0: 0x0300, 1: 0x0301, 3: 0x0303, 4: 0x0303, 0x7f: 0x0303} {
		hello := hellotest.Build(hellotest.Options{})
		hello[10] = legacy
		if h := parse(t, hello); h.MaxVersion != want || h.OffersTLS13 {
			t.Errorf("legacy_version 3.%d: max %04x, TLS 1.3 %t; want %04x, false", legacy, h.MaxVersion, h.OffersTLS13, want)
		}
	}
}

// RFC 5246, 7.4.1.2: a hello may end after compression_methods.
func TestNoExtensionBlock(t *testing.T) {
	t.Parallel()
	h := parse(t, hellotest.Build(hellotest.Options{SessionID: []byte("old")}))
	if string(h.SessionID) != "old" || h.HasTicket || h.NumPSK != 0 || h.MaxVersion != 0x0303 {
		t.Errorf("got %+v", h)
	}
}

func TestEmptyTicketIsNotATicket(t *testing.T) {
	t.Parallel()
	h := parse(t, hellotest.Build(hellotest.Options{Ticket: []byte{}}))
	if !h.HasTicket || len(h.Ticket) != 0 {
		t.Errorf("present %t, %d bytes; want true, 0", h.HasTicket, len(h.Ticket))
	}
}

func TestEarlyDataAfterTheHello(t *testing.T) {
	t.Parallel()
	o := hellotest.TLS13([]byte("identity"))
	o.EarlyData = true
	hello := hellotest.Build(o)
	flight := slices.Concat(hello, hellotest.ChangeCipherSpec(), hellotest.Record(hellotest.TypeApplicationData, []byte("early")))
	h := parse(t, flight)
	if !h.EarlyData || h.Length != len(hello) {
		t.Errorf("early data %t, length %d; want true, %d", h.EarlyData, h.Length, len(hello))
	}
}

func TestOtherNameTypesArePassedOver(t *testing.T) {
	t.Parallel()
	name := []byte{0, 11, 7, 0, 1, 'x', 0, 0, 4, 'h', 'o', 's', 't'}
	h := parse(t, hellotest.Build(hellotest.Options{Extensions: []hellotest.Extension{{Type: 0, Data: name}}}))
	if string(h.SNI) != "host" {
		t.Errorf("SNI %q; want host", h.SNI)
	}
}

// The second hello after a HelloRetryRequest is a hello like any other
// (RFC 8446, 4.1.2), for whoever looks at it.
func TestParserIsReusable(t *testing.T) {
	t.Parallel()
	var p tlshello.Parser
	for _, size := range []int{0, 1, 50, 0} {
		for _, psk := range []string{"a long identity, for the first", "short"} {
			o := hellotest.TLS13([]byte(psk))
			o.RecordSize = size
			p.Reset()
			var h tlshello.Hello
			if err := p.Parse(hellotest.Build(o), &h); err != nil {
				t.Fatal(err)
			}
			if string(h.Identities[0]) != psk {
				t.Errorf("record size %d: %q; want %q", size, h.Identities[0], psk)
			}
		}
	}
}

// A hello in one record is read where it lies.
func TestViewsLieInTheInput(t *testing.T) {
	t.Parallel()
	hello := vector(t, "chromium156-tls13-psk-resume")
	h := parse(t, hello)
	for i := range hello {
		hello[i] = 0xee
	}
	for _, view := range [][]byte{h.SessionID, h.Identities[0], h.ALPN} {
		if len(view) == 0 || bytes.Count(view, []byte{0xee}) != len(view) {
			t.Errorf("%x is not a view into the input", view)
		}
	}
	if cap(h.SessionID) != len(h.SessionID) || cap(h.Identities[0]) != len(h.Identities[0]) {
		t.Error("an append to a view would write over the input")
	}
}

func TestParseAllocates(t *testing.T) {
	spread := hellotest.TLS13(make([]byte, 224))
	spread.RecordSize = 1
	inputs := map[string][]byte{
		"one record":       vector(t, "chromium156-tls13-psk-resume"),
		"one-byte records": hellotest.Build(spread),
		"refused":          []byte("GET / HTTP/1.1\r\n\r\n"),
		"incomplete":       vector(t, "chromium156-tls13-psk-resume")[:1000],
	}
	for name, input := range inputs {
		var p tlshello.Parser
		var h tlshello.Hello
		allocs := testing.AllocsPerRun(100, func() {
			p.Reset()
			_ = p.Parse(input, &h)
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations; want 0", name, allocs)
		}
	}
}
