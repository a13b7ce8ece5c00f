package web

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A recorder is a server that takes nothing but the strictest HTTP/1.1: what
// it takes, every server takes in the same way. It tells the client what it
// read in the header X-Echo, and keeps what it could not take.
type recorder struct {
	name string
	addr string

	mu       sync.Mutex
	complete map[int64]echo
	faults   []string
}

// recorded is the body of each response. h2spec passes over some cases when it
// is shorter than five bytes.
const recorded = "recorded"

// serials number the requests of all recorders.
var serials atomic.Int64

// An echo is what a recorder read.
type echo struct {
	Serial int64  `json:"serial"`
	Server string `json:"server"`
	Method string `json:"method"`
	Target string `json:"target"`
	Host   string `json:"host"`
	Body   int    `json:"body"`
	// Owners are those of all session IDs that any reader could find at the
	// first place where there is one with an owner.
	Owners []string `json:"owners"`
}

func startRecorder(t *testing.T, name string) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{name: name, addr: ln.Addr().String(), complete: make(map[int64]echo)}
	var conns sync.WaitGroup
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { r.serve(c) })
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return r
}

// take returns what was recorded since the last call.
func (r *recorder) take() (complete map[int64]echo, faults []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	complete, faults = r.complete, r.faults
	r.complete, r.faults = make(map[int64]echo), nil
	return complete, faults
}

func (r *recorder) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		m, err := readStrictly(in)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
			return // the balancer ended it, perhaps in the middle, which nobody can mistake
		}
		if _, ok := errors.AsType[net.Error](err); ok {
			return
		}
		if err != nil {
			r.mu.Lock()
			r.faults = append(r.faults, fmt.Sprintf("server %s: %v", r.name, err))
			r.mu.Unlock()
			return
		}
		e := echo{
			Serial: serials.Add(1), Server: r.name, Method: m.method, Target: m.target, Host: m.host,
			Body: len(m.body), Owners: m.owners(),
		}
		r.mu.Lock()
		r.complete[e.Serial] = e
		r.mu.Unlock()
		text, _ := json.Marshal(e) // of strings and numbers
		body := recorded
		if m.method == "HEAD" {
			body = ""
		}
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Echo: %s\r\nContent-Length: %d\r\n\r\n%s",
			base64.StdEncoding.EncodeToString(text), len(recorded), body); err != nil {
			return
		}
	}
}

// A message is a request that was read strictly.
type message struct {
	method, target, host string
	fields               []field
	body                 []byte
}

var (
	startLine  = regexp.MustCompile(`^([!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+) ((?:/[!-~]*)|\*) HTTP/1\.1$`)
	fieldName  = regexp.MustCompile(`^[!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+$`)
	hostValue  = regexp.MustCompile(`^[A-Za-z0-9._~!$&'()*+,;=%\[\]:-]*$`)
	digits     = regexp.MustCompile(`^[0-9]{1,18}$`)
	chunkSizes = regexp.MustCompile(`^[0-9a-f]{1,15}$`)
)

// strictLine reads a line that ends with CR LF, and has no other of either.
func strictLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\n\x00") {
		return "", fmt.Errorf("the line %q has a bare CR, LF or NUL", line)
	}
	return text, nil
}

