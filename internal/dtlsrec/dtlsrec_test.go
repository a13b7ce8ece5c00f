package dtlsrec

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// A capture is a datagram that another implementation sent.
type capture struct{ Name, Note, Answer, Datagram string }

func captures(tb testing.TB) (client map[string][]byte, answers []capture) {
	tb.Helper()
	var file struct{ Client, Answers []capture }
	text, err := os.ReadFile("testdata/datagrams.json")
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(text, &file); err != nil {
		tb.Fatal(err)
	}
	client = map[string][]byte{}
	for _, c := range file.Client {
		client[c.Name] = unhex(tb, c.Datagram)
	}
	if len(client) != 5 || len(file.Answers) != 2 {
		tb.Fatalf("%d datagrams and %d answers; want 5 and 2", len(client), len(file.Answers))
	}
	return client, file.Answers
}

func TestParse(t *testing.T) {
	tests := []struct {
		name     string
		datagram string
		idLength int
		want     Record
	}{
		{"DTLS 1.2 without ID (RFC 6347, 4.1)", "17fefd000100000000000500021122", 6, Record{
			Type: ApplicationData, Version: Version12, Epoch: 1, Sequence: 5, ID: []byte{}, Content: []byte{0x11, 0x22}, Length: 15,
		}},
		{"DTLS 1.2 with ID (RFC 9146, 4)", "19fefd0001ffffffffffff4d01020304050002112233", 6, Record{
			Type: CID, Version: Version12, Epoch: 1, Sequence: 1<<48 - 1,
			ID: unhex(t, "4d0102030405"), Content: []byte{0x11, 0x22}, Length: 21,
		}},
		{"DTLS 1.0 hello", "16feff00000000000000000000", 6, Record{
			Type: Handshake, Version: Version10, ID: []byte{}, Content: []byte{}, Length: 13,
		}},
		{"DTLS 1.3 ACK in the clear", "1afefd00000000000000010000", 0, Record{
			Type: ACK, Version: Version12, Sequence: 1, ID: []byte{}, Content: []byte{}, Length: 13,
		}},
		{"DTLS 1.3, all fields (RFC 9147, figure 3)", "3e4d01020304051234000211223344", 6, Record{
			Epoch: 2, Sequence: 0x1234, ID: unhex(t, "4d0102030405"), Content: []byte{0x11, 0x22}, Length: 13,
		}},
		{"DTLS 1.3, minimal with ID", "334d010203040512112233", 6, Record{
			Epoch: 3, Sequence: 0x12, ID: unhex(t, "4d0102030405"), Content: []byte{0x11, 0x22, 0x33}, Length: 11,
		}},
		{"DTLS 1.3, 16 bits of sequence number, no length", "39aabbcc123411", 3, Record{
			Epoch: 1, Sequence: 0x1234, ID: unhex(t, "aabbcc"), Content: []byte{0x11}, Length: 7,
		}},
		{"DTLS 1.3 without ID (C bit clear)", "2512000111", 6, Record{
			Epoch: 1, Sequence: 0x12, ID: []byte{}, Content: []byte{0x11}, Length: 5,
		}},
		{"DTLS 1.3, minimal (RFC 9147, figure 4)", "2012", 0, Record{Sequence: 0x12, ID: []byte{}, Content: []byte{}, Length: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r Record
			if err := Parse(unhex(t, tt.datagram), tt.idLength, &r); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, r); diff != "" {
				t.Errorf("record differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name     string
		datagram string
		idLength int
		want     Cause
	}{
		{"nothing", "", 6, CauseEmpty},
		{"content type 19", "13fefd00000000000000000000", 6, CauseNotDTLS},
		{"content type 27", "1bfefd00000000000000000000", 6, CauseNotDTLS},
		{"a TLS record", "160301000100", 6, CauseNotDTLS},
		{"a STUN message (RFC 7983)", "000100002112a442000000000000000000000000", 6, CauseNotDTLS},
		{"a QUIC long header", "c000000001088394c8f03e5157080000449e", 6, CauseNotDTLS},
		{"a QUIC short header", "4cfe4189655e5cd55c41f69080575d7999c25a5bfb", 6, CauseNotDTLS},
		{"an ID record of DTLS 1.0 (RFC 9146, 4)", "19feff0001000000000000aabbcc0000", 3, CauseNotDTLS},
		{"an ID record where there are none (RFC 9146, 3)", "19fefd00010000000000000000", 0, CauseUnexpectedID},
		{"a unified header with ID where there are none", "3012", 0, CauseUnexpectedID},
		{"a negative length", "19fefd00010000000000000000", -4, CauseUnexpectedID},
		{"a negative length, unified", "3012345678", -4, CauseUnexpectedID},
		{"longer than the datagram", "17fefd0001000000000005000311ff", 6, CauseTruncated},
		{"longer than the datagram, unified", "3eaabbcc12340002ff", 3, CauseTruncated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r Record
			if err := Parse(unhex(t, tt.datagram), tt.idLength, &r); !errors.Is(err, tt.want) {
				t.Errorf("got %v; want %v", err, tt.want)
			}
			if id, err := FindID(unhex(t, tt.datagram), tt.idLength); !errors.Is(err, tt.want) || id != nil {
				t.Errorf("FindID: got %x, %v; want %v", id, err, tt.want)
			}
		})
	}
	for _, c := range []Cause{CauseEmpty, CauseNotDTLS, CauseTruncated, CauseUnexpectedID, "other"} {
		if c.Error() == "" {
			t.Errorf("%q has no message", string(c))
		}
	}
}

// TestEveryTruncationIsRefused cuts each kind of record at every octet. A unified
// header without a length is the exception: there a shorter datagram is a shorter
// record.
func TestEveryTruncationIsRefused(t *testing.T) {
	for _, tt := range []struct {
		datagram string
		shortest int
	}{
		{"17fefd000100000000000500021122", 15},
		{"19fefd0001000000000005aabbcc00021122", 18},
		{"3eaabbcc123400021122", 10},
		{"33aabbcc121122", 5},
		{"3baabbcc12341122", 6},
		{"231211", 2},
	} {
		whole := unhex(t, tt.datagram)
		for n := 1; n <= len(whole); n++ {
			var r Record
			err := Parse(whole[:n:n], 3, &r)
			if want := n >= tt.shortest; (err == nil) != want {
				t.Errorf("%d of %d octets of %s: got %v", n, len(whole), tt.datagram, err)
			}
			if n < tt.shortest && !errors.Is(err, CauseTruncated) {
				t.Errorf("%d of %d octets of %s: got %v; want %v", n, len(whole), tt.datagram, err, CauseTruncated)
			}
		}
	}
}

func TestFindID(t *testing.T) {
	client, _ := captures(t)
	plain := unhex(t, "16fefd00000000000000000001ff")
	withID := unhex(t, "19fefd0001000000000005aabbcc00021122")
	unified := unhex(t, "33aabbcc121122")
	repeat := func(n int) []byte { return append(bytes.Repeat(plain, n), withID...) }
	tests := []struct {
		name     string
		datagram []byte
		idLength int
		want     string
	}{
		{"real hello", client["pion-hello"], 6, ""},
		{"real hello with a cookie", client["pion-hello-cookie"], 6, ""},
		{"real last flight, ID in its third record", client["pion-last-flight"], 6, "4d0102030405"},
		{"real data", client["pion-data"], 6, "4d0102030405"},
		{"real alert", client["pion-close"], 6, "4d0102030405"},
		{"unified", unified, 3, "aabbcc"},
		{"plain, then unified", append(bytes.Clone(plain), unified...), 3, "aabbcc"},
		{"two IDs: the first decides (RFC 9147, 4)", append(bytes.Clone(withID), unhex(t, "33ddeeff12")...), 3, "aabbcc"},
		{"plain, then garbage", append(bytes.Clone(plain), 0xff, 0xff), 3, ""},
		{"plain, then a truncated record", append(bytes.Clone(plain), withID[:10]...), 3, ""},
		{"ID in the last record that is looked at", repeat(MaxRecords - 1), 3, "aabbcc"},
		{"ID behind it", repeat(MaxRecords), 3, ""},
	}
	for _, tt := range tests {
		got, err := FindID(tt.datagram, tt.idLength)
		if err != nil || hex.EncodeToString(got) != tt.want {
			t.Errorf("%s: got %x, %v; want %s", tt.name, got, err, tt.want)
		}
	}
}

// build writes the record that r describes; flags are those of a unified header.
func build(r *Record, flags byte) []byte {
	var b []byte
	if r.Type == Ciphertext {
		b = append([]byte{flags}, r.ID...)
		if flags&unifiedSeq16 != 0 {
			b = append(b, byte(r.Sequence>>8))
		}
		b = append(b, byte(r.Sequence))
		if flags&unifiedLen == 0 {
			return append(b, r.Content...)
		}
	} else {
		b = appendUint16s([]byte{byte(r.Type)}, r.Version, r.Epoch, uint16(r.Sequence>>32), uint16(r.Sequence>>16), uint16(r.Sequence))
		b = append(b, r.ID...)
	}
	return append(appendUint16s(b, uint16(len(r.Content))), r.Content...)
}

// FuzzParse checks that whatever is accepted is exactly the octets of the datagram,
// for each record of it.
func FuzzParse(f *testing.F) {
	client, answers := captures(f)
	for _, datagram := range client {
		f.Add(datagram, byte(6))
		f.Add(datagram, byte(0))
	}
	for _, a := range answers {
		f.Add(unhex(f, a.Datagram), byte(6))
	}
	f.Add(NewProbe().Append(nil), byte(3))
	f.Add(unhex(f, "3eaabbcc12340002112233aabbcc121122"), byte(3))
	f.Fuzz(func(t *testing.T, datagram []byte, idLength byte) {
		before := bytes.Clone(datagram)
		id, findErr := FindID(datagram, int(idLength))
		ParseAnswer(datagram)
		var firstID []byte
		rest := datagram
		for n := 0; len(rest) > 0; n++ {
			var r Record
			err := Parse(rest, int(idLength), &r)
			if n == 0 && !errors.Is(err, findErr) {
				t.Fatalf("%x: Parse gives %v, FindID gives %v", datagram, err, findErr)
			}
			if err != nil {
				if _, ok := errors.AsType[Cause](err); !ok {
					t.Fatalf("%x: error %v is no Cause", rest, err)
				}
				break
			}
			if r.Length <= 0 || r.Length > len(rest) {
				t.Fatalf("%x: a record of %d octets", rest, r.Length)
			}
			if got := build(&r, rest[0]); !bytes.Equal(got, rest[:r.Length]) {
				t.Fatalf("%x was read as %+v, which is %x", rest[:r.Length], r, got)
			}
			if len(r.ID) != 0 && len(r.ID) != int(idLength) {
				t.Fatalf("%x: an ID of %d octets; want %d", rest, len(r.ID), idLength)
			}
			if n < MaxRecords && firstID == nil && len(r.ID) > 0 {
				firstID = r.ID
			}
			r.IsClientHello()
			rest = rest[r.Length:]
		}
		if !bytes.Equal(id, firstID) {
			t.Fatalf("%x: FindID gives %x; want %x", datagram, id, firstID)
		}
		if !bytes.Equal(datagram, before) {
			t.Fatalf("%x was changed to %x", before, datagram)
		}
	})
}

func TestParseDoesNotAllocate(t *testing.T) {
	client, _ := captures(t)
	var r Record
	for name, datagram := range client {
		if n := testing.AllocsPerRun(1000, func() { _ = Parse(datagram, 6, &r) }); n != 0 {
			t.Errorf("Parse(%s) allocates %v times; want 0", name, n)
		}
		if n := testing.AllocsPerRun(1000, func() { _, _ = FindID(datagram, 6); _, _ = FindID(datagram[:5], 6) }); n != 0 {
			t.Errorf("FindID(%s) allocates %v times; want 0", name, n)
		}
		if n := testing.AllocsPerRun(1000, func() { _ = ParseAnswer(datagram) }); n != 0 {
			t.Errorf("ParseAnswer(%s) allocates %v times; want 0", name, n)
		}
	}
}

func BenchmarkFindID(b *testing.B) {
	client, _ := captures(b)
	client["unified"] = unhex(b, "334d01020304051211223344")
	for _, name := range []string{"pion-data", "pion-last-flight", "pion-hello", "unified"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := FindID(client[name], 6); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
