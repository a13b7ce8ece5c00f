package quicpkt

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// clientInitial and serverInitial are the heads of the packets of RFC 9001,
// appendix A.2 and A.3; retry is that of A.4, chacha the short header of A.5.
const (
	clientInitial = "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11"
	serverInitial = "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a"
	retry         = "ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba"
	chacha        = "4cfe4189655e5cd55c41f69080575d7999c25a5bfb"
)

func TestParse(t *testing.T) {
	long255 := append(append([]byte{0x80, 0xfa, 0xce, 0xb0, 0x0c, 255}, bytes.Repeat([]byte{1}, 255)...), 255)
	long255 = append(long255, bytes.Repeat([]byte{2}, 255)...)
	tests := []struct {
		name     string
		datagram []byte
		short    int
		want     Header
	}{
		{"client Initial (RFC 9001, A.2)", unhex(t, clientInitial), Undelimited, Header{
			Long: true, FixedBit: true, Version: Version1,
			DCID: unhex(t, "8394c8f03e515708"), SCID: []byte{}, Rest: unhex(t, "00449e7b9aec34d1b1c98dd7689fb8ec11"),
		}},
		{"server Initial (RFC 9001, A.3)", unhex(t, serverInitial), 8, Header{
			Long: true, FixedBit: true, Version: Version1,
			DCID: []byte{}, SCID: unhex(t, "f067a5502a4262b5"), Rest: unhex(t, "004075c0d95a482cd0991cd25b0aac406a"),
		}},
		{"Retry (RFC 9001, A.4)", unhex(t, retry), 8, Header{
			Long: true, FixedBit: true, Version: Version1,
			DCID: []byte{}, SCID: unhex(t, "f067a5502a4262b5"), Rest: unhex(t, "746f6b656e04a265ba2eff4d829058fb3f0f2496ba"),
		}},
		{"short header without ID (RFC 9001, A.5)", unhex(t, chacha), 0, Header{
			FixedBit: true, DCID: []byte{}, Rest: unhex(t, chacha)[1:],
		}},
		{"short header, 8 octets", unhex(t, chacha), 8, Header{
			FixedBit: true, DCID: unhex(t, "fe4189655e5cd55c"), Rest: unhex(t, "41f69080575d7999c25a5bfb"),
		}},
		{"short header, all of it", unhex(t, chacha), 20, Header{
			FixedBit: true, DCID: unhex(t, chacha)[1:], Rest: []byte{},
		}},
		{"short header, undelimited", unhex(t, chacha), Undelimited, Header{
			FixedBit: true, DCID: unhex(t, chacha)[1:], Rest: []byte{},
		}},
		{"short header of one octet", []byte{0x00}, Undelimited, Header{DCID: []byte{}, Rest: []byte{}}},
		{"greased fixed bit (RFC 9287)", unhex(t, "8000000001000000"), 8, Header{
			Long: true, Version: Version1, DCID: []byte{}, SCID: []byte{}, Rest: []byte{0},
		}},
		{"longest IDs of an unknown version (RFC 8999, 5.1)", long255, 8, Header{
			Long: true, Version: 0xfaceb00c, DCID: bytes.Repeat([]byte{1}, 255), SCID: bytes.Repeat([]byte{2}, 255), Rest: []byte{},
		}},
		{"version 1 with 20 octets", append(append([]byte{0xc0, 0, 0, 0, 1, 20}, make([]byte, 20)...), 0), 8, Header{
			Long: true, FixedBit: true, Version: Version1, DCID: make([]byte, 20), SCID: []byte{}, Rest: []byte{},
		}},
		{"Version Negotiation with 21 octets", append(append([]byte{0x80, 0, 0, 0, 0, 21}, make([]byte, 21)...), 0), 8, Header{
			Long: true, DCID: make([]byte, 21), SCID: []byte{}, Rest: []byte{},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h Header
			if err := Parse(tt.datagram, tt.short, &h); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, h); diff != "" {
				t.Errorf("header differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	v1 := func(version uint32, dcid, scid int) []byte {
		b := binary.BigEndian.AppendUint32([]byte{0xc0}, version)
		b = append(append(b, byte(dcid)), make([]byte, dcid)...)
		return append(append(b, byte(scid)), make([]byte, scid)...)
	}
	tests := []struct {
		name     string
		datagram []byte
		short    int
		want     Cause
	}{
		{"no octet", nil, Undelimited, CauseEmpty},
		{"short header, an octet too few", make([]byte, 8), 8, CauseTruncated},
		{"short header, a length that is none", make([]byte, 8), -2, CauseTruncated},
		{"version 1, DCID of 21", v1(Version1, 21, 0), 8, CauseIDTooLong},
		{"version 1, SCID of 21", v1(Version1, 0, 21), 8, CauseIDTooLong},
		{"version 2, DCID of 21", v1(Version2, 21, 0), 8, CauseIDTooLong},
		{"version 2, SCID of 255", v1(Version2, 0, 255), 8, CauseIDTooLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h Header
			if err := Parse(tt.datagram, tt.short, &h); !errors.Is(err, tt.want) {
				t.Errorf("got %v; want %v", err, tt.want)
			}
		})
	}
	for c := range map[Cause]bool{CauseEmpty: true, CauseTruncated: true, CauseIDTooLong: true, "other": true} {
		if c.Error() == "" {
			t.Errorf("%q has no message", string(c))
		}
	}
}

// TestEveryTruncationIsRefused cuts long headers at every octet of the header.
func TestEveryTruncationIsRefused(t *testing.T) {
	for _, text := range []string{clientInitial, serverInitial, retry} {
		whole := unhex(t, text)
		var h Header
		if err := Parse(whole, 8, &h); err != nil {
			t.Fatal(err)
		}
		headerLength := len(whole) - len(h.Rest)
		for n := 1; n < len(whole); n++ {
			err := Parse(whole[:n:n], 8, &h)
			if want := n >= headerLength; (err == nil) != want {
				t.Errorf("%d of %d header octets: got %v", n, headerLength, err)
			}
			if n < headerLength && !errors.Is(err, CauseTruncated) {
				t.Errorf("%d of %d header octets: got %v; want %v", n, headerLength, err, CauseTruncated)
			}
		}
	}
}

// TestViewsCannotGrowIntoEachOther appends to each view: what lies behind it in the
// datagram must stay as it is.
func TestViewsCannotGrowIntoEachOther(t *testing.T) {
	whole := unhex(t, "c0deadbeef02aabb02ccdd11")
	before := bytes.Clone(whole)
	var h Header
	if err := Parse(whole, 8, &h); err != nil {
		t.Fatal(err)
	}
	_, _ = append(h.DCID, 0xff), append(h.SCID, 0xff)
	if err := Parse(whole[5:], 3, &h); err != nil {
		t.Fatal(err)
	}
	_ = append(h.DCID, 0xff)
	if !bytes.Equal(whole, before) {
		t.Errorf("datagram became %x; want %x", whole, before)
	}
}

// build writes the packet that a header describes.
func build(h *Header, first byte) []byte {
	if !h.Long {
		return append(append([]byte{first}, h.DCID...), h.Rest...)
	}
	b := binary.BigEndian.AppendUint32([]byte{first}, h.Version)
	b = append(append(b, byte(len(h.DCID))), h.DCID...)
	b = append(append(b, byte(len(h.SCID))), h.SCID...)
	return append(b, h.Rest...)
}

// FuzzParse checks that whatever is accepted is exactly the octets of the
// datagram, and within the limits.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "40", clientInitial, serverInitial, retry, chacha, "80000000000000", "8000000000000000000001"} {
		f.Add(unhex(f, text), 8)
		f.Add(unhex(f, text), Undelimited)
	}
	f.Add(NewProbe().Append(nil), 0)
	f.Fuzz(func(t *testing.T, datagram []byte, shortLength int) {
		before := bytes.Clone(datagram)
		var h Header
		err := Parse(datagram, shortLength, &h)
		if !bytes.Equal(datagram, before) {
			t.Fatalf("%x was changed to %x", before, datagram)
		}
		if err != nil {
			if _, ok := errors.AsType[Cause](err); !ok {
				t.Fatalf("%x: error %v is no Cause", datagram, err)
			}
			return
		}
		if h.Long != (datagram[0] >= 0x80) || h.FixedBit != (datagram[0]&0x40 != 0) {
			t.Fatalf("%x: header is %+v", datagram, h)
		}
		if got := build(&h, datagram[0]); !bytes.Equal(got, datagram) {
			t.Fatalf("%x was read as %+v, which is %x", datagram, h, got)
		}
		limit := MaxIDLength
		if h.Version == Version1 || h.Version == Version2 {
			limit = MaxIDLengthV1
		}
		if h.Long && (len(h.DCID) > limit || len(h.SCID) > limit) {
			t.Fatalf("%x: IDs of %d and %d octets", datagram, len(h.DCID), len(h.SCID))
		}
		versions := slices.Collect(h.Versions())
		if want := len(h.Rest) / 4; h.IsVersionNegotiation() && len(h.Rest)%4 == 0 && len(versions) != want {
			t.Fatalf("%x: %d versions; want %d", datagram, len(versions), want)
		}
		if !h.IsVersionNegotiation() && len(versions) > 0 {
			t.Fatalf("%x: versions %x", datagram, versions)
		}
	})
}

func TestParseDoesNotAllocate(t *testing.T) {
	var h Header
	for _, text := range []string{clientInitial, chacha, "", "c0"} {
		datagram := unhex(t, text)
		if n := testing.AllocsPerRun(1000, func() { _ = Parse(datagram, Undelimited, &h) }); n != 0 {
			t.Errorf("Parse(%q) allocates %v times; want 0", text, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	pad := make([]byte, 1200)
	for name, datagram := range map[string][]byte{
		"long":  append(unhex(b, clientInitial), pad...),
		"short": append(unhex(b, chacha), pad...),
	} {
		b.Run(name, func(b *testing.B) {
			var h Header
			b.ReportAllocs()
			for b.Loop() {
				if err := Parse(datagram, Undelimited, &h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
