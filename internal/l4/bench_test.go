package l4_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// The hellos that benchmarks send: as a browser does, and as an attacker
// might, with as many identities as fit into what a hello may have.
func normalHello() []byte {
	o := hellotest.TLS13(bytes.Repeat([]byte("t"), 224)) // a ticket of nginx
	o.PadTo = 1900
	return hellotest.Build(o)
}

func identitiesHello(n int) []byte {
	ids := make([][]byte, n)
	for i := range ids {
		ids[i] = fmt.Appendf(nil, "identity %06d", i)
	}
	o := hellotest.TLS13(ids...)
	o.Binders = 1 // as many bytes as possible are identities
	o.PadTo = 64 << 10
	return hellotest.Build(o)
}

// oneConnection makes a connection that sends a hello, gets an answer and ends.
func oneConnection(t testing.TB, addr string, hello, answer []byte) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(hello); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatal(err)
	}
	// The client closes first, and with a reset, so that a benchmark does not
	// run out of ports in TIME_WAIT.
	_ = c.(*net.TCPConn).SetLinger(0)
}

// answerer starts a server that reads n bytes, answers and waits for the end.
func answerer(t testing.TB, n int, answer []byte) net.Addr {
	return serveEach(t, func(c net.Conn) {
		if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
			return
		}
		_, _ = c.Write(answer)
		_, _ = c.Read(make([]byte, 1)) // the end
	})
}

// BenchmarkConnection is a short connection: hello, answer, end. The time is
// that of client, proxy and server together; see BenchmarkHello for the
// proxy's own.
func BenchmarkConnection(b *testing.B) {
	hello, answer := normalHello(), make([]byte, 3000)
	to := answerer(b, len(hello), answer)
	_, addr := start(b, l4.Config{Dialer: toAddress(to.String())}, &l4.Settings{TLS: true, IdleTimeout: time.Minute})
	buf := make([]byte, len(answer))
	b.ReportAllocs()
	for b.Loop() {
		oneConnection(b, addr, hello, buf)
	}
}

// BenchmarkPingPong sends messages of different sizes to and fro on one
// connection.
func BenchmarkPingPong(b *testing.B) {
	for _, size := range []int{100, 4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			e := newEcho(b, size, nil)
			b.SetBytes(2 * int64(size))
			b.ReportAllocs()
			for b.Loop() {
				e.roundTrip(b)
			}
			_ = e.client.Close()
		})
	}
}

// BenchmarkBulk moves bulk data one way. The processor time is the proxy's
// own.
func BenchmarkBulk(b *testing.B) {
	const size = 64 << 20
	block := make([]byte, 256<<10)
	to := serveEach(b, func(c net.Conn) {
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	p := startChild(b, to)
	c := p.dial()
	_ = c.SetDeadline(time.Time{}) // a benchmark takes as long as it takes
	buf := make([]byte, 256<<10)
	b.SetBytes(size)
	before := p.cpu()
	for b.Loop() {
		for n := 0; n < size; {
			m, err := c.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			n += m
		}
	}
	b.ReportMetric(float64((p.cpu()-before).Nanoseconds())/float64(b.N)/(size>>20), "proxy-ns/MiB")
	_ = c.Close()
}

// BenchmarkHello tells what a hello of 64 KiB with 3,000 identities costs the
// proxy, in processor time for the whole connection, and how often that is
// what a normal one costs. It must stay under three times: a client must not
// be able to buy more work than it pays for.
func BenchmarkHello(b *testing.B) {
	b.Run("portable", func(b *testing.B) { benchmarkHello(b, childTLSEnv+"=1") })
	b.Run("loops", func(b *testing.B) { benchmarkHello(b, childTLSEnv+"=1", childLoopEnv+"=1") })
}

func benchmarkHello(b *testing.B, engine ...string) {
	const minHellos = 100 // the processor time of a few is below the clock's tick
	answer := make([]byte, 3000)
	cost := func(b *testing.B, hello []byte) time.Duration {
		p := startChild(b, answerer(b, len(hello), answer), engine...)
		buf := make([]byte, len(answer))
		oneConnection(b, p.addr, hello, buf)
		before := p.cpu()
		for b.Loop() {
			oneConnection(b, p.addr, hello, buf)
		}
		per := (p.cpu() - before) / time.Duration(b.N)
		b.ReportMetric(float64(per.Nanoseconds()), "proxy-ns/op")
		return per
	}
	var normal time.Duration
	b.Run("normal", func(b *testing.B) { normal = cost(b, normalHello()) })
	b.Run("identities", func(b *testing.B) {
		per := cost(b, identitiesHello(3000))
		if normal == 0 || b.N < minHellos {
			return // nothing to compare with
		}
		times := float64(per) / float64(normal)
		b.ReportMetric(times, "x-normal")
		if times > 3 {
			b.Errorf("a hello with 3,000 identities cost %.2f times a normal one; want at most 3", times)
		}
	})
}

// BenchmarkIdle tells what an idle connection costs: bytes of memory of the
// process that are resident, kernel memory not counted.
func BenchmarkIdle(b *testing.B) {
	const conns = 2000
	to := serveEach(b, echoAll)
	p := startChild(b, to)
	resident := func() int {
		var pages, res int
		s, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := fmt.Sscan(string(s), &pages, &res); err != nil {
			b.Fatal(err)
		}
		return res * os.Getpagesize()
	}
	before := resident()
	var open []net.Conn
	for b.Loop() {
		for len(open) < conns {
			c := p.dial()
			if _, err := c.Write([]byte("x")); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				b.Fatal(err)
			}
			open = append(open, c)
		}
	}
	b.ReportMetric(float64(resident()-before)/conns, "B/conn")
	for _, c := range open {
		_ = c.Close()
	}
}
