package dtlsrec

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestProbeIsAClientHello(t *testing.T) {
	p := NewProbe()
	datagram, ok := bytes.CutPrefix(p.Append([]byte("kept")), []byte("kept"))
	var r Record
	if err := Parse(datagram, 0, &r); err != nil || !ok {
		t.Fatal(err)
	}
	if r.Type != Handshake || r.Version != Version10 || r.Epoch != 0 || r.Sequence != 0 || r.Length != len(datagram) || !r.IsClientHello() {
		t.Fatalf("record is %+v", r)
	}
	_, body, ok := r.handshake()
	if !ok || len(body) != uint24(r.Content[1:]) {
		t.Fatalf("the hello has %d octets; its header says %d", len(body), uint24(r.Content[1:]))
	}
	// A well formed hello: each length covers exactly what is there (RFC 6347, 4.2.1).
	take := func(n int) []byte {
		t.Helper()
		if n > len(body) {
			t.Fatalf("%d octets are wanted, %d are left", n, len(body))
		}
		head := body[:n]
		body = body[n:]
		return head
	}
	if v := binary.BigEndian.Uint16(take(2)); v != Version12 {
		t.Errorf("client_version is %#x", v)
	}
	if !bytes.Equal(take(32), p.random[:]) {
		t.Error("random is not that of the probe")
	}
	if n := take(1)[0]; n != 0 {
		t.Errorf("session_id of %d octets", n)
	}
	if n := take(1)[0]; n != 0 {
		t.Errorf("cookie of %d octets", n)
	}
	if suites := take(int(binary.BigEndian.Uint16(take(2)))); len(suites) == 0 || len(suites)%2 != 0 {
		t.Errorf("cipher suites of %d octets", len(suites))
	}
	if c := take(int(take(1)[0])); !bytes.Equal(c, []byte{0}) {
		t.Errorf("compression methods %x", c)
	}
	body = take(int(binary.BigEndian.Uint16(take(2))))
	seen := map[uint16]bool{}
	for len(body) > 0 {
		kind := binary.BigEndian.Uint16(take(2))
		data := take(int(binary.BigEndian.Uint16(take(2))))
		if seen[kind] {
			t.Errorf("extension %d comes twice", kind)
		}
		seen[kind] = true
		switch kind {
		case 43, 11:
			if int(data[0]) != len(data)-1 {
				t.Errorf("extension %d is %x", kind, data)
			}
		case 10, 13, 51:
			if int(binary.BigEndian.Uint16(data)) != len(data)-2 {
				t.Errorf("extension %d is %x", kind, data)
			}
		}
	}
	// RFC 8446, 9.2: what offers TLS 1.3 has these.
	for _, kind := range []uint16{10, 13, 43, 51} {
		if !seen[kind] {
			t.Errorf("extension %d is missing", kind)
		}
	}
	if q := NewProbe(); q == p {
		t.Error("two probes are alike")
	}
}

