package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/dgram"
	"github.com/mintmark/mintmark/internal/dgram/engine"
	"github.com/mintmark/mintmark/internal/metrics"
	"github.com/mintmark/mintmark/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wait = 10 * time.Second

// A server answers each datagram with its name and what came.
type server struct {
	name string
	conn *net.UDPConn
}

func udp(tb testing.TB, address string) *net.UDPConn {
	tb.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func portText(a netip.AddrPort) string { return strconv.Itoa(int(a.Port())) }

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func startServer(tb testing.TB, name string) *server {
	tb.Helper()
	s := &server{name: name, conn: udp(tb, "127.0.0.1:0")}
	done := make(chan struct{})
	tb.Cleanup(func() { _ = s.conn.Close(); <-done })
	go func() {
		defer close(done)
		buffer := make([]byte, 1<<16)
		for {
			n, from, err := s.conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			_, _ = s.conn.WriteToUDPAddrPort(append([]byte(name), buffer[:n]...), from)
		}
	}()
	return s
}

// A bench is a running engine with servers a, b and c, each the owner of the IDs that
// begin with its letter.
type bench struct {
	tb      testing.TB
	proxy   *engine.Proxy
	metrics *metrics.Set
	pool    *route.Pool
	addr    netip.AddrPort
	servers []*server
}

type options struct {
	address  string
	portable bool
	protocol dgram.Protocol
	settings engine.Settings
}

func settings(tb testing.TB, pool *route.Pool, o options) *engine.Settings {
	tb.Helper()
	l, err := route.NewListener("l", nil, pool)
	if err != nil {
		tb.Fatal(err)
	}
	s := o.settings
	s.Listener, s.Reader = l, dgram.ReaderConfig{Protocol: o.protocol}
	switch o.protocol {
	case dgram.UDP:
		s.Reader.Bytes = []dgram.BytesRule{{Offset: 1, Length: 4, When: dgram.Condition{Equals: []byte{4}}}}
	case dgram.DTLS:
		s.Reader.IDLength = 4
	case dgram.QUIC:
	}
	if err := s.Check(); err != nil {
		tb.Fatal(err)
	}
	return &s
}

func newPool(tb testing.TB, prev *route.Pool, addresses map[string]netip.AddrPort) *route.Pool {
	tb.Helper()
	c := route.PoolConfig{Name: "p", Policy: route.Hash}
	var rules []idspace.Rule
	for _, name := range []string{"a", "b", "c"} {
		at, ok := addresses[name]
		if !ok {
			continue
		}
		c.Servers = append(c.Servers, route.ServerConfig{
			Name: route.ServerName(name), Weight: 1, Address: route.Address{Network: "tcp", Host: at.Addr().Unmap().String(), Port: at.Port()},
		})
		rules = append(rules, idspace.Rule{Owner: idspace.Owner(name), Bits: &idspace.Bits{Mask: []byte{0xff}, Values: [][]byte{{name[0]}}}})
	}
	var err error
	if c.Table, err = idspace.Compile(rules); err != nil {
		tb.Fatal(err)
	}
	p, err := route.NewPool(c, prev)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func start(tb testing.TB, o options) *bench {
	tb.Helper()
	var servers []*server
	addresses := map[string]netip.AddrPort{}
	for _, name := range []string{"a", "b", "c"} {
		s := startServer(tb, name)
		servers = append(servers, s)
		addresses[name] = addrOf(s.conn)
	}
	b := startWith(tb, o, addresses)
	b.servers = servers
	return b
}

// startWith starts an engine in front of servers that the test has.
func startWith(tb testing.TB, o options, addresses map[string]netip.AddrPort) *bench {
	tb.Helper()
	b := &bench{tb: tb, metrics: metrics.New("test")}
	b.pool = newPool(tb, nil, addresses)
	if o.address == "" {
		o.address = "127.0.0.1:0"
	}
	if o.protocol == 0 {
		o.protocol = dgram.QUIC
	}
	sockets, err := engine.Listen(tb.Context(), o.address, engine.ListenOptions{Whole: o.protocol == dgram.QUIC})
	if err != nil {
		tb.Fatal(err)
	}
	b.addr = sockets.Addr()
	b.proxy = engine.New(engine.Config{Logger: slog.New(slog.NewTextHandler(tb.Output(), nil)), Metrics: b.metrics, Portable: o.portable},
		settings(tb, b.pool, o))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.proxy.Serve(ctx, sockets) }()
	tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			tb.Errorf("Serve: %v", err)
		}
		for _, s := range b.pool.Servers {
			if n := s.State.Conns.Load(); n != 0 {
				tb.Errorf("server %s holds %d slots after the end", s.Config.Name, n)
			}
		}
	})
	return b
}

