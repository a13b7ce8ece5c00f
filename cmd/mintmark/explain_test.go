package main

import (
	"strings"
	"testing"

	"github.com/mintmark/mintmark/idspace"
)

// TestValueTooLong: explain does not read a wrong file to its end.
func TestValueTooLong(t *testing.T) {
	t.Parallel()
	if _, err := readMessage(nil, "@/dev/zero", idspace.FieldPSK); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
}
