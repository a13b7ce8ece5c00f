package dgram

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/dtlsrec"
	"github.com/mintmark/mintmark/internal/quicpkt"
)

// wireGuard and gtpU are the rules that the comment of BytesRule shows.
var (
	wireGuard = []BytesRule{
		{Offset: 4, Length: 4, When: Condition{Offset: 0, Equals: []byte{4}}},
		{Offset: 8, Length: 4, When: Condition{Offset: 0, Equals: []byte{2}}},
	}
	gtpU = []BytesRule{{Offset: 4, Length: 4, When: Condition{Offset: 1, Equals: []byte{255}}}}
)

func newReader(tb testing.TB, c ReaderConfig) *Reader {
	tb.Helper()
	r, err := NewReader(c)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestRead(t *testing.T) {
	t.Parallel()
	quic, quic8 := ReaderConfig{Protocol: QUIC}, ReaderConfig{Protocol: QUIC, IDLength: 8}
	dtls, dtlsNone := ReaderConfig{Protocol: DTLS, IDLength: 6}, ReaderConfig{Protocol: DTLS}
	const longHeader = "c3000000010811111111111111110422222222aabb"
	tests := []struct {
		name     string
		config   ReaderConfig
		datagram string
		field    idspace.Field
		id       string
		opening  bool
	}{
		{"QUIC long header", quic, longHeader, idspace.FieldCIDLong, "1111111111111111", true},
		{"QUIC long header, IDs of 8", quic8, longHeader, idspace.FieldCIDLong, "1111111111111111", true},
		{"QUIC long header without ID", quic, "c3faceb00c0000", idspace.FieldCIDLong, "", true},
		{"QUIC short header", quic, "4011223344556677889900", idspace.FieldCIDShort, "11223344556677889900", false},
		{"QUIC short header, IDs of 8", quic8, "4011223344556677889900", idspace.FieldCIDShort, "1122334455667788", false},
		{"DTLS handshake", dtls, "16fefd00000000000000000000", idspace.FieldNone, "", true},
		{"DTLS 1.2 with ID", dtls, "19fefd00010000000000014d01020304050000", idspace.FieldDTLSCID, "4d0102030405", false},
		{"DTLS 1.3 with ID", dtls, "334d010203040512112233", idspace.FieldDTLSCID, "4d0102030405", false},
		{"DTLS 1.3 without ID", dtls, "231211", idspace.FieldNone, "", true},
		{"DTLS without IDs", dtlsNone, "17fefd00010000000000010000", idspace.FieldNone, "", true},
		{"WireGuard initiation", ReaderConfig{Protocol: UDP, Bytes: wireGuard}, "0100000011111111" + strings.Repeat("00", 140), idspace.FieldNone, "", true},
		{"WireGuard response", ReaderConfig{Protocol: UDP, Bytes: wireGuard}, "020000001111111122222222" + strings.Repeat("00", 80), idspace.FieldBytes, "22222222", false},
		{"WireGuard data", ReaderConfig{Protocol: UDP, Bytes: wireGuard}, "040000001111111100000000", idspace.FieldBytes, "11111111", false},
		{"WireGuard data, cut short", ReaderConfig{Protocol: UDP, Bytes: wireGuard}, "04000000111111", idspace.FieldNone, "", true},
		{"GTP-U G-PDU", ReaderConfig{Protocol: UDP, Bytes: gtpU}, "30ff0010abcdef0145", idspace.FieldBytes, "abcdef01", false},
		{"GTP-U echo request", ReaderConfig{Protocol: UDP, Bytes: gtpU}, "3201000400000000", idspace.FieldNone, "", true},
		{"any UDP", ReaderConfig{Protocol: UDP, Bytes: []BytesRule{{Offset: 1, Length: 2}}}, "aabbcc", idspace.FieldBytes, "bbcc", false},
		{"UDP without rules", ReaderConfig{Protocol: UDP}, "aabbcc", idspace.FieldNone, "", true},
		{"nothing", ReaderConfig{Protocol: UDP, Bytes: wireGuard}, "", idspace.FieldNone, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := Message{Field: tt.field, ID: unhex(t, tt.id), Opening: tt.opening}
			got := Message{Field: idspace.FieldCookie, ID: []byte("left over"), Opening: !tt.opening}
			if err := newReader(t, tt.config).Read(unhex(t, tt.datagram), &got); err != nil {
				t.Fatal(err)
			}
			if got.ID == nil {
				got.ID = []byte{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("message differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	quic, dtls := ReaderConfig{Protocol: QUIC, IDLength: 8}, ReaderConfig{Protocol: DTLS, IDLength: 6}
	tests := []struct {
		name     string
		config   ReaderConfig
		datagram string
		want     error
	}{
		{"QUIC, nothing", quic, "", quicpkt.CauseEmpty},
		{"QUIC, cut short", quic, "c30000000108", quicpkt.CauseTruncated},
		{"QUIC, short header cut short", quic, "40112233", quicpkt.CauseTruncated},
		{"QUIC, ID too long", quic, "c30000000115" + strings.Repeat("11", 21) + "00", quicpkt.CauseIDTooLong},
		{"QUIC, Version Negotiation (RFC 9000, 17.2.1)", quic, "800000000001110122000000010000", CauseVersionNegotiation},
		{"DTLS, nothing", dtls, "", dtlsrec.CauseEmpty},
		{"DTLS, something else", dtls, "474554202f", dtlsrec.CauseNotDTLS},
		{"DTLS, cut short", dtls, "17fefd0001", dtlsrec.CauseTruncated},
		{"DTLS, ID where there are none", ReaderConfig{Protocol: DTLS}, "33aabbcc", dtlsrec.CauseUnexpectedID},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var m Message
			if err := newReader(t, tt.config).Read(unhex(t, tt.datagram), &m); err != tt.want { //nolint:errorlint // the very value, as callers count by it
				t.Errorf("got %v; want %v", err, tt.want)
			}
		})
	}
}

func TestNewReaderRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config ReaderConfig
		want   []string
	}{
		{"no protocol", ReaderConfig{}, []string{"protocol 0 is not known"}},
		{"QUIC, 21 octets", ReaderConfig{Protocol: QUIC, IDLength: 21}, []string{"21 octets; with this protocol they have 0 to 20"}},
		{"DTLS, 256 octets", ReaderConfig{Protocol: DTLS, IDLength: 256}, []string{"0 to 255"}},
		{"negative", ReaderConfig{Protocol: DTLS, IDLength: -1}, []string{"-1 octets"}},
		{"UDP with a length", ReaderConfig{Protocol: UDP, IDLength: 1}, []string{"0 to 0"}},
		{"rules for QUIC", ReaderConfig{Protocol: QUIC, Bytes: gtpU}, []string{"for protocol udp"}},
		{"too many rules", ReaderConfig{Protocol: UDP, Bytes: make([]BytesRule, 9)}, []string{"9 rules for bytes; 8 are allowed", "rule 9: ID of 0 octets"}},
		{"bad rules", ReaderConfig{Protocol: UDP, Bytes: []BytesRule{
			{Offset: -1, Length: 1},
			{Offset: 1201, Length: 1},
			{Length: 256},
			{Length: 1, When: Condition{Offset: -1}},
			{Length: 1, When: Condition{Equals: make([]byte, 256)}},
		}}, []string{"rule 1: ID of 1 octets at -1", "rule 2: ID", "rule 3: ID", "rule 4: condition", "rule 5: condition"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewReader(tt.config)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error is %q; want it to say %q", err, want)
				}
			}
		})
	}
}

