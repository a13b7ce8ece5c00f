package tlshello_test

import (
	"testing"

	"github.com/mintmark/mintmark/internal/tlshello"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// largest returns a hello of exactly MaxHello bytes with n identities of 14
// bytes each.
func largest(n int) []byte {
	psks := make([][]byte, n)
	for i := range psks {
		psks[i] = []byte("an identity...")
	}
	o := hellotest.TLS13(psks...)
	o.Binders = 1
	o.PadTo = tlshello.MaxHello
	return hellotest.Build(o)
}

// The two hellos of the largest size that take longest to read: nothing but
// empty extensions, and nothing but protocol names of one byte.
func smallestExtensions() []byte {
	unknown := make([]hellotest.Extension, 16340)
	for i := range unknown {
		unknown[i].Type = 0xff00
	}
	return hellotest.Build(hellotest.Options{Extensions: unknown})
}

func smallestProtocols() []byte {
	names := make([]string, 32700)
	for i := range names {
		names[i] = "x"
	}
	return hellotest.Build(hellotest.Options{ALPN: names})
}

func BenchmarkParse(b *testing.B) {
	ticket := make([]byte, 224)
	normal := hellotest.TLS13(ticket)
	spread := normal
	spread.RecordSize = 1
	hellos := []struct {
		name  string
		hello []byte
	}{
		{"openssl", vector(b, "openssl-s_client-tls13-psk-resume")},
		{"chromium", vector(b, "chromium156-tls13-psk-resume")},
		{"tls12", vector(b, "openssl-s_client-tls12-sessionid-resume")},
		{"one-byte-records", hellotest.Build(spread)},
		{"64KiB", largest(1)},
		{"64KiB-3000-identities", largest(3000)},
		{"64KiB-smallest-extensions", smallestExtensions()},
		{"64KiB-smallest-protocols", smallestProtocols()},
	}
	for _, c := range hellos {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.hello)))
			var p tlshello.Parser
			var h tlshello.Hello
			for b.Loop() {
				p.Reset()
				if err := p.Parse(c.hello, &h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("byte-at-a-time", func(b *testing.B) {
		hello := vector(b, "chromium156-tls13-psk-resume")
		b.ReportAllocs()
		b.SetBytes(int64(len(hello)))
		var p tlshello.Parser
		var h tlshello.Hello
		for b.Loop() {
			p.Reset()
			for n := range len(hello) + 1 {
				_ = p.Parse(hello[:n], &h)
			}
		}
	})
}
