package sealed

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const testKey = "2b7e151628aed2a6abf7158809cf4f3c"

func TestParseKey(t *testing.T) {
	for _, s := range []string{"", "2b", testKey + "00", testKey[:31], "0x" + testKey[2:], testKey[:31] + "g", " " + testKey} {
		k, err := ParseKey(s)
		if !errors.Is(err, ErrKey) {
			t.Errorf("ParseKey(%q): got error %v; want ErrKey", s, err)
		}
		if !k.IsZero() {
			t.Errorf("ParseKey(%q): got a key", s)
		}
	}
	k := mustKey(t, strings.ToUpper(testKey))
	if got := hex.EncodeToString(k.Reveal()); got != testKey {
		t.Errorf("got %s; want %s", got, testKey)
	}
}

// TestKeyErrorsTellNothing: what could not be read as a key may be a key with
// a typing error.
func TestKeyErrorsTellNothing(t *testing.T) {
	_, err := ParseKey("x" + testKey[1:])
	for n := range len(testKey) - 3 {
		if part := testKey[n : n+4]; strings.Contains(err.Error(), part) {
			t.Errorf("error %q holds %q of the key", err, part)
		}
	}
	if strings.Contains(err.Error(), "'x'") {
		t.Errorf("error %q quotes the input", err)
	}
}

func TestKeyHidesItself(t *testing.T) {
	k := mustKey(t, testKey)
	type exported struct{ Key Key }
	type unexported struct{ key Key }
	type pointed struct{ key *Key }
	values := map[string]any{
		"key": k, "pointer": &k,
		"exported field": exported{k}, "unexported field": unexported{k}, "pointer field": pointed{&k},
		"slice": []Key{k}, "map": map[string]Key{"k": k},
	}
	leaks := func(s string) bool {
		s = strings.ToLower(s)
		// In hexadecimal, in decimal as fmt prints arrays, in Go syntax, as bytes.
		for _, form := range []string{testKey, testKey[:8], "43 126 21", "43,126", "0x2b, 0x7e", string(k.Reveal()), "~\x15\x16"} {
			if strings.Contains(s, form) {
				return true
			}
		}
		return false
	}
	for what, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q", "%o", "%08b", "%t"} {
			if s := fmt.Sprintf(verb, v); leaks(s) {
				t.Errorf("%s with %s: %q", what, verb, s)
			}
		}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "v", v)
		if leaks(out.String()) {
			t.Errorf("%s in a log: %q", what, out.String())
		}
		if b, err := json.Marshal(v); leaks(string(b)) {
			t.Errorf("%s in JSON: %q (error %v)", what, b, err)
		}
	}
	if _, err := json.Marshal(exported{k}); !errors.Is(err, ErrHidden) {
		t.Errorf("writing a key as JSON: got error %v; want ErrHidden", err)
	}
	if got := fmt.Sprint(k); got != "mark key (hidden)" {
		t.Errorf("got %q", got)
	}
	if got := fmt.Sprint(Key{}); got != "mark key (none)" {
		t.Errorf("got %q", got)
	}
}

func TestKeyEqual(t *testing.T) {
	a, b, other := mustKey(t, testKey), mustKey(t, testKey), NewKey()
	for _, test := range []struct {
		name string
		x, y Key
		want bool
	}{
		{"same bytes", a, b, true},
		{"other bytes", a, other, false},
		{"none and none", Key{}, Key{}, true},
		{"none and some", Key{}, a, false},
		{"some and none", a, Key{}, false},
	} {
		if got := test.x.Equal(test.y); got != test.want {
			t.Errorf("%s: got %t; want %t", test.name, got, test.want)
		}
	}
	if NewKey().Equal(other) {
		t.Error("two new keys are the same")
	}
}

func TestKeyIsNotShared(t *testing.T) {
	b := unhex(t, testKey)
	k, err := KeyFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	b[0]++
	k.Reveal()[1]++
	if got := hex.EncodeToString(k.Reveal()); got != testKey {
		t.Errorf("the key changed with the caller's bytes: got %s; want %s", got, testKey)
	}
}

func TestZeroKeyIsRefused(t *testing.T) {
	if _, err := NewEncoder(Key{}, 1); !errors.Is(err, ErrKey) {
		t.Errorf("NewEncoder: got error %v; want ErrKey", err)
	}
	if _, err := NewSet(Generation{}); !errors.Is(err, ErrKey) {
		t.Errorf("NewSet: got error %v; want ErrKey", err)
	}
	if b := (Key{}).Reveal(); b != nil {
		t.Errorf("Reveal: got %x; want nil", b)
	}
}
