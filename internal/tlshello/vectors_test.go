package tlshello_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
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

// vectorNames returns the names of all captures that consist of records.
func vectorNames(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "clienthellos", "*.hex"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".hex")
		if !strings.HasPrefix(name, "go-quic-") { // a message without records
			names = append(names, name)
		}
	}
	return names
}
