package route

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Address{
		"127.0.0.1:9001":          {Network: "tcp", Host: "127.0.0.1", Port: 9001},
		"[2001:db8::1]:443":       {Network: "tcp", Host: "2001:db8::1", Port: 443},
		"[fe80::1%eth0]:443":      {Network: "tcp", Host: "fe80::1%eth0", Port: 443},
		"backend.example.com:443": {Network: "tcp", Host: "backend.example.com", Port: 443},
		"unix:/run/app.sock":      {Network: "unix", Host: "/run/app.sock"},
		"unix:@abstract":          {Network: "unix", Host: "@abstract"},
	} {
		got, err := ParseAddress(in)
		if err != nil || got != want {
			t.Errorf("ParseAddress(%q) = %+v, %v; want %+v", in, got, err, want)
		}
		if got.String() != in {
			t.Errorf("ParseAddress(%q).String() = %q", in, got)
		}
	}
}

func TestParseAddressErrors(t *testing.T) {
	t.Parallel()
	for in, remedy := range map[string]string{
		"10.0.0.1":       `write "10.0.0.1:443"`,
		"[::1]":          `write "[::1]:443"`,
		"":               `write ":443"`,
		":443":           `write "127.0.0.1:443"`,
		"10.0.0.1:0":     "from 1 to 65535",
		"10.0.0.1:65536": "from 1 to 65535",
		"10.0.0.1:https": "from 1 to 65535",
		"::1:443":        "[ipv6]:port",
		"unix:":          `write "unix:/run/app.sock"`,
	} {
		got, err := ParseAddress(in)
		if err == nil {
			t.Errorf("ParseAddress(%q) = %+v; want an error", in, got)
		} else if !strings.Contains(err.Error(), remedy) {
			t.Errorf("ParseAddress(%q): error %q does not say %q", in, err, remedy)
		}
	}
}

// What parses is printed so that it parses to the same.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"127.0.0.1:9001", "[::1]:443", "a.example:1", "unix:/x", "a:b:c", "[a]:00443", "unix:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if again, err := ParseAddress(a.String()); err != nil || again != a {
			t.Errorf("ParseAddress(%q) = %+v, which prints as %q and parses to %+v, %v", s, a, a, again, err)
		}
	})
}
