package tlshello_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/tlshello"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// refusal feeds input byte by byte and returns the refusal and how many bytes
// it took, or nil.
func refusal(t *testing.T, input []byte) (*tlshello.Error, int) {
	t.Helper()
	var p tlshello.Parser
	var h tlshello.Hello
	for n := range len(input) + 1 {
		err := p.Parse(input[:n], &h)
		if err == nil {
			return nil, n
		}
		if e, ok := errors.AsType[*tlshello.Error](err); ok {
			if again := p.Parse(input, &h); !errors.Is(again, e) {
				t.Errorf("after a refusal with %v the next call returned %v", e, again)
			}
			return e, n
		}
		if !errors.Is(err, tlshello.ErrNeedMore) {
			t.Fatalf("Parse = %v", err)
		}
	}
	return nil, len(input)
}

// edit returns a copy of hello with the bytes at offset at replaced.
func edit(hello []byte, at int, with ...byte) []byte {
	b := slices.Clone(hello)
	copy(b[at:], with)
	return b
}

// withExtension returns a hello with the extension given, the last one.
func withExtension(kind uint16, data ...byte) []byte {
	return hellotest.Build(hellotest.Options{After: []hellotest.Extension{{Type: kind, Data: data}}})
}

const (
	notTLS   = tlshello.CauseNotTLS
	tooLarge = tlshello.CauseTooLarge
	bad      = tlshello.CauseBadHello
)

// A refusalTest says how an input is refused, and after how many bytes; 0
// means after the last.
type refusalTest struct {
	name  string
	input []byte
	cause tlshello.Cause
	alert byte
	after int
}

func (c refusalTest) run(t *testing.T) {
	t.Parallel()
	e, n := refusal(t, c.input)
	if e == nil {
		t.Fatalf("not refused within %d bytes", n)
	}
	after := c.after
	if after == 0 {
		after = len(c.input)
	}
	if e.Cause != c.cause || e.Alert != c.alert || n != after {
		t.Errorf("refused with %v, alert %d, after %d bytes; want %s, alert %d, after %d", e, e.Alert, n, c.cause, c.alert, after)
	}
}

func TestRefusedAtFirstBytes(t *testing.T) {
	t.Parallel()
	hello := hellotest.Build(hellotest.TLS13())
	for _, c := range []refusalTest{
		{"an HTTP request", []byte("GET / HTTP/1.1\r\n"), notTLS, 0, 1},
		{"HTTP/2 without TLS", []byte("PRI * HTTP/2.0\r\n"), notTLS, 0, 1},
		{"SSH", []byte("SSH-2.0-OpenSSH\r\n"), notTLS, 0, 1},
		{"an SSLv2 hello (RFC 5246, E.2)", []byte{0x80, 0x2e, 0x01, 0x03, 0x01}, notTLS, 0, 1},
		{"an alert", []byte{21, 3, 3, 0, 2, 2, 80}, notTLS, 0, 1},
		{"a PROXY header", []byte("\r\n\r\n\x00\r\nQUIT\n"), notTLS, 0, 1},
		{"version 2", []byte{22, 2, 0}, notTLS, 0, 2},
		{"DTLS", []byte{22, 0xfe, 0xfd}, notTLS, 0, 2},
		{"a handshake message without a record", hellotest.Message(hellotest.TLS13()), notTLS, 0, 1},
		{"a record of 16640 bytes", []byte{22, 3, 1, 0x41, 0}, bad, tlshello.AlertRecordOverflow, 4},
		{"a record of 16385 bytes", []byte{22, 3, 1, 0x40, 1}, bad, tlshello.AlertRecordOverflow, 5},
		{"an empty record", []byte{22, 3, 1, 0, 0}, bad, tlshello.AlertUnexpectedMessage, 5},
		{"a ServerHello", edit(hello, 5, 2), bad, tlshello.AlertUnexpectedMessage, 6},
		{"a message of 16 MiB", edit(hello, 6, 0xff, 0xff, 0xff), tooLarge, tlshello.AlertIllegalParameter, 9},
		{"a message shorter than its record", edit(hello, 8, hello[8]-1), bad, tlshello.AlertUnexpectedMessage, 9},
	} {
		t.Run(c.name, c.run)
	}
}

