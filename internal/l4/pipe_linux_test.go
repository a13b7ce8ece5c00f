package l4

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestPipePool holds that a pipe with bytes in it is never used again: they
// would turn up in another connection.
func TestPipePool(t *testing.T) {
	t.Parallel()
	var pool pipePool
	dirty := pool.get()
	if _, err := unix.Write(dirty.w, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	pool.put(dirty, len("secret"))
	if len(pool.free) != 0 {
		t.Fatal("a pipe with bytes in it was kept")
	}
	clean := pool.get()
	pool.put(clean, 0)
	if again := pool.get(); again != clean {
		t.Error("an empty pipe was not kept")
	}
	var many []*pipe
	for range maxFreePipes + 5 {
		many = append(many, pool.get())
	}
	for _, p := range many {
		pool.put(p, 0)
	}
	if n := len(pool.free); n != maxFreePipes {
		t.Errorf("%d pipes are kept; want %d", n, maxFreePipes)
	}
	pool.close()
	pool.put(clean, 0) // a connection that ends late
	if n := len(pool.free); n != 0 {
		t.Errorf("%d pipes are kept after close", n)
	}
}
