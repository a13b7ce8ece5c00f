package l7

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"github.com/mintmark/mintmark/internal/route"
)

// A tunnel carries another protocol than HTTP, WebSocket above all, inside of a
// connection (Upgrade, RFC 9110, 7.8) or of a stream (extended CONNECT, RFC
// 8441). Each side has one of the two, in all four combinations: what the
// handshake says is translated, what follows are bytes.
//
// The request that opens it is routed like any other. It is never sent twice.

// protocolHeader is where net/http keeps the :protocol of extended CONNECT.
const protocolHeader = ":protocol"

// upgradeOf returns the protocol that a request asks for, "" for one that is
// no tunnel. Protocols that would be HTTP again are none: whoever let them
// through would let requests through that nobody decides about.
func upgradeOf(r *http.Request) string {
	if r.Method == http.MethodConnect {
		return r.Header.Get(protocolHeader)
	}
	if r.ProtoMajor != 1 || !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "Upgrade") {
		return ""
	}
	protocol := r.Header.Get("Upgrade")
	name, _, _ := strings.Cut(strings.ToLower(protocol), "/")
	switch name {
	case "h2c", "h2", "http", "tls", "":
		return ""
	}
	if !httpguts.ValidHeaderFieldValue(protocol) || strings.ContainsAny(protocol, ", ") {
		return "" // several to choose from: the server may answer in HTTP
	}
	return protocol
}

// A remote is the server's side of a tunnel that is open.
type remote struct {
	io.ReadWriteCloser
	closeWrite func() error
	header     http.Header // of the response
}

// tunnel opens a tunnel to a server and carries bytes until both sides have
// ended theirs.
func (x *exchange) tunnel(protocol string) {
	out := x.tunnelRequest(protocol)
	var to *remote
	res, cause, err := x.attempts(out, func(r *http.Request, s *route.Server) (*http.Response, error) {
		var res *http.Response
		var err error
		to, res, err = x.open(r, s, protocol)
		return res, err
	})
	by := x.decision.RoutedBy
	if cause != "" {
		by = route.ByRefused
	}
	x.poolMetrics.Decided(0, x.decision.Field, by)
	switch {
	case cause != "":
		x.refuse(cause)
	case err != nil:
		x.failed(nil, out, err)
	case to == nil:
		defer res.Body.Close()
		x.pass(res)
	default:
		defer to.Close()
		x.carry(to, protocol)
	}
}

// tunnelRequest makes the request that goes to the server, in the form of
// HTTP/1.1.
func (x *exchange) tunnelRequest(protocol string) *http.Request {
	in := x.request
	out := in.Clone(in.Context())
	out.Body, out.ContentLength, out.TransferEncoding = nil, 0, nil
	out.Method = http.MethodGet
	if in.Method != http.MethodConnect {
		out.Method = in.Method
	}
	removeHopByHop(out.Header)
	delete(out.Header, protocolHeader)
	x.setForwarded(out.Header)
	out.Header.Set("Connection", "Upgrade")
	out.Header.Set("Upgrade", protocol)
	if in.Method == http.MethodConnect && strings.EqualFold(protocol, "websocket") && out.Header.Get("Sec-Websocket-Key") == "" {
		// RFC 8441, 5.1: a stream needs no key, a connection does.
		var key [16]byte
		_, _ = rand.Read(key[:]) // never fails, by its documentation
		out.Header.Set("Sec-Websocket-Key", base64.StdEncoding.EncodeToString(key[:]))
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header.Set("User-Agent", "") // none, instead of net/http's own
	}
	return out
}

// removeHopByHop removes what ends here (RFC 9110, 7.6.1).
func removeHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{
		"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
	} {
		h.Del(name)
	}
}

// open asks s for a tunnel. The remote is nil when the server answers with
// something else.
func (x *exchange) open(r *http.Request, s *route.Server, protocol string) (*remote, *http.Response, error) {
	u := x.proxy.upstreamOf(s)
	r.URL.Scheme, r.URL.Host = u.scheme(), string(s.Config.Name)
	if u.config.HTTP2 {
		to, res, err := u.openStream(r, protocol)
		if !errors.Is(err, errNoExtendedConnect) || u.config.TLS == nil {
			return to, res, err
		}
		// A server of TLS also speaks HTTP/1.1.
	}
	res, err := u.upgrades.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		return nil, res, err
	}
	body, ok := res.Body.(io.ReadWriteCloser)
	if !ok || !strings.EqualFold(res.Header.Get("Upgrade"), protocol) {
		_ = res.Body.Close() // what is said on it is of no use
		return nil, nil, errWrongProtocol
	}
	to := &remote{ReadWriteCloser: body, header: res.Header, closeWrite: func() error { return nil }}
	if h, ok := body.(interface{ CloseWrite() error }); ok {
		to.closeWrite = h.CloseWrite
	}
	return to, res, nil
}

