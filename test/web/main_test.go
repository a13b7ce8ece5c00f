package web

import (
	"fmt"
	"os"
	"testing"

	"github.com/mintmark/mintmark/test/lab"
)

// mintmark is the path of the command, built once for all tests.
var mintmark string

func TestMain(m *testing.M) {
	os.Exit(build(m))
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mintmark-web-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if mintmark, err = lab.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
