package l4_test

import (
	"testing"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/l4/l4test"
)

// TestSuite runs the behaviour that every engine must show.
func TestSuite(t *testing.T) {
	t.Parallel()
	l4test.Suite(t, func(cfg l4.Config, s *l4.Settings) l4test.Engine { return l4.New(cfg, s) })
}