func TestIsClientHello(t *testing.T) {
	client, answers := captures(t)
	fragment := func(kind byte, length, offset, size, there int) []byte {
		content := appendUint24([]byte{kind}, length)
		content = appendUint24(append(content, 0, 0), offset)
		content = append(appendUint24(content, size), make([]byte, there)...)
		return build(&Record{Type: Handshake, Version: Version12, Content: content}, 0)
	}
	tests := []struct {
		name     string
		datagram []byte
		want     bool
	}{
		{"real", client["pion-hello"], true},
		{"real, with cookie", client["pion-hello-cookie"], true},
		{"real last flight", client["pion-last-flight"], false},
		{"real data", client["pion-data"], false},
		{"real answer", unhex(t, answers[0].Datagram), false},
		{"first fragment", fragment(clientHello, 100, 0, 40, 40), true},
		{"last fragment", fragment(clientHello, 100, 60, 40, 40), true},
		{"fragment behind the end", fragment(clientHello, 100, 61, 40, 40), false},
		{"fragment longer than its record", fragment(clientHello, 100, 0, 41, 40), false},
		{"another message", fragment(16, 100, 0, 40, 40), false},
		{"half a header", build(&Record{Type: Handshake, Version: Version12, Content: make([]byte, 11)}, 0), false},
		{"encrypted", build(&Record{Type: Handshake, Version: Version12, Epoch: 1, Content: append([]byte{1}, make([]byte, 60)...)}, 0), false},
		{"another type", build(&Record{Type: ApplicationData, Version: Version12, Content: append([]byte{1}, make([]byte, 60)...)}, 0), false},
	}
	for _, tt := range tests {
		var r Record
		if err := Parse(tt.datagram, 6, &r); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := r.IsClientHello(); got != tt.want {
			t.Errorf("%s: got %v; want %v", tt.name, got, tt.want)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	_, answers := captures(t)
	for _, a := range answers {
		whole := unhex(t, a.Datagram)
		if got := ParseAnswer(whole); got.String() != a.Answer {
			t.Errorf("%s: got %v; want %v", a.Name, got, a.Answer)
		}
		for n := range whole {
			if got := ParseAnswer(whole[:n]); got != NoAnswer {
				t.Errorf("%s: %d of %d octets are the answer %v", a.Name, n, len(whole), got)
			}
		}
	}
	message := func(kind byte, body []byte) []byte {
		content := appendUint24([]byte{kind}, len(body))
		content = appendUint24(append(content, 0, 0), 0)
		return append(appendUint24(content, len(body)), body...)
	}
	record := func(kind ContentType, epoch uint16, content []byte) []byte {
		return build(&Record{Type: kind, Version: Version12, Epoch: epoch, Content: content}, 0)
	}
	hello := make([]byte, minHello)
	tests := []struct {
		name     string
		datagram []byte
		want     Answer
	}{
		{"ServerHello", record(Handshake, 0, message(serverHello, hello)), AnswerHello},
		{"ServerHello, too short", record(Handshake, 0, message(serverHello, hello[:minHello-1])), NoAnswer},
		{"HelloVerifyRequest without a cookie", record(Handshake, 0, message(helloVerifyRequest, []byte{0xfe, 0xfd, 0})), AnswerVerify},
		{"HelloVerifyRequest, its cookie cut off", record(Handshake, 0, message(helloVerifyRequest, []byte{0xfe, 0xfd, 2, 1})), NoAnswer},
		{"HelloVerifyRequest, too short", record(Handshake, 0, message(helloVerifyRequest, []byte{0xfe, 0xfd})), NoAnswer},
		{"fatal alert", record(Alert, 0, []byte{2, 40}), AnswerAlert},
		{"warning", record(Alert, 0, []byte{1, 0}), AnswerAlert},
		{"alert of no level", record(Alert, 0, []byte{3, 40}), NoAnswer},
		{"alert, too long", record(Alert, 0, []byte{2, 40, 0}), NoAnswer},
		{"encrypted alert", record(Alert, 1, []byte{2, 40}), NoAnswer},
		{"Certificate", record(Handshake, 0, message(11, hello)), NoAnswer},
		{"the probe itself", NewProbe().Append(nil), NoAnswer},
		{"unified header", []byte{0x20, 1, 2, 3}, NoAnswer},
		{"text", []byte("hello"), NoAnswer},
	}
	for _, tt := range tests {
		if got := ParseAnswer(tt.datagram); got != tt.want {
			t.Errorf("%s: got %v; want %v", tt.name, got, tt.want)
		}
	}
	for a, want := range map[Answer]string{NoAnswer: "none", AnswerVerify: "hello_verify_request", AnswerHello: "server_hello", AnswerAlert: "alert"} {
		if a.String() != want {
			t.Errorf("got %q; want %q", a.String(), want)
		}
	}
}
