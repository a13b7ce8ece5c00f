package web

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/mintmark/mintmark/test/lab"
)

// answerLimit bounds how long the answer to a case may take.
const answerLimit = time.Minute

// An outcome is what a client saw of a case.
type outcome struct {
	answers []answer // in the order in which they came
	closed  bool     // the connection, or the stream with an error, before the last
}

// An answer is a response. Those of the balancer itself have no echo.
type answer struct {
	status int
	echo   *echo
}

func newAnswer(status int, header http.Header) (answer, error) {
	a := answer{status: status}
	text := header.Get("X-Echo")
	if text == "" {
		return a, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return a, err
	}
	a.echo = new(echo)
	return a, json.Unmarshal(raw, a.echo)
}

// The corpus: each case is sent as it is, and right behind it, on the same
// connection, a request that nobody can mistake. What may come of it is one
// interpretation, in which everybody agrees, or a refusal:
//
//   - servers see requests of the strictest form only, so that none of them can
//     read anything else in it than the balancer did;
//   - a server that gets a request owns every session ID that anybody could
//     find in it;
//   - each request that a server saw was answered to the client, and nothing
//     else was: the connection is where both ends think it is;
//   - the request behind it is answered as itself, or the connection is closed.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	corpus := readCorpus(t)
	if len(corpus) < 200 {
		t.Errorf("the corpus has %d cases; want at least 200", len(corpus))
	}
	var servers []*recorder
	var lines strings.Builder
	for _, name := range names {
		r := startRecorder(t, name)
		servers = append(servers, r)
		fmt.Fprintf(&lines, "      - {name: %s, address: %q, ids: [{prefix: \"%[1]s-\"}]}\n", name, r.addr)
	}
	addr, admin := lab.FreeAddr(t), lab.FreeAddr(t)
	lab.StartBalancer(t, mintmark, admin, fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners:
  - name: web
    listen: %q
    protocol: http
    ids: [{cookie: sid}, {header: X-Session}, {query: sid}, {json: session, limit: 4KiB}]
    pool: app
pools:
  - name: app
    health: {type: none}
    servers:
%s`, admin, addr, &lines))
	forwarded, refused := 0, 0
	for _, c := range corpus {
		t.Run(c.name, func(t *testing.T) {
			for _, s := range servers {
				s.take()
			}
			send := sendRaw
			if c.raw == "" {
				send = sendFrames
			}
			got, follow, err := send(addr, c)
			if err != nil {
				t.Fatal(err)
			}
			c.check(t, got)
			checkFollow(t, follow)
			checkLedger(t, servers, got, follow)
			if len(got.answers) > 0 && got.answers[0].echo != nil {
				forwarded++
			} else {
				refused++
			}
		})
	}
	t.Logf("%d cases: %d forwarded, %d refused", len(corpus), forwarded, refused)
}

// check compares what the client saw with what may become of the case.
func (c *smuggle) check(t *testing.T, got outcome) {
	t.Helper()
	forwarded := len(got.answers) > 0 && got.answers[0].echo != nil
	if c.want == "forward" && !forwarded || c.want == "refuse" && forwarded {
		t.Errorf("got %+v; want %s", got, c.want)
	}
	if !forwarded {
		if len(got.answers) > 0 && got.answers[0].status < 400 {
			t.Errorf("a refusal with status %d", got.answers[0].status)
		}
		return
	}
	first := got.answers[0].echo
	if c.server != "" && first.Server != c.server {
		t.Errorf("it went to server %s; want %s", first.Server, c.server)
	}
	if c.target != "" && first.Target != c.target {
		t.Errorf("the server saw %q; want %q", first.Target, c.target)
	}
	for _, a := range got.answers {
		if a.echo == nil {
			continue
		}
		for _, owner := range a.echo.Owners {
			if owner != a.echo.Server {
				t.Errorf("server %s got a request in which a reader may find a session of %s: %+v", a.echo.Server, owner, a.echo)
			}
		}
	}
}

// followTarget is what the request behind each case asks for. It has the
// session of server b.
const followTarget = "/follow"

// checkFollow: the request behind a case was answered as itself, if at all.
func checkFollow(t *testing.T, follow *answer) {
	t.Helper()
	if follow == nil {
		return // closed
	}
	if follow.echo == nil || follow.echo.Target != followTarget || follow.echo.Server != "b" || follow.echo.Body != 0 {
		t.Errorf("the request behind it was answered with %d, %+v; want %s by server b", follow.status, follow.echo, followTarget)
	}
}

// checkLedger: what servers saw is what was answered.
func checkLedger(t *testing.T, servers []*recorder, got outcome, follow *answer) {
	t.Helper()
	answered := map[int64]bool{}
	for _, a := range got.answers {
		if a.echo != nil {
			answered[a.echo.Serial] = true
		}
	}
	if follow != nil && follow.echo != nil {
		answered[follow.echo.Serial] = true
	}
	for _, s := range servers {
		complete, faults := s.take()
		for _, fault := range faults {
			t.Error(fault)
		}
		for serial, e := range complete {
			if !answered[serial] {
				t.Errorf("server %s saw a request that nobody was answered: %+v", s.name, e)
			}
		}
	}
}

// sendRaw sends a case with HTTP/1.1.
func sendRaw(addr string, c smuggle) (got outcome, follow *answer, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return got, nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return got, nil, err
	}
	// A balancer that refuses may close before all was sent; what it said can
	// be read all the same.
	_, _ = io.WriteString(conn, c.raw)
	if c.ends {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return got, nil, unlessClosed(err)
		}
	}
	method, _, _ := strings.Cut(strings.TrimLeft(c.raw, "\r\n"), " ")
	in := bufio.NewReader(conn)
	for len(got.answers) < c.responses {
		a, closing, err := readAnswer(in, method)
		if err != nil {
			got.closed = true
			return got, nil, unlessClosed(err)
		}
		got.answers = append(got.answers, a)
		if closing {
			got.closed = true
			return got, nil, nil
		}
	}
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: app.example\r\nCookie: sid=b-1\r\n\r\n", followTarget)
	a, _, err := readAnswer(in, "GET")
	if err != nil {
		return got, nil, unlessClosed(err)
	}
	return got, &a, nil
}

// readAnswer reads a final response, and reports whether it is the last of its
// connection.
func readAnswer(in *bufio.Reader, method string) (answer, bool, error) {
	for {
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return answer{}, false, err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return answer{}, false, err
		}
		if resp.StatusCode < 200 {
			continue
		}
		a, err := newAnswer(resp.StatusCode, resp.Header)
		return a, resp.Close, err
	}
}

// unlessClosed returns err if it says more than that the connection is closed.
func unlessClosed(err error) error {
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return fmt.Errorf("no answer within %v: %w", answerLimit, err)
	}
	return nil
}

// dialFrames opens a connection of HTTP/2.
func dialFrames(addr string, settings ...http2.Setting) (net.Conn, *framer, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	f := newFramer(conn)
	_, err = io.WriteString(conn, http2.ClientPreface)
	err = errors.Join(err, f.WriteSettings(settings...), conn.SetDeadline(time.Now().Add(answerLimit)))
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, f, nil
}

// settingWindow is the window that streams begin with.
func settingWindow(n uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingInitialWindowSize, Val: n}
}

// sendFrames sends a case with HTTP/2, without a check of anything.
func sendFrames(addr string, c smuggle) (got outcome, follow *answer, err error) {
	conn, f, err := dialFrames(addr)
	if err != nil {
		return got, nil, err
	}
	defer conn.Close()
	f.headers(1, c.fields, len(c.data) == 0 && len(c.trailers) == 0)
	for i, d := range c.data {
		_ = f.WriteData(1, i == len(c.data)-1 && len(c.trailers) == 0, []byte(d)) // it may be closed already
	}
	if len(c.trailers) > 0 {
		f.headers(1, c.trailers, true)
	}
	a, ok, err := f.answer(1)
	if err != nil {
		return outcome{closed: true}, nil, unlessClosed(err)
	}
	if ok {
		got.answers = append(got.answers, a)
	} else {
		got.closed = true
	}
	f.headers(3, []field{
		{":method", "GET"},
		{":scheme", "http"},
		{":authority", "app.example"},
		{":path", followTarget},
		{"cookie", "sid=b-1"},
	}, true)
	a, ok, err = f.answer(3)
	if err != nil {
		return got, nil, unlessClosed(err)
	}
	if !ok {
		return got, nil, errors.New("the stream behind it was reset")
	}
	return got, &a, nil
}

// A framer writes what it is told to, right or wrong.
type framer struct {
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
}

func newFramer(conn net.Conn) *framer {
	f := &framer{Framer: http2.NewFramer(conn, conn)}
	f.AllowIllegalWrites = true
	f.encoder = hpack.NewEncoder(&f.block)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return f
}

// maxFragment is how much of a field block goes into one frame.
const maxFragment = 16 << 10

func (f *framer) headers(stream uint32, fields []field, end bool) {
	f.block.Reset()
	for _, x := range fields {
		_ = f.encoder.WriteField(hpack.HeaderField{Name: x.name, Value: x.value}) // into memory
	}
	block := f.block.Bytes()
	n := min(len(block), maxFragment)
	// The connection may be closed already, which reading tells.
	_ = f.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: block[:n], EndStream: end, EndHeaders: n == len(block),
	})
	for block = block[n:]; len(block) > 0; block = block[n:] {
		n = min(len(block), maxFragment)
		_ = f.WriteContinuation(stream, n == len(block), block[:n])
	}
}

// answer reads the response on a stream, and false if the stream was reset.
func (f *framer) answer(stream uint32) (answer, bool, error) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return answer{}, false, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck() // see headers
			}
		case *http2.GoAwayFrame:
			return answer{}, false, io.EOF
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return answer{}, false, nil
			}
		case *http2.MetaHeadersFrame:
			status := frame.PseudoValue("status")
			if frame.StreamID != stream || strings.HasPrefix(status, "1") {
				continue
			}
			header := http.Header{}
			for _, x := range frame.RegularFields() {
				header.Add(x.Name, x.Value)
			}
			n := 0
			_, _ = fmt.Sscan(status, &n)
			a, err := newAnswer(n, header)
			return a, true, err
		}
	}
}

// The recorder of these tests must be as strict as it says: what it lets
// through, the corpus proves nothing about.
func TestRecorderIsStrict(t *testing.T) {
	t.Parallel()
	const head = "POST / HTTP/1.1\r\nHost: x\r\n"
	for _, bad := range []string{
		"GET /  HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x y\r\n\r\n",
		head + "A : b\r\n\r\n",
		head + " A: b\r\n\r\n",
		head + "A: b\r\n c\r\n\r\n",
		head + "A: b\rc\r\n\r\n",
		head + "A: b\x00\r\n\r\n",
		head + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
		head + "Content-Length: +1\r\n\r\nx",
		head + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\n0;a=b\r\n\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\n0\r\nCookie: sid=b-1\r\n\r\n",
		head + "Upgrade: websocket, h2c\r\n\r\n",
		head + "Upgrade: TLS/1.0\r\n\r\n",
	} {
		if m, err := readStrictly(bufio.NewReader(strings.NewReader(bad))); err == nil {
			t.Errorf("%q was read as %+v", bad, m)
		}
	}
	m, err := readStrictly(bufio.NewReader(strings.NewReader(head +
		"Cookie: sid=a-1; sid=b-1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")))
	if err != nil || string(m.body) != "ok" || m.host != "x" {
		t.Fatalf("a good request: %+v, %v", m, err)
	}
	if owners := m.owners(); !slices.Equal(owners, []string{"a", "b"}) {
		t.Errorf("its owners are %v; want a and b", owners)
	}
}
