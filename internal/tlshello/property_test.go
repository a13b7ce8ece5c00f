package tlshello_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/tlshello"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// drawOptions draws a valid hello.
func drawOptions(t *rapid.T) hellotest.Options {
	bytesOf := func(label string, low, high int) []byte {
		return rapid.SliceOfN(rapid.Byte(), low, high).Draw(t, label)
	}
	o := hellotest.Options{SessionID: bytesOf("session_id", 0, 32)}
	if rapid.Bool().Draw(t, "has ticket") {
		o.Ticket = bytesOf("ticket", 0, 300)
	}
	for i := range rapid.IntRange(0, 12).Draw(t, "identities") {
		o.PSKs = append(o.PSKs, bytesOf(fmt.Sprint("identity ", i), 1, 60))
	}
	o.SNI = rapid.StringMatching(`([a-z0-9-]{1,20}\.){0,3}[a-z]{1,10}`).Draw(t, "SNI")
	o.ALPN = rapid.SliceOfN(rapid.StringN(1, 20, 60), 0, 4).Draw(t, "ALPN")
	if rapid.Bool().Draw(t, "has versions") {
		o.Versions = rapid.SliceOfN(rapid.SampledFrom([]uint16{0x0a0a, 0xfafa, 0x0301, 0x0302, 0x0303, 0x0304, 0x7f1c}), 1, 7).Draw(t, "versions")
	}
	o.EarlyData = rapid.Bool().Draw(t, "early data")
	if rapid.Bool().Draw(t, "has junk") {
		o.Junk = rapid.IntRange(4, 9000).Draw(t, "junk")
	}
	return o
}

// said returns what the options say, by the definitions in Hello's comments.
func said(o hellotest.Options, length int) tlshello.Hello {
	h := tlshello.Hello{
		SessionID: o.SessionID,
		Ticket:    o.Ticket,
		HasTicket: o.Ticket != nil,
		SNI:       []byte(o.SNI),
		EarlyData: o.EarlyData,
		Length:    length,
	}
	h.NumPSK = copy(h.Identities[:], o.PSKs)
	h.SkippedPSK = len(o.PSKs) - h.NumPSK
	for _, name := range o.ALPN {
		h.ALPN = append(append(h.ALPN, byte(len(name))), name...)
	}
	if o.Versions == nil {
		h.MaxVersion = 0x0303
	}
	for _, v := range []uint16{0x0301, 0x0302, 0x0303, 0x0304} {
		if slices.Contains(o.Versions, v) {
			h.MaxVersion = v
		}
	}
	h.OffersTLS13 = h.MaxVersion == 0x0304
	return h
}

// TestParseReadsWhatWasBuilt: however a hello is cut into records and the
// records into reads, it says the same.
func TestParseReadsWhatWasBuilt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := drawOptions(t)
		message := hellotest.Message(o)
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(1, 5), rapid.IntRange(1, 2000), rapid.Just(hellotest.MaxRecord)), 1, 6).Draw(t, "record sizes")
		hello := hellotest.RecordsOf(message, sizes...)
		if len(hello) > tlshello.MaxHello {
			return
		}
		cuts := rapid.SliceOfN(rapid.IntRange(1, 1500), 1, 5).Draw(t, "read sizes")
		rest := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes after the hello")

		var p tlshello.Parser
		var got tlshello.Hello
		var buf []byte
		wire := slices.Concat(hello, rest)
		for i := 0; ; i++ {
			n := min(len(buf)+cuts[i%len(cuts)], len(wire))
			buf = slices.Clone(wire[:n]) // the backing array may move
			err := p.Parse(buf, &got)
			if n < len(hello) {
				if !errors.Is(err, tlshello.ErrNeedMore) {
					t.Fatalf("%d of %d bytes: %v; want ErrNeedMore", n, len(hello), err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%d of %d bytes: %v", n, len(hello), err)
			}
			break
		}
		if diff := cmp.Diff(said(o, len(hello)), got, equalHellos); diff != "" {
			t.Fatalf("hello (-said +parsed):\n%s", diff)
		}
		var alone tlshello.Hello
		if err := tlshello.ParseMessage(message, &alone); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(said(o, len(message)), alone, equalHellos); diff != "" {
			t.Fatalf("message (-said +parsed):\n%s", diff)
		}
	})
}

// TestTruncations: every truncation of every hello needs more bytes, whether
// it is the parser's first call or one of many.
func TestTruncations(t *testing.T) {
	t.Parallel()
	spread := hellotest.TLS13([]byte("identity one"), []byte("identity two"))
	spread.RecordSize = 1
	three := spread
	three.RecordSize = 100
	hellos := map[string][]byte{
		"one-byte records": hellotest.Build(spread),
		"three records":    hellotest.Build(three),
		"no extensions":    hellotest.Build(hellotest.Options{}),
	}
	for _, name := range vectorNames(t) {
		hellos[name] = vector(t, name)
	}
	for name, hello := range hellos {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var often tlshello.Parser
			var h tlshello.Hello
			for n := range hello {
				if err := often.Parse(hello[:n], &h); !errors.Is(err, tlshello.ErrNeedMore) {
					t.Fatalf("first %d of %d bytes, one by one: %v; want ErrNeedMore", n, len(hello), err)
				}
				var once tlshello.Parser
				if err := once.Parse(hello[:n], &h); !errors.Is(err, tlshello.ErrNeedMore) {
					t.Fatalf("first %d of %d bytes at once: %v; want ErrNeedMore", n, len(hello), err)
				}
			}
			if err := often.Parse(hello, &h); err != nil {
				t.Fatalf("all %d bytes: %v", len(hello), err)
			}
			if diff := cmp.Diff(parse(t, hello), h, equalHellos); diff != "" {
				t.Errorf("at once and one by one (-once +often):\n%s", diff)
			}
		})
	}
}