var errWrongProtocol = errors.New("the server switched to another protocol than it was asked for")

// pass sends the response of a server that opened no tunnel.
func (x *exchange) pass(res *http.Response) {
	removeHopByHop(res.Header)
	w := &responseWriter{ResponseWriter: x.writer, x: x}
	h := w.Header()
	maps.Copy(h, res.Header)
	w.WriteHeader(res.StatusCode)
	buf := x.proxy.copies.Get()
	defer x.proxy.copies.Put(buf)
	if err := flushingCopy(w, res.Body, buf); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func flushingCopy(w http.ResponseWriter, r io.Reader, buf []byte) error {
	rc := http.NewResponseController(w)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := rc.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// carry answers the client and copies in both directions.
func (x *exchange) carry(to *remote, protocol string) {
	header := to.header.Clone()
	removeHopByHop(header)
	if x.request.Method == http.MethodConnect {
		header.Del("Sec-Websocket-Accept") // it answers a key, and there was none
		x.carryStream(to, header)
		return
	}
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", protocol)
	x.carryConn(to, header)
}

// carryStream is carry for a client with extended CONNECT.
func (x *exchange) carryStream(to *remote, header http.Header) {
	w := &responseWriter{ResponseWriter: x.writer, x: x}
	maps.Copy(w.Header(), header)
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(x.writer)
	if rc.Flush() != nil {
		return
	}
	x.both(to,
		func(buf []byte) error { return x.copyTo(to, x.request.Body, buf) },
		func(buf []byte) error { return flushingCopy(w, to, buf) },
		func() { _ = rc.SetReadDeadline(past()) })
}

// carryConn is carry for a client with Upgrade.
func (x *exchange) carryConn(to *remote, header http.Header) {
	// The idle watch sets deadlines through net/http, which knows nothing of
	// the connection any more.
	nc, rw, err := http.NewResponseController(x.writer).Hijack()
	if err != nil {
		x.refuse(CauseClientClosed)
		return
	}
	defer nc.Close()
	x.idle.hijacked(nc)
	// A deadline of the request must not end the tunnel.
	_ = nc.SetDeadline(zeroTime())
	x.status = http.StatusSwitchingProtocols
	if writeSwitch(rw.Writer, header) != nil {
		return
	}
	// What came with the request stands in the reader.
	x.both(to,
		func(buf []byte) error { return x.copyTo(to, rw.Reader, buf) },
		func(buf []byte) error {
			err := x.copyTo(&countingWriter{nc, x}, to, buf)
			if h, ok := nc.(interface{ CloseWrite() error }); ok && err == nil {
				err = h.CloseWrite()
			}
			return err
		},
		func() { _ = nc.SetDeadline(past()) })
}

// writeSwitch writes the header of a 101 response.
func writeSwitch(w *bufio.Writer, header http.Header) error {
	if _, err := w.WriteString("HTTP/1.1 101 Switching Protocols\r\n"); err != nil {
		return err
	}
	if err := header.Write(w); err != nil {
		return err
	}
	if _, err := w.WriteString("\r\n"); err != nil {
		return err
	}
	return w.Flush()
}

// both runs the two directions until both have ended, or one has failed or the
// request is cancelled; then unblock makes the client's side return.
func (x *exchange) both(to *remote, up, down func(buf []byte) error, unblock func()) {
	ctx := x.request.Context()
	end := sync.OnceFunc(func() {
		_ = to.Close()
		unblock()
	})
	stop := context.AfterFunc(ctx, end)
	defer stop()
	run := func(copying func([]byte) error) {
		buf := x.proxy.copies.Get()
		defer x.proxy.copies.Put(buf)
		if copying(buf) != nil {
			end()
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		run(func(buf []byte) error {
			if err := up(buf); err != nil {
				return err
			}
			return to.closeWrite()
		})
	})
	run(down)
	// A server that has ended its side of a tunnel has nothing left to hear:
	// WebSocket and its like end both at once.
	end()
	wg.Wait()
	switch {
	case x.ended(errShutdown):
		x.cause = CauseShutdown
	case x.ended(errIdle):
		x.cause = CauseIdle
	}
}

// copyTo copies and says that bytes move.
func (x *exchange) copyTo(w io.Writer, r io.Reader, buf []byte) error {
	for {
		n, err := r.Read(buf)
		if n > 0 {
			x.idle.touch()
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			x.idle.touch()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// A countingWriter counts what goes to the client.
type countingWriter struct {
	net.Conn
	x *exchange
}

// Write implements io.Writer.
func (w *countingWriter) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	w.x.sent += int64(n)
	return n, err
}
