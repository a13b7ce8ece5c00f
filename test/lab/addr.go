package lab

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreeAddr returns an address that nothing listens on: a port that the kernel
// handed out, on a loopback address drawn at random. Stock servers cannot be
// given an open socket, so somebody else could take the port before they
// bind it; that nobody else draws the same of 16 million addresses at that
// moment is what makes this safe with many tests at once.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	ip := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		tb.Fatalf("lab: looking for a free port: %v", err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func splitAddr(tb testing.TB, addr string) (host, port string) {
	tb.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	return host, port
}
