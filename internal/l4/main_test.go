package l4_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the run if a test leaves a goroutine or a descriptor behind.
// In the environment that startChild sets, the process is a proxy instead.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	before := descriptors()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if left := leftDescriptors(before); code == 0 && len(left) > 0 {
			fmt.Fprintf(os.Stderr, "%d descriptors left open: %q\n", len(left), left[:min(len(left), 20)])
			code = 1
		}
		os.Exit(code)
	}))
}

// descriptors returns what each open descriptor refers to.
func descriptors() map[string]string {
	out := make(map[string]string)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return out // not Linux: nothing to compare
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // not the directory just read
			out[e.Name()] = target
		}
	}
	return out
}

// leftDescriptors returns the sockets, pipes and files that were not open
// before. The runtime's own are kept: its poller lives as long as the process.
func leftDescriptors(before map[string]string) []string {
	var left []string
	for fd, target := range descriptors() {
		if _, ok := before[fd]; ok || target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" {
			continue
		}
		left = append(left, fd+" "+target)
	}
	return left
}