// TestParseLooksAtNewBytesOnly makes sure that the work of all calls together
// is linear, without a clock: what earlier calls have walked, and what of the
// present record is of no interest yet, is overwritten before each call, and
// only the last one gets the true bytes.
func TestParseLooksAtNewBytesOnly(t *testing.T) {
	t.Parallel()
	const poison, headers = 0xff, 5 + 4
	for _, size := range []int{1, 2, 7, 1000, hellotest.MaxRecord} {
		o := hellotest.TLS13([]byte("identity"))
		o.Junk = 10_000
		o.RecordSize = size
		hello := hellotest.Build(o)
		buf := bytes.Repeat([]byte{poison}, len(hello))
		var p tlshello.Parser
		var h tlshello.Hello
		for n := range len(hello) - 1 {
			begin := n / (size + 5) * (size + 5) // of the record that byte n belongs to
			if n-begin < headers {
				buf[n] = hello[n]
			}
			if n == begin {
				for i := max(0, begin-headers-size); i < begin; i++ {
					buf[i] = poison
				}
			}
			if err := p.Parse(buf[:n+1], &h); !errors.Is(err, tlshello.ErrNeedMore) {
				t.Fatalf("records of %d, byte %d: %v; it looked at bytes again", size, n, err)
			}
		}
		if err := p.Parse(hello, &h); err != nil {
			t.Errorf("records of %d: %v", size, err)
		}
	}
}

// FuzzParse: a parser never panics; whole and piece by piece it comes to the
// same answer; what it accepts needs every one of its bytes; and the views lie
// where they are said to lie.
func FuzzParse(f *testing.F) {
	for _, name := range vectorNames(f) {
		f.Add(vector(f, name), uint16(1))
		f.Add(vector(f, name), uint16(700))
	}
	spread := hellotest.TLS13([]byte("identity one"), []byte("identity two"))
	spread.EarlyData = true
	for _, size := range []int{1, 3, 100} {
		spread.RecordSize = size
		f.Add(hellotest.Build(spread), uint16(size))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(1))
	f.Fuzz(func(t *testing.T, input []byte, step uint16) {
		var whole, pieces tlshello.Parser
		var want, got tlshello.Hello
		wantErr := whole.Parse(input, &want)

		n := 0
		gotErr := pieces.Parse(nil, &got)
		for errors.Is(gotErr, tlshello.ErrNeedMore) && n < len(input) {
			n = min(n+max(1, int(step)), len(input))
			gotErr = pieces.Parse(input[:n], &got)
		}
		if !errors.Is(gotErr, wantErr) {
			t.Fatalf("whole: %v; in pieces of %d: %v", wantErr, step, gotErr)
		}
		if errors.Is(wantErr, tlshello.ErrNeedMore) && len(input) >= tlshello.MaxHello {
			t.Fatalf("undecided after %d bytes", len(input))
		}
		if wantErr != nil {
			return
		}
		if diff := cmp.Diff(want, got, equalHellos); diff != "" {
			t.Fatalf("in pieces of %d (-whole +pieces):\n%s", step, diff)
		}
		if want.Length > tlshello.MaxHello || want.Length > len(input) {
			t.Fatalf("length %d of %d bytes", want.Length, len(input))
		}
		var short tlshello.Parser
		if err := short.Parse(input[:want.Length-1], &got); !errors.Is(err, tlshello.ErrNeedMore) {
			t.Fatalf("without its last byte: %v; want ErrNeedMore", err)
		}
		checkViews(t, input, &want)
	})
}

// FuzzParseMessage: the message alone is read as in a record.
func FuzzParseMessage(f *testing.F) {
	f.Add(vector(f, "go-quic-crypto-frame-full"))
	for _, name := range vectorNames(f) {
		f.Add(vector(f, name)[5:])
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		var alone, inRecord tlshello.Hello
		err := tlshello.ParseMessage(message, &alone)
		if err != nil || len(message) > hellotest.MaxRecord {
			return
		}
		message = message[:alone.Length]
		var p tlshello.Parser
		if err := p.Parse(hellotest.Records(message, hellotest.MaxRecord), &inRecord); err != nil {
			t.Fatalf("in a record: %v", err)
		}
		inRecord.Length = alone.Length
		if diff := cmp.Diff(alone, inRecord, equalHellos); diff != "" {
			t.Fatalf("(-alone +record):\n%s", diff)
		}
	})
}

// checkViews checks that a hello in one record is a set of views into input.
func checkViews(t *testing.T, input []byte, h *tlshello.Hello) {
	t.Helper()
	if first := 5 + int(input[3])<<8 + int(input[4]); first != h.Length {
		return // several records: the views are the parser's
	}
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(input)))
	views := append([][]byte{h.SessionID, h.Ticket, h.SNI, h.ALPN}, h.Identities[:]...)
	for i, view := range views {
		if len(view) == 0 {
			continue
		}
		at := uintptr(unsafe.Pointer(unsafe.SliceData(view))) - begin
		if at >= uintptr(h.Length) || at+uintptr(cap(view)) > uintptr(h.Length) {
			t.Errorf("view %d, %d bytes at %d, leaves the hello of %d", i, cap(view), at, h.Length)
		}
	}
	for i, id := range h.Identities {
		if (len(id) > 0) != (i < h.NumPSK) {
			t.Errorf("identity %d of %d has %d bytes", i, h.NumPSK, len(id))
		}
	}
	if bytes.IndexByte(h.SNI, 0) >= 0 {
		t.Errorf("SNI %q", h.SNI)
	}
}
