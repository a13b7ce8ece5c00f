package datagram

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
	dir, err := os.MkdirTemp("", "mintmark-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Sockets of the tests are not *net.UDPConn, of which quic-go complains.
	if err := os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if mintmark, err = lab.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
