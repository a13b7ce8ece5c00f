package l4test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/tlshello/hellotest"
)

// wantEntries waits for n lines of the JSON log and decodes them.
func (r *rig) wantEntries(n int) []map[string]any {
	r.t.Helper()
	var out []map[string]any
	eventually(r.t, func() error {
		out = nil
		for _, l := range r.log.all() {
			var e map[string]any
			if err := json.Unmarshal([]byte(l), &e); err != nil {
				return fmt.Errorf("access log line %q: %w", l, err)
			}
			out = append(out, e)
		}
		if len(out) != n {
			return fmt.Errorf("there are %d access log lines; want %d", len(out), n)
		}
		return nil
	})
	return out
}

// testAccessLog pins the keys and values of a line in both formats.
func testAccessLog(t *testing.T, f Factory) {
	su := overTLS(t, "a", "b")
	su.json = true
	r := start(t, f, su)
	r.serve("a")
	c, s := r.pair(r.serve("b"), withPSK("b"))
	client := c.LocalAddr().String()
	mustWrite(t, s, append(hellotest.Records(hellotest.ServerHello(hellotest.ServerOptions{
		Version: 0x0304, Accept: true, KeyShare: 32,
	}), hellotest.MaxRecord), "and more"...))
	wantReadSome(t, c, make([]byte, 20))
	closeWrite(t, s)
	readToEnd(t, c)
	closeWrite(t, c)
	e := r.wantEntries(1)[0]
	if at, err := time.Parse(time.RFC3339, fmt.Sprint(e["time"])); err != nil || time.Since(at) > patience {
		t.Errorf("time %v: %v", e["time"], err)
	}
	if d, ok := e["duration"].(float64); !ok || d <= 0 || d > patience.Seconds() {
		t.Errorf("duration %v", e["duration"])
	}
	out := e["bytes_out"]
	delete(e, "time")
	delete(e, "duration")
	delete(e, "conn")
	delete(e, "bytes_out")
	want := map[string]any{
		"listener": "front", "client": client, "sni": "www.example.com",
		"field": "psk", "routed_by": "mint", "pool": "web", "server": "b", "resumed": "yes",
		"bytes_in": float64(len(withPSK("b"))), "cause": "owner", "end": "done",
	}
	if d := cmp.Diff(want, e); d != "" {
		t.Errorf("line (-want +got):\n%s", d)
	}
	if n, ok := out.(float64); !ok || n < 60 {
		t.Errorf("bytes_out is %v", out)
	}
	c2 := r.dial()
	mustWrite(t, c2, []byte("GET / HTTP/1.1\r\n\r\n"))
	wantEnd(t, c2, nil)
	closeWrite(t, c2)
	e = r.wantEntries(2)[1]
	for k, want := range map[string]any{
		"field": "none", "routed_by": "refused", "pool": "", "server": "", "resumed": "",
		"bytes_in": 0.0, "bytes_out": 0.0, "cause": "not_tls", "end": "refused",
	} {
		if e[k] != want {
			t.Errorf("refused connection: %s is %v; want %v", k, e[k], want)
		}
	}
}

// testHostileName logs a server name that tries to be more than a value, and
// holds that IDs are not logged.
func testHostileName(t *testing.T, f Factory) {
	su := overTLS(t, "a")
	r := start(t, f, su)
	hello := hellotest.Build(hellotest.Options{
		SNI:  "x\" cause=owner\n\x1b[2Jtime=\xff\u202e",
		PSKs: [][]byte{idOf("a")}, SessionID: idOf("b"), Versions: []uint16{0x0304},
	})
	r.expect(hello, r.serve("a"))
	eventually(t, func() error {
		if r.log.all()[0] == "" {
			return fmt.Errorf("no line yet")
		}
		return nil
	})
	lines := r.log.all()
	if len(lines) != 1 {
		t.Fatalf("one connection made %d lines: %q", len(lines), lines)
	}
	const want = ` sni="x\" cause=owner\u000a\u001b[2Jtime=\ufffd\u202e" `
	if !strings.Contains(lines[0], want) {
		t.Errorf("line %q; want it to contain %q", lines[0], want)
	}
	for _, id := range []string{"a", "b"} {
		for _, form := range []string{string(idOf(id))[:8], hex.EncodeToString(idOf(id))[:16]} {
			if strings.Contains(lines[0], form) {
				t.Errorf("line %q contains an ID", lines[0])
			}
		}
	}
}
