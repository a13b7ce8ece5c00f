package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/config"
)

// BenchmarkParse reads files with that many ranges of one server.
func BenchmarkParse(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			data := []byte(manyRules(n))
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := config.Parse("x.yaml", data, config.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func manyRules(n int) string {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(minimal, "}]}]\n") + ", ids: [\n")
	for i := range n {
		fmt.Fprintf(&b, "  {range: {from: %08x, to: %08x}},\n", 4*i, 4*i+1)
	}
	return b.String() + "]}]}]\n"
}