func TestRandomBytesAreNotTLS(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		input := make([]byte, 16)
		for i := range input {
			input[i] = byte(random.Uint32())
		}
		if input[0] == 22 && input[1] == 3 {
			continue // one in 65,536 looks like TLS so far
		}
		if e, n := refusal(t, input); e == nil || e.Cause != notTLS || n > 2 {
			t.Fatalf("%x: %v after %d bytes; want not_tls after at most 2", input, e, n)
		}
	}
}

func TestRefusedBetweenRecords(t *testing.T) {
	t.Parallel()
	message := hellotest.Message(hellotest.TLS13())
	first := hellotest.Record(hellotest.TypeHandshake, message[:20])
	for _, c := range []refusalTest{
		{"an alert", append(slices.Clone(first), 21), bad, tlshello.AlertUnexpectedMessage, 0},
		{"ChangeCipherSpec", append(slices.Clone(first), 20), bad, tlshello.AlertUnexpectedMessage, 0},
		{"an HTTP request", append(slices.Clone(first), 'G'), bad, tlshello.AlertUnexpectedMessage, 0},
		{"version 4", append(slices.Clone(first), 22, 4), bad, tlshello.AlertProtocolVersion, 0},
		{"an empty record", append(slices.Clone(first), 22, 3, 3, 0, 0), bad, tlshello.AlertUnexpectedMessage, 0},
		{
			"a record longer than the rest",
			slices.Concat(first, hellotest.Record(22, append(slices.Clone(message[20:]), 0))),
			bad, tlshello.AlertUnexpectedMessage, len(first) + 5,
		},
	} {
		t.Run(c.name, c.run)
	}
}

// TestTooLarge holds the bound to the byte, and that it is drawn as soon as
// the announced lengths allow.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	fits := hellotest.TLS13([]byte("identity"))
	fits.PadTo = tlshello.MaxHello
	if e, n := refusal(t, hellotest.Build(fits)); e != nil || n != tlshello.MaxHello {
		t.Errorf("64 KiB: %v after %d bytes", e, n)
	}
	over := fits
	over.PadTo++
	message := hellotest.Message(hellotest.Options{Junk: 11_000})
	// After k records of one byte the rest takes at least a header more.
	k := (tlshello.MaxHello-5-5-len(message))/5 + 1
	for _, c := range []refusalTest{
		{"64 KiB + 1", hellotest.Build(over), tooLarge, tlshello.AlertIllegalParameter, 9},
		// In records of one byte 11 KB take 66 KB, which shows only when the
		// rest would not fit even in one record.
		{"11 KB in records of one byte", hellotest.Records(message, 1), tooLarge, tlshello.AlertIllegalParameter, 6*k + 5},
		{"a message of 64 KiB", []byte{22, 3, 1, 0, 4, 1, 0, 0xff, 0xfc}, tooLarge, tlshello.AlertIllegalParameter, 0},
		{"a header in records of one byte", []byte{22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 1, 0, 22, 3, 1, 0, 1, 0}, tooLarge, tlshello.AlertIllegalParameter, 0},
	} {
		t.Run(c.name, c.run)
	}
}

// At MaxHello bytes there is an answer, so a caller needs no larger buffer.
func TestNoNeedForMoreThanMaxHello(t *testing.T) {
	t.Parallel()
	message := hellotest.Message(hellotest.Options{Junk: 65_000})
	for size := 1; size <= hellotest.MaxRecord; size = size*2 + 1 {
		input := hellotest.Records(message, size)
		input = append(input, make([]byte, tlshello.MaxHello)...)[:tlshello.MaxHello]
		var p tlshello.Parser
		var h tlshello.Hello
		if err := p.Parse(input, &h); errors.Is(err, tlshello.ErrNeedMore) {
			t.Errorf("records of %d: %v", size, err)
		}
	}
}

