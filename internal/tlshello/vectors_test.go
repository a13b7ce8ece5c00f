package tlshello_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// vector returns a ClientHello captured from a real client; the name says
// which, and what its server then did.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "clienthellos", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	hello, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return hello
}
