package load

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/mintmark/mintmark/internal/tlshello"
	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// What real clients sent to real servers, captured on loopback: a browser that
// resumes with a TLS 1.3 ticket of nginx, and a client that resumes a TLS 1.2
// session by its ID.
var (
	//go:embed testdata/chromium156-tls13-psk-resume.hex
	browserHello string
	//go:embed testdata/openssl-s_client-tls12-sessionid-resume.hex
	sessionHello string
)

// Mark is what the ticket in the browser's hello begins with, in hexadecimal.
const Mark = "5051434c"

// answerSize is how much a server answers a hello with.
const answerSize = 512

// firstFlight is what a TLS 1.3 server that accepts the session in the
// browser's hello sends: it can be followed without any key as far as a real
// one can, and is answerSize long.
func firstFlight(hello []byte) ([]byte, error) {
	var h tlshello.Hello
	if err := new(tlshello.Parser).Parse(hello, &h); err != nil {
		return nil, fmt.Errorf("reading the captured hello: %w", err)
	}
	const keyShare = 36
	flight := hellotest.Record(hellotest.TypeHandshake, hellotest.ServerHello(hellotest.ServerOptions{
		SessionID: h.SessionID, Version: 0x0304, Accept: true, KeyShare: keyShare,
	}))
	flight = append(flight, hellotest.ChangeCipherSpec()...)
	const recordHeader = 5
	rest := make([]byte, answerSize-len(flight)-recordHeader)
	return append(flight, hellotest.Record(hellotest.TypeApplicationData, rest)...), nil
}

func decode(text string) ([]byte, error) {
	return hex.DecodeString(strings.TrimSpace(text))
}