func TestRefusedMessages(t *testing.T) {
	t.Parallel()
	const decode, illegal = tlshello.AlertDecodeError, tlshello.AlertIllegalParameter
	psk := hellotest.PreSharedKey([][]byte{[]byte("identity")}, 0)
	long := strings.Repeat("n", 256)
	full := hellotest.Build(hellotest.Options{SessionID: make([]byte, 32)})
	for _, c := range []refusalTest{
		{"an empty message", []byte{22, 3, 1, 0, 4, 1, 0, 0, 0}, bad, decode, 0},
		{"session_id of 33 bytes", edit(full, 43, 33), bad, decode, 0},
		{"session_id to the end", edit(full, 43, 255), bad, decode, 0},
		{"no cipher suite", edit(full, 76, 0, 0), bad, decode, 0},
		{"half a cipher suite", edit(full, 76, 0, 3), bad, decode, 0},
		{"no compression method", edit(full, len(full)-2, 0), bad, decode, 0},
		{"a byte after the message's fields", slices.Concat([]byte{22, 3, 3, 0, byte(len(full) - 4), 1, 0, 0, byte(len(full) - 8)}, full[9:], []byte{0}), bad, decode, 0},
		{"extensions shorter than the message", slices.Concat([]byte{22, 3, 3, 0, byte(len(full) - 2), 1, 0, 0, byte(len(full) - 6)}, full[9:], []byte{0, 0, 0}), bad, decode, 0},
		{"extensions longer than the message", slices.Concat([]byte{22, 3, 3, 0, byte(len(full) - 3), 1, 0, 0, byte(len(full) - 7)}, full[9:], []byte{0, 1}), bad, decode, 0},
		{"half an extension header", slices.Concat([]byte{22, 3, 3, 0, byte(len(full)), 1, 0, 0, byte(len(full) - 4)}, full[9:], []byte{0, 3, 0xff, 0xff, 0}), bad, decode, 0},
		{"an extension longer than the block", slices.Concat([]byte{22, 3, 3, 0, byte(len(full) + 1), 1, 0, 0, byte(len(full) - 3)}, full[9:], []byte{0, 4, 0xff, 0xff, 0, 1}), bad, decode, 0},

		{"server_name empty", withExtension(0), bad, decode, 0},
		{"server_name without names", withExtension(0, 0, 0), bad, decode, 0},
		{"server_name without a length", withExtension(0, 0, 1, 0), bad, decode, 0},
		{"server_name with an empty name", withExtension(0, 0, 3, 0, 0, 0), bad, decode, 0},
		{"server_name with half a name", withExtension(0, 0, 4, 0, 0, 2, 'a'), bad, decode, 0},
		{"server_name and a byte more", withExtension(0, 0, 4, 0, 0, 1, 'a', 0), bad, decode, 0},
		{"two host names (RFC 6066, 3)", withExtension(0, 0, 8, 0, 0, 1, 'a', 0, 0, 1, 'b'), bad, illegal, 0},
		{"a host name with a zero byte", withExtension(0, 0, 6, 0, 0, 3, 'a', 0, 'b'), bad, tlshello.AlertUnrecognizedName, 0},
		{"a host name of 256 bytes", hellotest.Build(hellotest.Options{SNI: long}), bad, tlshello.AlertUnrecognizedName, 0},

		{"ALPN empty", withExtension(16), bad, decode, 0},
		{"ALPN without names", withExtension(16, 0, 0), bad, decode, 0},
		{"ALPN with an empty name (RFC 7301, 3.1)", withExtension(16, 0, 1, 0), bad, decode, 0},
		{"ALPN with half a name", withExtension(16, 0, 2, 2, 'h'), bad, decode, 0},
		{"ALPN and a byte more", withExtension(16, 0, 2, 1, 'h', 0), bad, decode, 0},

		{"supported_versions empty", withExtension(43), bad, decode, 0},
		{"supported_versions without versions", withExtension(43, 0), bad, decode, 0},
		{"supported_versions of odd length", withExtension(43, 3, 3, 4, 3), bad, decode, 0},
		{"supported_versions and a byte more", withExtension(43, 2, 3, 4, 0), bad, decode, 0},

		{"early_data with data", withExtension(42, 0), bad, decode, 0},

		{"pre_shared_key empty", withExtension(41), bad, decode, 0},
		{"pre_shared_key without identities", withExtension(41, append([]byte{0, 0, 0, 33, 32}, make([]byte, 32)...)...), bad, decode, 0},
		{"pre_shared_key without binders", withExtension(41, psk[:2+2+8+4]...), bad, decode, 0},
		{"pre_shared_key with half a binder", withExtension(41, append(slices.Clone(psk[:2+2+8+4]), 0, 1, 0)...), bad, decode, 0},
		{"pre_shared_key and a byte more", withExtension(41, append(slices.Clone(psk), 0)...), bad, decode, 0},
		{"an empty identity", withExtension(41, hellotest.PreSharedKey([][]byte{{}}, 0)...), bad, decode, 0},
		{"an identity longer than the list", withExtension(41, edit(psk, 2, 0, 9)...), bad, decode, 0},
		{"an identity without its age", withExtension(41, edit(psk, 2, 0, 12)...), bad, decode, 0},
		{"half an identity's length", withExtension(41, append([]byte{0, 1, 7, 0, 33, 32}, make([]byte, 32)...)...), bad, decode, 0},
		{"a malformed identity among those skipped", withExtension(41, hellotest.PreSharedKey([][]byte{{1}, {1}, {1}, {1}, {1}, {1}, {1}, {1}, {1}, {}}, 0)...), bad, decode, 0},

		{"pre_shared_key before another (RFC 8446, 4.2.11)", hellotest.Build(hellotest.Options{
			PSKs: [][]byte{{1}}, After: []hellotest.Extension{{Type: 0xff01, Data: []byte{0}}},
		}), bad, illegal, 0},
		{"pre_shared_key twice", hellotest.Build(hellotest.Options{
			PSKs: [][]byte{{1}}, After: []hellotest.Extension{{Type: 41, Data: psk}},
		}), bad, illegal, 0},
		{"session_ticket twice (RFC 8446, 4.2)", hellotest.Build(hellotest.Options{
			Ticket: []byte("a"), Extensions: []hellotest.Extension{{Type: 35, Data: []byte("b")}},
		}), bad, illegal, 0},
		{"server_name twice", hellotest.Build(hellotest.Options{
			SNI: "a", After: []hellotest.Extension{{Type: 0, Data: []byte{0, 4, 0, 0, 1, 'b'}}},
		}), bad, illegal, 0},
	} {
		t.Run(c.name, c.run)
	}
}

