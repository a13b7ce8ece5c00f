package l7_test

import (
	"io"
	"net/http"
	"testing"
)

// BenchmarkRequest is a small request with an ID, through the proxy to a
// server; client and server are in this process and count, too.
func BenchmarkRequest(b *testing.B) {
	for _, h2 := range []bool{false, true} {
		name := "h1"
		if h2 {
			name = "h2"
		}
		b.Run(name, func(b *testing.B) {
			r := newRig(b, rigConfig{ids: everyID(b), h2: h2}, echo("a"), echo("b"))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+r.addr+"/", nil)
					if err != nil {
						b.Fatal(err)
					}
					req.Header.Set("Mcp-Session-Id", "b-77")
					res, err := r.client.Do(req)
					if err != nil {
						b.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
		})
	}
}