func strictFields(in *bufio.Reader) ([]field, error) {
	var all []field
	for {
		line, err := strictLine(in)
		if err != nil || line == "" {
			return all, err
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !fieldName.MatchString(name) || hasControls(value) {
			return nil, fmt.Errorf("the field line %q is not one", line)
		}
		all = append(all, field{strings.ToLower(name), strings.Trim(value, " \t")})
	}
}

// hasControls reports whether a value has what no value has (RFC 9110, 5.5).
func hasControls(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// readStrictly reads a request (RFC 9112), and takes no liberty that the RFC
// leaves to a recipient.
func readStrictly(in *bufio.Reader) (*message, error) {
	line, err := strictLine(in)
	if err != nil {
		return nil, err
	}
	start := startLine.FindStringSubmatch(line)
	if start == nil {
		return nil, fmt.Errorf("the request line %q is not one", line)
	}
	m := &message{method: start[1], target: start[2]}
	if m.fields, err = strictFields(in); err != nil {
		return nil, err
	}
	hosts, lengths, codings := m.all("host"), m.all("content-length"), m.all("transfer-encoding")
	switch {
	case len(hosts) != 1 || !hostValue.MatchString(hosts[0]):
		return nil, fmt.Errorf("the Host is %q", hosts)
	case slices.ContainsFunc(m.all("upgrade"), isHTTP):
		return nil, fmt.Errorf("the protocol could become %q, in which nobody decides", m.all("upgrade"))
	case len(lengths)+len(codings) > 1:
		return nil, fmt.Errorf("the lengths are %q and the codings %q", lengths, codings)
	}
	m.host = hosts[0]
	switch {
	case len(lengths) == 1:
		err = m.readLength(in, lengths[0])
	case len(codings) == 1:
		err = m.readChunks(in, codings[0])
	}
	return m, err
}

// isHTTP reports whether a server that is offered to upgrade could choose HTTP.
func isHTTP(upgrade string) bool {
	for protocol := range strings.SplitSeq(strings.ToLower(upgrade), ",") {
		name, _, _ := strings.Cut(strings.Trim(protocol, " \t"), "/")
		if slices.Contains([]string{"h2c", "h2", "h3", "http", "tls"}, name) {
			return true
		}
	}
	return false
}

func (m *message) all(name string) (values []string) {
	for _, f := range m.fields {
		if f.name == name {
			values = append(values, f.value)
		}
	}
	return values
}

func (m *message) readLength(in *bufio.Reader, text string) error {
	if !digits.MatchString(text) {
		return fmt.Errorf("the length is %q", text)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	m.body = make([]byte, n)
	_, err = io.ReadFull(in, m.body)
	return err
}

func (m *message) readChunks(in *bufio.Reader, coding string) error {
	if coding != "chunked" {
		return fmt.Errorf("the coding is %q", coding)
	}
	for {
		line, err := strictLine(in)
		if err != nil {
			return err
		}
		if !chunkSizes.MatchString(line) {
			return fmt.Errorf("the size of a chunk is %q", line)
		}
		size, err := strconv.ParseInt(line, 16, 64)
		if err != nil {
			return err
		}
		if size == 0 {
			trailers, err := strictFields(in)
			for _, f := range trailers {
				switch f.name {
				case "content-length", "transfer-encoding", "host", "cookie", "x-session":
					return fmt.Errorf("the trailer has the field %q", f.name)
				}
			}
			return err
		}
		chunk := make([]byte, size)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return err
		}
		m.body = append(m.body, chunk...)
		if end, err := strictLine(in); err != nil || end != "" {
			return fmt.Errorf("behind a chunk stands %q, %w", end, err)
		}
	}
}

// owners returns the owners of all the session IDs that some reader could find
// at the first place that has any, in the order of the listener's ids. The
// readers are those that there are: RFC 6265 for cookies, with or without
// quotes; CGI and its heirs, to whom "-" and "_" are one in the name of a
// field; forms, whose separator is "&", to some also ";"; and for JSON those
// that take the first of two keys, or the last, or do not look at what comes
// behind.
func (m *message) owners() []string {
	var cookies, headers, query, body []string
	for _, f := range m.fields {
		switch f.name {
		case "cookie":
			for pair := range strings.SplitSeq(f.value, ";") {
				name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
				if strings.Trim(name, " \t") == "sid" {
					cookies = append(cookies, strings.Trim(value, " \t\""))
				}
			}
		case "x-session", "x_session":
			headers = append(headers, f.value)
		}
	}
	_, raw, _ := strings.Cut(m.target, "?")
	for _, separators := range []string{"&", "&;"} {
		for _, pair := range strings.FieldsFunc(raw, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
			name, value, _ := strings.Cut(pair, "=")
			if unescaped, err := url.QueryUnescape(name); err == nil && unescaped == "sid" {
				if text, err := url.QueryUnescape(value); err == nil {
					value = text
				}
				query = append(query, value)
			}
		}
	}
	if strings.HasPrefix(strings.TrimSpace(string(m.body)), "{") {
		for _, found := range jsonMember.FindAllStringSubmatch(string(m.body), -1) {
			body = append(body, found[1])
		}
	}
	for _, values := range [][]string{cookies, headers, query, body} {
		set := map[string]bool{}
		for _, v := range values {
			if owner, _, ok := strings.Cut(v, "-"); ok && slices.Contains(names, owner) {
				set[owner] = true
			}
		}
		if len(set) > 0 {
			return slices.Sorted(maps.Keys(set))
		}
	}
	return nil
}

// jsonMember finds the member in a body, at any depth: the cases have it at
// the top level only.
var jsonMember = regexp.MustCompile(`"session"\s*:\s*"([^"]*)"`)
