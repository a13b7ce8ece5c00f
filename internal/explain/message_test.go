package explain

import (
	"encoding/hex"
	"testing"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/tlshello"
)

// FuzzRead: whatever is pasted or piped in is an error, or a message
// all of whose IDs have bytes; and an ID comes back as it was given.
func FuzzRead(f *testing.F) {
	f.Add("4d4d0001", uint8(0))
	f.Add("TU0AAQ==", uint8(idspace.FieldPSK))
	f.Add("a session", uint8(idspace.FieldCookie))
	f.Add("16030100050100000101", uint8(0))
	f.Add("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x01", uint8(0))
	f.Add("0100000101", uint8(0))
	f.Fuzz(func(t *testing.T, data string, n uint8) {
		field := idspace.Field(n % uint8(idspace.NumFields))
		m, err := Read([]byte(data), !IsText([]byte(data)), field)
		if err != nil {
			return
		}
		if m.Hello == nil && len(m.Candidates) == 0 {
			t.Errorf("%q: neither an ID nor a hello", data)
		}
		if m.Hello != nil && (field != idspace.FieldNone || len(m.Candidates) > tlshello.MaxIdentities+2) {
			t.Errorf("%q as %v: taken for a hello with %d IDs", data, field, len(m.Candidates))
		}
		for _, c := range m.Candidates {
			if len(c.ID) == 0 {
				t.Errorf("%q: an empty ID", data)
			}
			if m.Hello != nil {
				continue
			}
			again, err := Read([]byte(hex.EncodeToString(c.ID)), false, c.Field)
			if !isTextField(c.Field) && (err != nil || string(again.Candidates[0].ID) != string(c.ID)) {
				t.Errorf("%x written in hexadecimal is read as %v, %v", c.ID, again, err)
			}
		}
	})
}
