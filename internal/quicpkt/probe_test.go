package quicpkt

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// negotiate builds what a server answers (RFC 9000, 17.2.1).
func negotiate(dcid, scid []byte, versions ...uint32) []byte {
	h := Header{Long: true, DCID: dcid, SCID: scid}
	for _, v := range versions {
		h.Rest = binary.BigEndian.AppendUint32(h.Rest, v)
	}
	return build(&h, 0x80|0x2a)
}

func TestProbeIsAnInitialOfAReservedVersion(t *testing.T) {
	p := NewProbe()
	datagram, ok := bytes.CutPrefix(p.Append([]byte("kept")), []byte("kept"))
	if !ok || len(datagram) != ProbeSize || ProbeSize != 1200 {
		t.Fatalf("probe has %d octets; want 1200 (RFC 9000, 14.1)", len(datagram))
	}
	var h Header
	if err := Parse(datagram, 0, &h); err != nil {
		t.Fatal(err)
	}
	if !h.Long || !h.FixedBit || !IsReservedVersion(h.Version) || h.Version != p.version {
		t.Errorf("header is %+v; want a long one of a reserved version", h)
	}
	if len(h.DCID) < 8 {
		t.Errorf("DCID has %d octets; an Initial has at least 8 (RFC 9000, 7.2)", len(h.DCID))
	}
	// Token length 0, then a length of two octets that covers the rest.
	if h.Rest[0] != 0 || int(binary.BigEndian.Uint16(h.Rest[1:]))&0x3fff != len(h.Rest)-3 || h.Rest[1]>>6 != 1 {
		t.Errorf("what follows the IDs begins %x; want no token and a length of %d", h.Rest[:3], len(h.Rest)-3)
	}
	if q := NewProbe(); q == p || bytes.Equal(q.Append(nil), datagram) {
		t.Error("two probes are alike")
	}
}

func TestReservedVersion(t *testing.T) {
	for _, tt := range []struct{ r, want uint32 }{
		{0, 0x0a0a0a0a}, {0xffffffff, 0xfafafafa}, {0x12345678, 0x1a3a5a7a},
	} {
		if got := ReservedVersion(tt.r); got != tt.want || !IsReservedVersion(got) {
			t.Errorf("ReservedVersion(%#x) = %#x; want %#x", tt.r, got, tt.want)
		}
	}
	for _, v := range []uint32{VersionNegotiation, Version1, Version2, 0x1a2a3a4b} {
		if IsReservedVersion(v) {
			t.Errorf("%#x is taken for reserved", v)
		}
	}
}

func TestAnswers(t *testing.T) {
	p, other := NewProbe(), NewProbe()
	hi := func(b []byte) []byte { return append(bytes.Clone(b), 0) }
	tests := []struct {
		name     string
		datagram []byte
		want     bool
	}{
		{"version 1", negotiate(p.scid[:], p.dcid[:], Version1), true},
		{"versions 1, 2 and a reserved one", negotiate(p.scid[:], p.dcid[:], Version1, Version2, p.version^0x10000000), true},
		{"largest", negotiate(p.scid[:], p.dcid[:], make([]uint32, (MaxAnswerSize-23)/4)...), true},
		{"nothing", nil, false},
		{"no versions", negotiate(p.scid[:], p.dcid[:]), false},
		{"half a version", hi(negotiate(p.scid[:], p.dcid[:], Version1)), false},
		{"the version asked for (RFC 9000, 6.2)", negotiate(p.scid[:], p.dcid[:], Version1, p.version), false},
		{"IDs not swapped (RFC 9000, 17.2.1)", negotiate(p.dcid[:], p.scid[:], Version1), false},
		{"destination of another probe", negotiate(other.scid[:], p.dcid[:], Version1), false},
		{"source of another probe", negotiate(p.scid[:], other.dcid[:], Version1), false},
		{"the probe itself", p.Append(nil), false},
		{"an Initial", build(&Header{Long: true, Version: Version1, DCID: p.scid[:], SCID: p.dcid[:], Rest: make([]byte, 4)}, 0xc0), false},
		{"a short header", append([]byte{0x40}, p.scid[:]...), false},
		{"too large", negotiate(p.scid[:], p.dcid[:], make([]uint32, MaxAnswerSize/4)...), false},
	}
	for _, tt := range tests {
		if got := p.Answers(tt.datagram); got != tt.want {
			t.Errorf("%s: got %v; want %v", tt.name, got, tt.want)
		}
	}
	whole := negotiate(p.scid[:], p.dcid[:], Version1)
	for n := range whole {
		if p.Answers(whole[:n]) {
			t.Errorf("%d of %d octets are an answer", n, len(whole))
		}
	}
}

func TestVersionsStopsWhenAsked(t *testing.T) {
	var h Header
	if err := Parse(negotiate(nil, nil, 7, 8, 9), 0, &h); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(h.Versions()); !slices.Equal(got, []uint32{7, 8, 9}) {
		t.Errorf("got %v; want 7 8 9", got)
	}
	for v := range h.Versions() {
		if v != 7 {
			t.Fatalf("got %d after the loop had ended", v)
		}
		break
	}
}
