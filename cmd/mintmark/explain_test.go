package main

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// FuzzReadMessage: whatever is pasted or piped in is an error, or a message
// all of whose IDs have bytes; and an ID comes back as it was given.
func FuzzReadMessage(f *testing.F) {
	f.Add("4d4d0001", uint8(0))
	f.Add("TU0AAQ==", uint8(idspace.FieldPSK))
	f.Add("a session", uint8(idspace.FieldCookie))
	f.Add("16030100050100000101", uint8(0))
	f.Add("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x01", uint8(0))
	f.Add("0100000101", uint8(0))
	f.Fuzz(func(t *testing.T, data string, n uint8) {
		field := idspace.Field(n % uint8(idspace.NumFields))
		m, err := readMessage(strings.NewReader(data), "-", field)
		if err != nil {
			return
		}
		if m.hello == nil && len(m.candidates) == 0 {
			t.Errorf("%q: neither an ID nor a hello", data)
		}
		if m.hello != nil && (field != idspace.FieldNone || len(m.candidates) > tlshello.MaxIdentities+2) {
			t.Errorf("%q as %v: taken for a hello with %d IDs", data, field, len(m.candidates))
		}
		for _, c := range m.candidates {
			if len(c.ID) == 0 {
				t.Errorf("%q: an empty ID", data)
			}
			if m.hello != nil {
				continue
			}
			again, err := readMessage(nil, hex.EncodeToString(c.ID), c.Field)
			if !isTextField(c.Field) && (err != nil || string(again.candidates[0].ID) != string(c.ID)) {
				t.Errorf("%x written in hexadecimal is read as %v, %v", c.ID, again, err)
			}
		}
	})
}

// TestValueTooLong: explain does not read a wrong file to its end.
func TestValueTooLong(t *testing.T) {
	t.Parallel()
	if _, err := readMessage(nil, "@/dev/zero", idspace.FieldPSK); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
}