// short is a QUIC packet with a short header, and the ID of a server; text follows.
func short(id string, text string) []byte { return append([]byte{0x40}, id+text...) }

// initial is a QUIC packet with a long header and an ID.
func initial(id string) []byte {
	p := []byte{0xc0, 0, 0, 0, 1, byte(len(id))}
	p = append(p, id...)
	return append(p, 4, 's', 'c', 'i', 'd', 0, 0, 0)
}

func (b *bench) client(tb testing.TB) *net.UDPConn {
	tb.Helper()
	at := b.addr
	if at.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port())
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func ask(tb testing.TB, c *net.UDPConn, datagram []byte) string {
	tb.Helper()
	if _, err := c.Write(datagram); err != nil {
		tb.Fatal(err)
	}
	return answer(tb, c)
}

func answer(tb testing.TB, c *net.UDPConn) string {
	tb.Helper()
	_ = c.SetReadDeadline(time.Now().Add(wait))
	buffer := make([]byte, 1<<16)
	n, err := c.Read(buffer)
	if err != nil {
		tb.Fatal(err)
	}
	return string(buffer[:n])
}

// engines runs a test with every engine that the system has.
func engines(t *testing.T, f func(t *testing.T, portable bool)) {
	t.Helper()
	for _, portable := range []bool{false, true} {
		t.Run(fmt.Sprintf("portable=%v", portable), func(t *testing.T) {
			t.Parallel()
			f(t, portable)
		})
	}
}

func TestIDsGoToTheirOwner(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		b := start(t, options{portable: portable})
		c := b.client(t)
		for _, name := range []string{"a", "b", "c", "b", "a"} {
			if got, want := ask(t, c, short(name, "xyz")), name+string(short(name, "xyz")); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got, want := ask(t, c, initial(name+"0000000")), name+string(initial(name+"0000000")); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
}

// What the client invented goes by hash, and stays there.
func TestInventedIDsStay(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		b := start(t, options{portable: portable})
		used := map[byte]bool{}
		for range 32 {
			c := b.client(t)
			home := ask(t, c, initial("zzzzzzzz"))[0]
			used[home] = true
			for _, id := range []string{"yyyyyyyy", "xxxxxxxx"} {
				if got := ask(t, c, initial(id))[0]; got != home {
					t.Errorf("went to %c, then to %c", home, got)
				}
			}
		}
		if len(used) < 2 {
			t.Errorf("32 clients all went to %v", used)
		}
	})
}

// A datagram of every size comes out as it went in, both ways.
func TestSizesAreKept(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		b := start(t, options{portable: portable})
		c := b.client(t)
		for _, size := range []int{0, 1, 2, 100, 1199, 1200, 1201, 1452, 9000, 30000} {
			text := string(bytes.Repeat([]byte{'q'}, size))
			if got, want := ask(t, c, short("b", text)), "b"+string(short("b", text)); got != want {
				t.Errorf("size %d: got %d octets, want %d", size, len(got), len(want))
			}
		}
	})
}

// A burst of datagrams of changing sizes comes back in the order in which it was
// sent, whatever the kernel puts together.
func TestOrderIsKept(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, portable bool) {
		b := start(t, options{portable: portable})
		c := b.client(t)
		const burst = 60
		for round := range 20 {
			for i := range burst {
				size := 200
				if i%7 == round%7 {
					size = 100 + i
				}
				text := binary.BigEndian.AppendUint32(nil, uint32(i))
				text = append(text, make([]byte, size)...)
				if _, err := c.Write(short("c", string(text))); err != nil {
					t.Fatal(err)
				}
			}
			for i := range burst {
				if got := answer(t, c); binary.BigEndian.Uint32([]byte(got)[3:]) != uint32(i) {
					t.Fatalf("round %d: datagram %d came as number %d", round, binary.BigEndian.Uint32([]byte(got)[3:]), i)
				}
			}
		}
	})
}

// TestWorkersAreForProcessors holds that event loops, which add to GOMAXPROCS while
// they run, are no reason for more workers.
func TestWorkersAreForProcessors(t *testing.T) { //nolint:paralleltest // it changes GOMAXPROCS
	before := engine.Workers()
	was := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(2*was + 2)
	defer runtime.GOMAXPROCS(was)
	if n := engine.Workers(); n != before {
		t.Errorf("%d workers before loops run, %d after", before, n)
	}
}
