package daemon

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestInheritedTake(t *testing.T) {
	t.Parallel()
	open := func(name string) (inheritedListener, socketKey) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return inheritedListener{name: name, ln: ln}, socketKey{"tcp", ln.Addr().String()}
	}
	a, aKey := open("")
	b, _ := open("web")
	c, cKey := open("other")
	in := inherited{listeners: []inheritedListener{a, b, c}}
	if got := in.take(socketKey{"tcp", "127.0.0.1:1"}, "nobody"); got != nil {
		t.Errorf("took %v for an address that nobody passed", got.Addr())
	}
	if got := in.take(aKey, "x"); got != a.ln {
		t.Error("the socket bound to the address was not taken")
	}
	if got := in.take(aKey, "x"); got != nil {
		t.Error("a socket was given out twice")
	}
	if got := in.take(socketKey{"tcp", "127.0.0.1:1"}, "web"); got != b.ln {
		t.Error("the socket with the listener's name was not taken")
	}
	if unused := in.close(); len(unused) != 1 || unused[0] != cKey.address {
		t.Errorf("unused are %v; want %s", unused, cKey.address)
	}
}

func TestSameAddress(t *testing.T) {
	t.Parallel()
	tcp := func(s string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	tests := []struct {
		addr net.Addr
		key  socketKey
		want bool
	}{
		{tcp("127.0.0.1:443"), socketKey{"tcp", "127.0.0.1:443"}, true},
		{tcp("127.0.0.1:443"), socketKey{"tcp", "127.0.0.2:443"}, false},
		{tcp("127.0.0.1:443"), socketKey{"tcp", "127.0.0.1:444"}, false},
		{tcp("[::]:443"), socketKey{"tcp", ":443"}, true},
		{tcp("127.0.0.1:443"), socketKey{"tcp", ":443"}, false},
		{tcp("[::1]:443"), socketKey{"tcp", "[::1]:443"}, true},
		{&net.UnixAddr{Net: "unix", Name: "/run/x"}, socketKey{"unix", "/run/x"}, true},
		{&net.UnixAddr{Net: "unix", Name: "/run/x"}, socketKey{"tcp", "/run/x"}, false},
	}
	for _, tt := range tests {
		if got := sameAddress(tt.addr, tt.key); got != tt.want {
			t.Errorf("sameAddress(%v, %v) = %t; want %t", tt.addr, tt.key, got, tt.want)
		}
	}
}

func TestListenReplacesStaleUnixSocket(t *testing.T) {
	t.Parallel()
	k := socketKey{"unix", filepath.Join(t.TempDir(), "s")}
	first, err := listen(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if ln, err := listen(t.Context(), k); err == nil {
		ln.Close()
		t.Fatal("a socket that is served was taken away")
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as after kill -9
	first.Close()
	ln, err := listen(t.Context(), k)
	if err != nil {
		t.Fatalf("a socket that nobody serves was not replaced: %v", err)
	}
	ln.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ln, err := listen(t.Context(), socketKey{"unix", file}); err == nil {
		ln.Close()
		t.Error("a file was replaced by a socket")
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "precious" {
		t.Errorf("the file holds %q, %v", got, err)
	}
}

// A connection that waits in the queue is not lost when the first handle is
// closed, and the path of a unix socket stays.
func TestDuplicateKeepsTheQueue(t *testing.T) {
	t.Parallel()
	for _, k := range []socketKey{{"tcp", "127.0.0.1:0"}, {"unix", filepath.Join(t.TempDir(), "s")}} {
		first, err := listen(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial(k.network, first.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		second, err := duplicate(first)
		if err != nil {
			t.Fatal(err)
		}
		first.Close()
		server, err := second.Accept()
		if err != nil {
			t.Fatalf("%s: the waiting connection was lost: %v", k.network, err)
		}
		late, err := net.Dial(k.network, second.Addr().String())
		if err != nil {
			t.Errorf("%s: the address is gone: %v", k.network, err)
		} else {
			late.Close()
		}
		second.Close()
		if k.network == "unix" {
			if _, err := os.Stat(k.address); !os.IsNotExist(err) {
				t.Errorf("the path of the socket was left behind: %v", err)
			}
		}
		server.Close()
		client.Close()
	}
}
