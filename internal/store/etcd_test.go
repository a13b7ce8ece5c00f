package store_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/store"
	"github.com/mintmark/mintmark/internal/store/storetest"
)

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// startEtcd runs an etcd of one member, which ends with the test.
func startEtcd(t *testing.T) string {
	t.Helper()
	client, peer := freeAddr(t), freeAddr(t)
	cmd := exec.CommandContext(t.Context(), "etcd", "--name", "m", "--data-dir", t.TempDir(),
		"--listen-client-urls", "http://"+client, "--advertise-client-urls", "http://"+client,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer,
		"--initial-cluster", "m=http://"+peer, "--log-level", "error")
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting etcd (make test installs it): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	const startLimit = 30 * time.Second
	for deadline := time.Now().Add(startLimit); ; {
		c, err := net.Dial("tcp", client)
		if err == nil {
			_ = c.Close()
			return client
		}
		if time.Now().After(deadline) {
			t.Fatalf("etcd does not listen: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestEtcd(t *testing.T) {
	t.Parallel()
	storetest.Suite(t, func(t *testing.T) store.Store {
		// List gives the revision of the whole cluster, so each has its own.
		s, err := store.Open(t.Context(), store.EtcdScheme+startEtcd(t)+"/test", store.Options{KeyFile: filepath.Join(t.TempDir(), "key")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}

// Two control planes with one key file see each other's changes and secrets.
func TestEtcdShared(t *testing.T) {
	t.Parallel()
	address := fmt.Sprintf("%s%s/shared", store.EtcdScheme, startEtcd(t))
	o := store.Options{KeyFile: filepath.Join(t.TempDir(), "key")}
	open := func() store.Store {
		s, err := store.Open(t.Context(), address, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	one := open()
	if _, err := one.Commit(t.Context(), store.Txn{Put: []store.Put{{Key: "a", Value: []byte("1"), Secret: true}}}); err != nil {
		t.Fatal(err)
	}
	two := open()
	seen, err := two.Watch(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	<-seen
	if e, err := two.Get(t.Context(), "a"); err != nil || string(e.Value) != "1" {
		t.Fatalf("the other reads %s, %v", e.Value, err)
	}
	if _, err := one.Commit(t.Context(), store.Txn{Put: []store.Put{{Key: "a", Value: []byte("2")}}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case <-seen:
	case <-ctx.Done():
		t.Fatal("the other is not told of a change")
	}
	if e, err := two.Get(t.Context(), "a"); err != nil || string(e.Value) != "2" {
		t.Fatalf("the other reads %s, %v", e.Value, err)
	}
	// Another key file opens nothing.
	if _, err := store.Open(t.Context(), address, store.Options{KeyFile: filepath.Join(t.TempDir(), "key")}); err == nil {
		t.Error("a store with secrets was opened with a new key file")
	}
}
