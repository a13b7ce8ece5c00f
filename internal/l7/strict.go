package l7

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/mintmark/mintmark/internal/route"
)

// What net/http lets through, and two readers could take in two ways. Each of
// these is a case of test/web/testdata/smuggling.

// methodPreface is the method that the preface of HTTP/2 looks like to
// HTTP/1.1 (RFC 9113, 3.4).
const methodPreface = "PRI"

// ambiguous returns why a request is refused whose target, host or length
// could be read in another way than it was.
func (x *exchange) ambiguous() route.Cause {
	r := x.request
	switch {
	case r.Method == http.MethodConnect && !isTunnel(r.Header.Get(":protocol")), r.Method == methodPreface:
		// A forward proxy connects to where the client says. This is none.
		return CauseMethod
	case r.URL.Opaque != "", r.URL.Path == "*" && r.Method != http.MethodOptions:
		return CauseBadPath
	case r.URL.Path != "" && r.URL.Path[0] != '/' && r.URL.Path != "*":
		return CauseBadPath
	case !isHost(r.Host):
		return CauseBadHost
	case r.ProtoMajor == 2 && !x.lengthHolds():
		return CauseBadBody
	case x.settings.byHeader && x.twinOfID():
		return CauseConflictingIDs
	}
	return ""
}

// isTunnel reports whether s is one protocol (RFC 9110, 7.8) that is not HTTP
// again: whoever let that through would let requests through that nobody
// decides about.
func isTunnel(s string) bool {
	name, version, versioned := strings.Cut(strings.ToLower(s), "/")
	switch name {
	case "h2c", "h2", "h3", "http", "tls":
		return false
	}
	return httpguts.ValidHeaderFieldName(name) && (!versioned || httpguts.ValidHeaderFieldName(version))
}

// isHost reports whether s has nothing but what a host and port are made of
// (RFC 9110, 4.2.1 with RFC 3986, 3.2). net/http cuts others at a slash or
// space when it sends them, so a server would read another host.
func isHost(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case strings.IndexByte("-._~!$&'()*+,;=%:[]", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// lengthHolds reports whether the length that an HTTP/2 request states is one,
// and the one that net/http has taken (RFC 9113, 8.1.1).
func (x *exchange) lengthHolds() bool {
	r := x.request
	stated := r.Header["Content-Length"]
	if len(stated) == 0 {
		return true
	}
	n, err := strconv.ParseUint(stated[0], 10, 63)
	if len(stated) > 1 || err != nil || int64(n) != r.ContentLength {
		return false
	}
	if n > 0 || r.Body == nil || r.Body == http.NoBody {
		return true
	}
	// The server would have the whole request before the client has ended it.
	read, err := r.Body.Read(make([]byte, 1))
	return read == 0 && errors.Is(err, io.EOF)
}

// twinOfID reports whether a header would be one that has the ID if its
// underscores were hyphens, as they are to servers that make variables of
// headers (RFC 3875, 4.1.18).
func (x *exchange) twinOfID() bool {
	for name := range x.request.Header {
		if strings.IndexByte(name, '_') >= 0 && x.carriesID(strings.ReplaceAll(name, "_", "-")) {
			return true
		}
	}
	return false
}

// cleanTrailer removes from the trailer of the request what must not be taken
// for its header by a server that merges the two (RFC 9110, 6.5.1): what says
// how long it is, whom it is for, who sent it and whose it is.
func (x *exchange) cleanTrailer() {
	for name := range x.request.Trailer {
		if x.carriesID(name) || !mayTrail(name) {
			delete(x.request.Trailer, name)
		}
	}
}

func mayTrail(name string) bool {
	switch name {
	case "Authorization", "Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type",
		"Cookie", "Expect", "Forwarded", "Host", "Keep-Alive", "Max-Forwards", "Origin", "Pragma", "Proxy-Authorization",
		"Proxy-Connection", "Range", "Referer", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Via", "X-Real-Ip":
		return false
	}
	return !strings.HasPrefix(name, "X-Forwarded-") && !strings.HasPrefix(name, "If-")
}

// malformed reports whether an error of reading a body says that it is no
// body, and not that the client has gone or was too slow.
func malformed(err error) bool {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, http.ErrBodyReadAfterClose) {
		return false
	}
	_, network := errors.AsType[net.Error](err)
	return !network
}
