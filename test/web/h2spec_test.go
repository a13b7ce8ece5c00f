package web

import (
	"context"
	"encoding/xml"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// deviations are the cases of h2spec in which Go's HTTP/2 server does other
// than it asks, and why none of them can do harm: in each, the request is
// answered with an error or the connection is closed, and no server sees it.
// TestDeviationsAreHarmless holds that. Four are all there may be.
var deviations = map[string]string{
	"3.5 Sends invalid connection preface": "what is no preface is HTTP/1.1, because a cleartext listener has both, " +
		"and is answered with 400 and closed",
	"6.5.3 Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE": "a setting that is there twice in one frame closes the connection",
	"8.1.2.2 Sends a HEADERS frame that contains the connection-specific header field": "it is answered with 400, " +
		"as RFC 9113, 8.1.1 allows, instead of a reset",
	`8.1.2.2 Sends a HEADERS frame that contains the TE header field with any value other than "trailers"`: "likewise",
}

const maxDeviations = 4

// h2specLimit bounds how long all cases may take. One in which what is expected
// does not come takes five seconds; Go closes a connection a second after the
// GOAWAY.
const h2specLimit = 3 * time.Minute

// A junitReport is what of h2spec's report is needed.
type junitReport struct {
	Suites []struct {
		Package string `xml:"package,attr"`
		Cases   []struct {
			Package string    `xml:"package,attr"`
			Name    string    `xml:"classname,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct{} `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// h2spec, strict, against a listener with a server behind it: every case but
// the deviations.
func TestH2Spec(t *testing.T) {
	t.Parallel()
	if len(deviations) > maxDeviations {
		t.Errorf("there are %d deviations; want at most %d", len(deviations), maxDeviations)
	}
	addr, _ := startSpecFleet(t)
	dir := t.TempDir()
	tool := filepath.Join(dir, "h2spec")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "../../tools/h2spec", "-o", tool, "github.com/summerwind/h2spec/cmd/h2spec")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building h2spec: %v\n%s", err, out)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(dir, "report.xml")
	ctx, cancel := context.WithTimeout(t.Context(), h2specLimit)
	defer cancel()
	// Its status says whether all cases passed, which the report says better.
	out, runErr := exec.CommandContext(ctx, tool, "-h", host, "-p", port, "--strict", "-o", "5", "-j", report).CombinedOutput()
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("h2spec made no report: %v, %v\n%s", runErr, err, out)
	}
	var r junitReport
	if err := xml.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	passed := 0
	var failed []string
	for _, s := range r.Suites {
		for _, c := range s.Cases {
			_, section, _ := strings.Cut(c.Package, "/")
			name := section + " " + c.Name
			switch {
			case c.Skipped != nil:
				t.Errorf("%s was skipped", name)
			case c.Failure == nil && c.Error == nil:
				passed++
			default:
				failed = append(failed, name)
				if deviations[name] == "" {
					t.Errorf("%s failed:\n%s", name, excerpt(string(out), c.Name))
				}
			}
		}
	}
	if total := passed + len(failed); total < 140 {
		t.Errorf("h2spec ran %d cases; want all 146\n%s", total, out)
	}
	for name := range deviations {
		if !slices.Contains(failed, name) {
			t.Errorf("%s passed: remove it from the deviations", name)
		}
	}
	t.Logf("h2spec: %d passed, %d deviations", passed, len(failed))
}

// excerpt returns what h2spec says of a case at its end.
func excerpt(out, name string) string {
	_, failures, _ := strings.Cut(out, "Failures:")
	_, rest, _ := strings.Cut(failures, name)
	lines := strings.SplitN(rest, "\n", 8)
	return strings.Join(lines[:min(len(lines), 7)], "\n")
}

// startSpecFleet runs a balancer with one strict server, and returns its
// address.
func startSpecFleet(t *testing.T) (string, *recorder) {
	t.Helper()
	server := startRecorder(t, "a")
	addr, admin := lab.FreeAddr(t), lab.FreeAddr(t)
	lab.StartBalancer(t, mintmark, admin, fmt.Sprintf(`
version: 1
admin: {listen: %q}
listeners: [{name: web, listen: %q, protocol: http, pool: app}]
pools:
  - {name: app, health: {type: none}, servers: [{name: a, address: %q}]}
`, admin, addr, server.addr))
	return addr, server
}

// What h2spec finds in Go's HTTP/2 server never reaches a server behind the
// balancer: it is refused, or the connection is closed.
func TestDeviationsAreHarmless(t *testing.T) {
	t.Parallel()
	addr, server := startSpecFleet(t)
	plain := []field{{":method", "GET"}, {":scheme", "http"}, {":authority", "app.example"}, {":path", "/"}}
	for name, send := range map[string]func() (outcome, error){
		"an invalid preface": func() (outcome, error) {
			got, _, err := sendRaw(addr, smuggle{raw: "INVALID CONNECTION PREFACE\r\n\r\n", responses: 1})
			return got, err
		},
		"a setting twice": func() (outcome, error) {
			return sendSettingsTwice(addr)
		},
		"a connection-specific field": func() (outcome, error) {
			got, _, err := sendFrames(addr, smuggle{fields: append(slices.Clone(plain), field{"connection", "keep-alive"})})
			return got, err
		},
		"another TE": func() (outcome, error) {
			got, _, err := sendFrames(addr, smuggle{fields: append(slices.Clone(plain), field{"te", "trailers, deflate"})})
			return got, err
		},
	} {
		got, err := send()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !got.closed && (len(got.answers) != 1 || got.answers[0].status != 400) {
			t.Errorf("%s: got %+v; want 400, or an end", name, got)
		}
		complete, faults := server.take()
		for serial, e := range complete {
			if e.Target != followTarget { // the request behind it
				t.Errorf("%s: the server saw request %d: %+v", name, serial, e)
			}
		}
		for _, fault := range faults {
			t.Errorf("%s: %s", name, fault)
		}
	}
}

// sendSettingsTwice opens a connection with one setting twice, and asks for
// something.
func sendSettingsTwice(addr string) (got outcome, err error) {
	conn, f, err := dialFrames(addr, settingWindow(100), settingWindow(1))
	if err != nil {
		return got, err
	}
	defer conn.Close()
	f.headers(1, []field{{":method", "GET"}, {":scheme", "http"}, {":authority", "app.example"}, {":path", "/"}}, true)
	a, ok, err := f.answer(1)
	if err != nil || !ok {
		return outcome{closed: true}, unlessClosed(err)
	}
	return outcome{answers: []answer{a}}, nil
}
