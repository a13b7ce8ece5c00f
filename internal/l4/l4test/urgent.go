package l4test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// testUrgentData sends urgent data (MSG_OOB) in the middle of a stream that
// ends at once. It is not forwarded, but what follows it is: a read ends
// before urgent data, though more is there.
func testUrgentData(t *testing.T, f Factory) {
	r := start(t, f, tcp(t))
	a := r.serve("a")
	before, behind := []byte("before"), bytes.Repeat([]byte("behind"), 100)
	for range 50 { // all of it may have come when the engine begins to read
		c, s := r.pair(a, []byte("x"))
		mustWrite(t, s, before)
		sendUrgent(t, s, []byte("!"))
		mustWrite(t, s, behind)
		closeWrite(t, s)
		got, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if want := append(bytes.Clone(before), behind...); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes arrived around the urgent data: %.40q; want %d", len(got), got, len(want))
		}
		closeWrite(t, c)
		_ = s.Close()
		_ = c.Close()
	}
}

func sendUrgent(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	e := raw.Write(func(fd uintptr) bool {
		_, err = syscall.SendmsgN(int(fd), b, nil, nil, syscall.MSG_OOB)
		return !errors.Is(err, syscall.EAGAIN)
	})
	if e != nil || err != nil {
		t.Fatal(e, err)
	}
}
