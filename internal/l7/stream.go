package l7

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"golang.org/x/net/http2"
)

// errNoExtendedConnect is a server of HTTP/2 that does not know extended
// CONNECT.
var errNoExtendedConnect = errors.New("the server does not take extended CONNECT")

// streams opens streams with extended CONNECT.
type streams struct{ transport *http2.Transport }

func (s *streams) close() { s.transport.CloseIdleConnections() }

func (u *upstream) newStreams() *streams {
	return &streams{&http2.Transport{
		AllowHTTP:          true,
		DisableCompression: true,
		IdleConnTimeout:    upstreamIdle,
		MaxHeaderListSize:  maxResponseHeader,
		DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
			if u.config.TLS == nil {
				return u.dial(ctx, network, address)
			}
			c, err := u.dialALPN(ctx, network, address, true)
			if err != nil {
				return nil, err
			}
			if tc, ok := c.(*tls.Conn); ok && tc.ConnectionState().NegotiatedProtocol != "h2" {
				_ = c.Close() // it cannot be used for this
				return nil, errNoExtendedConnect
			}
			return c, nil
		},
	}}
}

// openStream asks for a tunnel with extended CONNECT; r is the request in the
// form of HTTP/1.1.
func (u *upstream) openStream(r *http.Request, protocol string) (*remote, *http.Response, error) {
	read, write := io.Pipe()
	out := r.Clone(r.Context())
	out.Method, out.Body, out.ContentLength = http.MethodConnect, read, -1
	removeHopByHop(out.Header)
	out.Header.Del("Sec-Websocket-Key")
	out.Header[protocolHeader] = []string{protocol}
	res, err := u.streams.transport.RoundTrip(out)
	if err != nil {
		_ = write.Close() // nobody reads it
		if strings.Contains(err.Error(), "extended connect not supported") {
			err = errNoExtendedConnect
		}
		return nil, nil, err
	}
	if res.StatusCode != http.StatusOK {
		_ = write.Close() // nobody reads it
		return nil, res, nil
	}
	if key := r.Header.Get("Sec-Websocket-Key"); key != "" {
		res.Header.Set("Sec-Websocket-Accept", acceptKey(key))
	}
	return &remote{
		ReadWriteCloser: &stream{body: res.Body, pipe: write},
		closeWrite:      write.Close,
		header:          res.Header,
	}, res, nil
}

// A stream is the server's side of a tunnel in a stream.
type stream struct {
	body io.ReadCloser
	pipe *io.PipeWriter
}

// Read implements io.Reader.
func (s *stream) Read(b []byte) (int, error) { return s.body.Read(b) }

// Write implements io.Writer.
func (s *stream) Write(b []byte) (int, error) { return s.pipe.Write(b) }

// Close implements io.Closer.
func (s *stream) Close() error {
	_ = s.pipe.CloseWithError(net.ErrClosed) // it always works
	return s.body.Close()
}