// What does not concern routing is left to the server: it may refuse.
func TestNotRefused(t *testing.T) {
	t.Parallel()
	unknownTwice := hellotest.Options{Extensions: []hellotest.Extension{{Type: 0x7777}, {Type: 0x7777}}}
	fewBinders := hellotest.Options{PSKs: [][]byte{{1}, {2}, {3}}, Binders: 1}
	minor := hellotest.Build(hellotest.TLS13())
	minor[2] = 0x7f
	for name, hello := range map[string][]byte{
		"an unknown extension twice":             hellotest.Build(unknownTwice),
		"fewer binders than identities":          hellotest.Build(fewBinders),
		"a record's minor version (RFC 8446, 5)": minor,
		"a host name that is not ASCII":          hellotest.Build(hellotest.Options{SNI: "b\xc3\xbccher.example"}),
	} {
		if e, _ := refusal(t, hello); e != nil {
			t.Errorf("%s: %v; want no refusal", name, e)
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	e := &tlshello.Error{Cause: tlshello.CauseNotTLS, Detail: "no"}
	if got := e.Error(); got != "tlshello: not_tls: no" {
		t.Errorf("got %q", got)
	}
}

func TestAppendAlert(t *testing.T) {
	t.Parallel()
	got := tlshello.AppendAlert([]byte("x"), tlshello.AlertUnrecognizedName)
	if want := []byte{'x', 21, 3, 3, 0, 2, 2, 112}; !bytes.Equal(got, want) {
		t.Errorf("got %x; want %x", got, want)
	}
}
