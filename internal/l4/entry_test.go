package l4_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/l4"
)

// TestEntry pins both formats.
func TestEntry(t *testing.T) {
	t.Parallel()
	const text = `time=2026-01-02T03:04:05.006Z listener=front conn=01020304050607080000000000000009 client=[2001:db8::1]:443 ` +
		`sni=www.example.com field=ticket routed_by=group pool=web server=- resumed=no bytes_in=10 bytes_out=20 ` +
		`duration=0.001234 cause=owner_down end=server_reset` + "\n"
	if got := string(l4.AppendEntry(nil, false, "www.example.com", "web", "")); got != text {
		t.Errorf("text line\n%s; want\n%s", got, text)
	}
	const object = `{"time":"2026-01-02T03:04:05.006Z","listener":"front","conn":"01020304050607080000000000000009",` +
		`"client":"[2001:db8::1]:443","sni":"www.example.com","field":"ticket","routed_by":"group","pool":"web","server":"",` +
		`"resumed":"no","bytes_in":10,"bytes_out":20,"duration":0.001234,"cause":"owner_down","end":"server_reset"}` + "\n"
	if got := string(l4.AppendEntry(nil, true, "www.example.com", "web", "")); got != object {
		t.Errorf("JSON line\n%s; want\n%s", got, object)
	}
}

// FuzzEntry holds that no name can break out of its place: a line is one line
// of printable ASCII, JSON gives the name back, and a text line has the same
// keys as ever.
func FuzzEntry(f *testing.F) {
	for _, s := range []string{"", "-", "a b", "a=b", `"`, `\`, "\n", "\x1b[2J", "\xff", "\u202e", "\U0001f512", " server=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, asJSON := range []bool{false, true} {
			line := string(l4.AppendEntry(nil, asJSON, name, name, name))
			if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
				t.Fatalf("not one line: %q", line)
			}
			for i := range len(line) - 1 {
				if line[i] < ' ' || line[i] > '~' {
					t.Fatalf("byte %#x in %q", line[i], line)
				}
			}
			if !asJSON {
				if keys := textKeys(t, line); keys != "time listener conn client sni field routed_by pool server resumed bytes_in bytes_out duration cause end" {
					t.Fatalf("keys %q of %q", keys, line)
				}
				continue
			}
			var e struct{ SNI, Pool, Server string }
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			want := strings.ToValidUTF8(name, "\ufffd")
			if !utf8.ValidString(name) {
				want = string([]rune(name)) // one U+FFFD for each byte
			}
			if e.SNI != want || e.Pool != want || e.Server != want {
				t.Fatalf("%q is read as %q; want %q", line, e.SNI, want)
			}
		}
	})
}

// textKeys returns the keys of a text line, read as its format says.
func textKeys(t *testing.T, line string) string {
	t.Helper()
	var keys []string
	for rest := strings.TrimSuffix(line, "\n"); rest != ""; {
		key, value, ok := strings.Cut(rest, "=")
		if !ok {
			t.Fatalf("no value in %q", rest)
		}
		keys = append(keys, key)
		if strings.HasPrefix(value, `"`) {
			end := 1
			for end < len(value) && value[end] != '"' {
				if value[end] == '\\' {
					end++
				}
				end++
			}
			rest = strings.TrimPrefix(value[end+1:], " ")
			continue
		}
		_, rest, _ = strings.Cut(value, " ")
	}
	return strings.Join(keys, " ")
}

func TestEntryAllocations(t *testing.T) {
	var space [1024]byte
	for _, asJSON := range []bool{false, true} {
		if n := testing.AllocsPerRun(100, func() { l4.AppendEntry(space[:0], asJSON, "www.example.com", "web", "a") }); n != 0 {
			t.Errorf("a line (JSON: %v) allocates %v times; want 0", asJSON, n)
		}
	}
}

func BenchmarkEntry(b *testing.B) {
	var space [1024]byte
	b.ReportAllocs()
	for b.Loop() {
		l4.AppendEntry(space[:0], true, "www.example.com", "web", "a")
	}
}