// FuzzRead checks that an ID is always a part of the datagram, in all protocols.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"", "c3000000010811111111111111110422222222aabb", "4011223344556677889900", "16fefd00000000000000000000",
		"19fefd00010000000000014d01020304050000", "334d010203040512112233", "040000001111111100000000", "30ff0010abcdef0145",
	} {
		f.Add(unhex(f, s))
	}
	readers := []*Reader{
		newReader(f, ReaderConfig{Protocol: QUIC}), newReader(f, ReaderConfig{Protocol: QUIC, IDLength: 8}),
		newReader(f, ReaderConfig{Protocol: DTLS}), newReader(f, ReaderConfig{Protocol: DTLS, IDLength: 6}),
		newReader(f, ReaderConfig{Protocol: UDP, Bytes: wireGuard}), newReader(f, ReaderConfig{Protocol: UDP, Bytes: gtpU}),
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		for i, r := range readers {
			var m Message
			if r.Read(datagram, &m) != nil {
				continue
			}
			if !bytes.Contains(datagram, m.ID) || (m.Field == idspace.FieldNone) && len(m.ID) > 0 {
				t.Errorf("reader %d: %x has the ID %x in the field %v", i, datagram, m.ID, m.Field)
			}
			if m.Field == idspace.FieldNone && !m.Opening {
				t.Errorf("reader %d: %x has no ID and opens nothing", i, datagram)
			}
		}
	})
}

func TestReadDoesNotAllocate(t *testing.T) {
	var m Message
	for _, tt := range []struct {
		config   ReaderConfig
		datagram string
	}{
		{ReaderConfig{Protocol: QUIC}, "c3000000010811111111111111110422222222aabb"},
		{ReaderConfig{Protocol: QUIC}, "4011223344556677889900"},
		{ReaderConfig{Protocol: DTLS, IDLength: 6}, "19fefd00010000000000014d01020304050000"},
		{ReaderConfig{Protocol: DTLS, IDLength: 6}, "00"},
		{ReaderConfig{Protocol: UDP, Bytes: gtpU}, "30ff0010abcdef0145"},
	} {
		r, datagram := newReader(t, tt.config), unhex(t, tt.datagram)
		if n := testing.AllocsPerRun(1000, func() { _ = r.Read(datagram, &m) }); n != 0 {
			t.Errorf("Read(%s) allocates %v times; want 0", tt.datagram, n)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, bb := range []struct {
		name     string
		config   ReaderConfig
		datagram string
	}{
		{"quic-long", ReaderConfig{Protocol: QUIC}, "c3000000010811111111111111110422222222aabb"},
		{"quic-short", ReaderConfig{Protocol: QUIC}, "4011223344556677889900"},
		{"dtls", ReaderConfig{Protocol: DTLS, IDLength: 6}, "19fefd00010000000000014d01020304050000"},
		{"udp", ReaderConfig{Protocol: UDP, Bytes: wireGuard}, "040000001111111100000000"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r, datagram := newReader(b, bb.config), unhex(b, bb.datagram)
			var m Message
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Read(datagram, &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
